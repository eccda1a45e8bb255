/** Transport suite: frames arrive whole, in order, unchanged; limits hold. */
import { expect, test } from 'vitest'
import { SeededRandom } from '../random.ts'
import { expectFrames, numberedFrame, type TransportBench } from './transport-bench.ts'
import type { RawAccess, RawPeer } from './transport.ts'
import type { ChannelProbe } from './channel-probe.ts'

const MIB = 1024 * 1024
const SIZES = [
  0,
  1,
  2,
  3,
  4,
  5,
  0,
  0,
  125,
  126,
  127,
  128,
  255,
  256,
  4095,
  4096,
  4097,
  16_383,
  65_535,
  65_536,
  65_537,
  300_001,
  MIB - 1,
  MIB,
  0,
  1,
]

export function framingTests(bench: TransportBench): void {
  test('frames of every size arrive in order and unchanged, in both directions at once', async () => {
    const { client, server } = await bench.pair()
    const there = SIZES.map((size, index) => numberedFrame(index, size))
    const back = SIZES.toReversed().map((size, index) => numberedFrame(index + 100, size))
    await Promise.all([client.sendAll(there), server.sendAll(back)])
    await Promise.all([server.untilFrames(there.length), client.untilFrames(back.length)])
    expectFrames(server.frames, there)
    expectFrames(client.frames, back)
  })

  test('the parts of a frame arrive as one frame, empty parts and views included', async () => {
    const { client, server } = await bench.pair()
    const random = new SeededRandom('parts')
    const sent: Uint8Array[] = []
    for (let index = 0; index < 200; index++) {
      const whole = numberedFrame(index, random.below(3000))
      const parts: Uint8Array[] = []
      for (let from = 0; from < whole.byteLength || parts.length === 0;) {
        const upTo = from + random.below(whole.byteLength - from + 1)
        parts.push(whole.subarray(from, upTo))
        from = upTo
      }
      client.channel.send(parts)
      sent.push(whole)
    }
    client.channel.send([])
    sent.push(new Uint8Array(0))
    await server.untilFrames(sent.length)
    expectFrames(server.frames, sent)
  })

  test('20,000 small messages of one turn of the event loop arrive in order', async () => {
    const { client, server } = await bench.pair()
    const sent = Array.from({ length: 20_000 }, (_, index) => numberedFrame(index, index % 40))
    for (const frame of sent) client.channel.send([frame])
    await server.untilFrames(sent.length)
    expectFrames(server.frames, sent)
  })

  test('frames belong to the handler: later ones do not change earlier ones', async () => {
    const { client, server } = await bench.pair()
    for (let round = 0; round < 20; round++) {
      for (let index = 0; index < 20; index++) client.channel.send([numberedFrame(round * 20 + index, 5000)])
      await server.untilFrames((round + 1) * 20)
    }
    expectFrames(
      server.frames,
      Array.from({ length: 400 }, (_, index) => numberedFrame(index, 5000)),
    )
  })

  test('a handler may send from within a frame', async () => {
    const { client } = await bench.pair({
      server: { frame: (bytes, probe) => void probe.channel.send([bytes, bytes]) },
    })
    for (let index = 0; index < 100; index++) client.channel.send([Uint8Array.of(index)])
    await client.untilFrames(100)
    expectFrames(
      client.frames,
      Array.from({ length: 100 }, (_, index) => Uint8Array.of(index, index)),
    )
  })

  test('many channels at once keep their frames apart', async () => {
    const servers: ChannelProbe[] = []
    const listener = await bench.listen((channel) => {
      servers.push(bench.probe(channel, { frame: (bytes) => void channel.send([bytes]) }))
    })
    const clients = await Promise.all(
      Array.from({ length: 50 }, async () =>
        bench.probe(await bench.under.transport.connect(listener.address)),
      ),
    )
    for (let round = 0; round < 40; round++) {
      for (const [index, client] of clients.entries())
        client.channel.send([numberedFrame(index * 100 + round, 50)])
    }
    for (const [index, client] of clients.entries()) {
      await client.untilFrames(40)
      expectFrames(
        client.frames,
        Array.from({ length: 40 }, (_, round) => numberedFrame(index * 100 + round, 50)),
      )
    }
    expect(servers).toHaveLength(50)
  })

  limitTests(bench)
  rawTests(bench)
}

function limitTests(bench: TransportBench): void {
  test('a frame over the limit closes the channel with FRAME_TOO_LARGE, one at the limit does not', async () => {
    const { client, server } = await bench.pair({ frameBytesMax: 5000 })
    client.channel.send([numberedFrame(1, 5000)])
    client.channel.send([numberedFrame(2, 5001)])
    client.channel.send([numberedFrame(3, 10)])
    expect(await server.untilClosed()).toMatchObject({ code: 'FRAME_TOO_LARGE' })
    expectFrames(server.frames, [numberedFrame(1, 5000)])
    await client.untilClosed()
  })

  test('the limit holds for what the dialler receives, too', async () => {
    const { client, server } = await bench.pair({ frameBytesMax: 100 })
    server.channel.send([numberedFrame(1, 101)])
    expect(await client.untilClosed()).toMatchObject({ code: 'FRAME_TOO_LARGE' })
    expect(client.frames).toEqual([])
    await server.untilClosed()
  })

  test('accepted channels take 4 KiB unless told otherwise, dialled ones 16 MiB', async () => {
    const accepted = Promise.withResolvers<ChannelProbe>()
    const listener = await bench.listen((channel) => accepted.resolve(bench.probe(channel)))
    const channel = await bench.under.transport.connect(listener.address)
    const server = await accepted.promise
    const client = bench.probe(channel)
    expect(server.channel.frameBytesMax).toBe(4096)
    expect(client.channel.frameBytesMax).toBe(16 * MIB)
    client.channel.send([new Uint8Array(4096)])
    client.channel.send([new Uint8Array(4097)])
    expect(await server.untilClosed()).toMatchObject({ code: 'FRAME_TOO_LARGE' })
    expect(server.frames).toHaveLength(1)
  })

  test('a limit raised while a frame is handled holds for the next one, which came in the same piece', async () => {
    const raise = (bytes: Uint8Array, probe: ChannelProbe): void => {
      if (bytes.byteLength === 1) probe.channel.frameBytesMax = 10_000
    }
    const { client, server } = await bench.pair({ frameBytesMax: 10, server: { frame: raise } })
    client.channel.send([numberedFrame(1, 1)])
    client.channel.send([numberedFrame(2, 10_000)])
    await server.until(() => server.frames.length === 2 || server.end !== undefined)
    expectFrames(server.frames, [numberedFrame(1, 1), numberedFrame(2, 10_000)])
  })

  test('a lowered limit holds for the next frame', async () => {
    const lower = (_bytes: Uint8Array, probe: ChannelProbe): void => {
      probe.channel.frameBytesMax = 10
    }
    const { client, server } = await bench.pair({ server: { frame: lower } })
    client.channel.send([numberedFrame(1, 1000)])
    client.channel.send([numberedFrame(2, 11)])
    expect(await server.untilClosed()).toMatchObject({ code: 'FRAME_TOO_LARGE' })
    expect(server.frames).toHaveLength(1)
  })
}

function rawTests(bench: TransportBench): void {
  const rawPair = async (raw: RawAccess): Promise<{ peer: RawPeer; server: ChannelProbe }> => {
    const accepted = Promise.withResolvers<ChannelProbe>()
    const listener = await bench.listen((channel) => accepted.resolve(bench.probe(channel)), {
      frameBytesMax: MIB,
    })
    const peer = await raw.connect(listener.address)
    return { peer, server: await accepted.promise }
  }

  test('frames glued into one piece are told apart', async (context) => {
    const { raw } = bench.under
    if (raw === undefined) {
      context.skip()
      return
    }
    const { peer, server } = await rawPair(raw)
    const sent = [0, 1, 0, 7, 300, 0, 4000, 65_536, 2].map((size, index) => numberedFrame(index, size))
    await peer.write(Buffer.concat(sent.map((frame) => raw.encode(frame))))
    await server.untilFrames(sent.length)
    expectFrames(server.frames, sent)
    peer.end()
  })

  test('frames split anywhere, their lengths included, are put together', async (context) => {
    const { raw } = bench.under
    if (raw === undefined) {
      context.skip()
      return
    }
    const { peer, server } = await rawPair(raw)
    const sent = [0, 1, 5, 40, 0, 300].map((size, index) => numberedFrame(index, size))
    const stream = Buffer.concat(sent.map((frame) => raw.encode(frame)))
    const random = new SeededRandom('splits')
    for (let from = 0; from < stream.byteLength;) {
      const upTo = from + (from < 60 ? 1 : random.between(1, 30))
      await peer.write(stream.subarray(from, upTo))
      from = upTo
    }
    await server.untilFrames(sent.length)
    expectFrames(server.frames, sent)
    peer.end()
  })

  test('an announced length over the limit closes the channel before the frame comes, and takes no memory', async (context) => {
    const { raw } = bench.under
    if (raw === undefined) {
      context.skip()
      return
    }
    const { peer, server } = await rawPair(raw)
    const before = process.memoryUsage().arrayBuffers
    await peer.write(raw.header(1_000_000_000))
    expect(await server.untilClosed()).toMatchObject({ code: 'FRAME_TOO_LARGE' })
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * MIB)
    peer.destroy()
  })

  test('a stream that ends within a frame is a lost connection, and half a frame is no frame', async (context) => {
    const { raw } = bench.under
    if (raw === undefined) {
      context.skip()
      return
    }
    const { peer, server } = await rawPair(raw)
    const frame = raw.encode(numberedFrame(1, 1000))
    await peer.write(Buffer.concat([frame, frame.subarray(0, 500)]))
    await server.untilFrames(1)
    peer.end()
    expect(await server.untilClosed()).toMatchObject({ code: 'CONNECTION_LOST' })
    expect(server.frames).toHaveLength(1)
  })

  test('a stream that breaks off closes the channel once', async (context) => {
    const { raw } = bench.under
    if (raw === undefined) {
      context.skip()
      return
    }
    const { peer, server } = await rawPair(raw)
    await peer.write(raw.encode(numberedFrame(1, 10)))
    await server.untilFrames(1)
    peer.destroy()
    await server.untilClosed()
    expect(server.channel.send([Uint8Array.of(1)])).toBe(false)
  })
}
