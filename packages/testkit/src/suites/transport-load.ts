/** Transport suite: much at once, and the end of a listener in the midst of it. */
import { expect, test } from 'vitest'
import type { Channel } from '@understudy/contracts'
import { expectFrames, numberedFrame, PIECE_BYTES, type TransportBench } from './transport-bench.ts'
import { ChannelProbe, type ProbeHooks } from './channel-probe.ts'

const MESSAGES = 100_000
const CHANNELS = 200
/** Channels that send as fast as they can, both ways. */
const BUSY = 8
const BUSY_BYTES = 16 * 1024
/** Much takes its time on a busy machine, also where the user's tests have less. */
const TIMEOUT_MS = 30_000

export function loadTests(bench: TransportBench): void {
  test(
    '100,000 small messages arrive in order and unchanged',
    async () => {
      const { client, server } = await bench.pair()
      const sent = Array.from({ length: MESSAGES }, (_, index) => countedFrame(index))
      await client.sendAll(sent)
      await server.untilFrames(MESSAGES)
      expectFrames(server.frames, sent)
    },
    TIMEOUT_MS,
  )

  test(
    `${CHANNELS} channels at once keep their frames apart and in order, both ways`,
    async () => {
      const servers: ChannelProbe[] = []
      const listener = await bench.listen((channel) => {
        servers.push(bench.probe(channel, { frame: (bytes) => void channel.send([bytes]) }))
      })
      const connect = async (): Promise<ChannelProbe> =>
        bench.probe(await bench.under.transport.connect(listener.address))
      const clients = await Promise.all(Array.from({ length: CHANNELS }, connect))
      for (let round = 0; round < 20; round++) {
        for (const [index, client] of clients.entries())
          client.channel.send([numberedFrame(index * 100 + round, 20 + (index % 7))])
        // Over several turns, so that the channels take turns too.
        if (round % 5 === 4) await clients[round]?.untilFrames(round + 1)
      }
      for (const [index, client] of clients.entries()) {
        await client.untilFrames(20)
        expectFrames(
          client.frames,
          Array.from({ length: 20 }, (_, round) => numberedFrame(index * 100 + round, 20 + (index % 7))),
        )
      }
      expect(servers).toHaveLength(CHANNELS)
    },
    TIMEOUT_MS,
  )

  test(
    'channels that are opened and closed one after another all end, each with its frames',
    async () => {
      const servers: ChannelProbe[] = []
      const listener = await bench.listen((channel) => servers.push(bench.probe(channel)))
      for (let index = 0; index < 50; index++) {
        const client = bench.probe(await bench.under.transport.connect(listener.address))
        client.channel.send([countedFrame(index)])
        client.channel.close()
      }
      await bench.until(() => servers.length === 50)
      await Promise.all(servers.map((server) => server.untilClosed()))
      const numbers = servers.map(({ frames }) => frames.map((frame) => Buffer.from(frame).readUInt32LE()))
      expect(numbers.flat().toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: 50 }, (_, index) => index),
      )
    },
    TIMEOUT_MS,
  )

  test(
    'a listener closed under load ends every channel once, refuses who comes later, and frees its address',
    async () => {
      const { transport } = bench.under
      const servers: ChannelProbe[] = []
      const clients: ChannelProbe[] = []
      const ends: BusyEnd[] = []
      const busyProbe = (channel: Channel): ChannelProbe => {
        const end = new BusyEnd()
        ends.push(end)
        return bench.probe(channel, end.hooks)
      }
      const listener = await bench.listen((channel) => servers.push(busyProbe(channel)), {
        frameBytesMax: PIECE_BYTES,
      })
      for (let index = 0; index < BUSY; index++)
        clients.push(busyProbe(await transport.connect(listener.address)))
      await bench.until(() => servers.length === BUSY)
      for (const probe of [...clients, ...servers]) probe.channel.send([new Uint8Array(4)])
      await bench.until(() => ends.every(({ received }) => received > 20))

      // Some are on their way while it closes: refused, or accepted and closed.
      const late = Array.from({ length: 5 }, () =>
        transport.connect(listener.address).then(
          (channel) => bench.probe(channel),
          (error: unknown) => error,
        ),
      )
      await listener.close()
      for (const outcome of await Promise.all(late)) {
        if (outcome instanceof ChannelProbe) await outcome.untilClosed()
        else expect(outcome).toMatchObject({ code: 'CONNECT_FAILED' })
      }
      await Promise.all([...clients, ...servers].map((probe) => probe.untilClosed()))
      await expect(transport.connect(listener.address)).rejects.toMatchObject({ code: 'CONNECT_FAILED' })

      const again = await bench.listen(
        (channel) => void bench.probe(channel).channel.send([countedFrame(7)]),
        {
          address: listener.address,
        },
      )
      const after = bench.probe(await transport.connect(again.address))
      await after.untilFrames(1)
      expectFrames(after.frames, [countedFrame(7)])
    },
    TIMEOUT_MS,
  )
}

/** A frame that is short and yet tells which one of many it is. */
function countedFrame(number: number): Uint8Array {
  const frame = numberedFrame(number, 4 + (number % 29))
  new DataView(frame.buffer).setUint32(0, number, true)
  return frame
}

/** One end of a channel: from the first frame on it sends as fast as it may, and checks the numbers of what it gets. */
class BusyEnd {
  received = 0
  /** Number 0 is sent by the test. */
  #sent = 1

  readonly hooks: ProbeHooks = {
    frame: (bytes, probe) => {
      const number = Buffer.from(bytes).readUInt32LE()
      if (number !== this.received) probe.breaches.push(`frame ${number} came as number ${this.received}`)
      this.received += 1
      probe.frames.length = 0
      if (number === 0) this.send(probe)
    },
    drained: (probe) => this.send(probe),
  }

  send(probe: ChannelProbe): void {
    const filling = new Uint8Array(BUSY_BYTES)
    for (let isFree = true; isFree; this.#sent += 1) {
      const head = new Uint8Array(4)
      new DataView(head.buffer).setUint32(0, this.#sent, true)
      isFree = probe.channel.send([head, filling])
    }
  }
}
