/** Transport suite: a wire that brings bytes singly or breaks at any of them, handshakes included, in both directions. */
import { expect, test, type TestContext } from 'vitest'
import { isUnderstudyError, type UnderstudyError } from '@understudy/contracts'
import type { RelayCut } from './relay.ts'
import { expectFrames, numberedFrame, type TransportBench } from './transport-bench.ts'
import type { ChannelProbe } from './channel-probe.ts'

const SINGLY = [0, 1, 127, 128, 0, 2, 300, 126].map((size, index) => numberedFrame(index, size))
/** What is said in a conversation that is cut. */
const SAID = [10, 200, 1].map((size, index) => numberedFrame(index, size))
/** Places in each direction where it is. */
const CUTS = 24

export function wireTests(bench: TransportBench): void {
  const wireTest = (name: string, run: () => Promise<void>): void => {
    test(name, async (context: TestContext) => {
      if (bench.under.tcpAddresses === true) await run()
      else context.skip()
    })
  }

  wireTest('bytes that come one at a time from the first on, both ways, are the same frames', async () => {
    const servers: ChannelProbe[] = []
    const listener = await bench.listen((channel) => servers.push(bench.probe(channel)))
    const { address } = await bench.relay(listener.address, { singly: true })
    const client = bench.probe(await bench.under.transport.connect(address))
    for (const frame of SINGLY) client.channel.send([frame])
    await bench.until(() => servers.length === 1)
    const [server] = servers as [ChannelProbe]
    for (const frame of SINGLY.toReversed()) server.channel.send([frame])
    await Promise.all([server.untilFramesOrEnd(SINGLY.length), client.untilFramesOrEnd(SINGLY.length)])
    expectFrames(server.frames, SINGLY)
    expectFrames(client.frames, SINGLY.toReversed())
    client.channel.close()
    expect(await client.untilClosed()).toBeUndefined()
    expect(await server.untilClosed()).toBeUndefined()
  })

  for (const how of ['reset', 'end'] as const) {
    for (const direction of ['there', 'back'] as const) {
      const what = how === 'reset' ? 'a connection that is reset' : 'a direction that is ended'
      wireTest(
        `${what} at any byte ${direction} fails to come about, or ends once on both sides`,
        async () => {
          const whole = await converse(bench, undefined)
          expectFrames(whole.said, SAID)
          const step = Math.max(1, Math.floor(whole.bytes[direction] / CUTS))
          let incomplete = 0
          for (let afterBytes = 1; afterBytes < whole.bytes[direction]; afterBytes += step) {
            const { said } = await converse(bench, { direction, afterBytes, how })
            if (said.length < SAID.length) incomplete += 1
          }
          expect(incomplete).toBeGreaterThan(CUTS / 4)
        },
      )
    }
  }
}

interface Conversation {
  /** What came back. */
  readonly said: readonly Uint8Array[]
  readonly bytes: { readonly there: number; readonly back: number }
}

/** Says something that is echoed, and checks what holds wherever it is cut. */
async function converse(bench: TransportBench, cut: RelayCut | undefined): Promise<Conversation> {
  const servers: ChannelProbe[] = []
  const echo = (bytes: Uint8Array, probe: ChannelProbe): void => void probe.channel.send([bytes])
  const listener = await bench.listen((channel) => servers.push(bench.probe(channel, { frame: echo })))
  const relay = await bench.relay(listener.address, cut === undefined ? {} : { cut })
  const connected = await bench.under.transport.connect(relay.address, { timeoutMs: 20_000 }).catch(failure)
  let said: readonly Uint8Array[] = []
  if (isUnderstudyError(connected)) {
    expect({ ...cut, code: connected.code }).toEqual({ ...cut, code: 'CONNECT_FAILED' })
  } else {
    const client = bench.probe(connected)
    for (const frame of SAID) client.channel.send([frame])
    await client.untilFramesOrEnd(SAID.length)
    client.channel.close()
    const error = await client.untilClosed()
    said = client.frames
    expectFrames(said, SAID.slice(0, said.length))
    if (cut?.how === 'reset' && said.length < SAID.length)
      expect({ ...cut, code: error?.code }).toEqual({ ...cut, code: 'CONNECTION_LOST' })
  }
  await listener.close()
  for (const server of servers) {
    await server.untilClosed()
    expectFrames(server.frames, SAID.slice(0, server.frames.length))
  }
  return { said, bytes: relay.bytes }
}

function failure(error: unknown): UnderstudyError {
  if (!isUnderstudyError(error)) throw error
  return error
}
