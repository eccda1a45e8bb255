/** Transport suite: no frame over the limit comes in, and none takes memory before its bytes are there. */
import { expect, test } from 'vitest'
import { expectFrames, numberedFrame, type TransportBench } from './transport-bench.ts'
import type { ChannelProbe } from './channel-probe.ts'
import type { RawPeer } from './transport.ts'

const MIB = 1024 * 1024
/** The default after authentication. */
const LARGEST = 16 * MIB

export function limitTests(bench: TransportBench): void {
  test('a frame over the limit closes the channel with FRAME_TOO_LARGE, one at the limit does not', async () => {
    const { client, server } = await bench.pair({ frameBytesMax: 5000 })
    client.channel.send([numberedFrame(1, 5000)])
    client.channel.send([numberedFrame(2, 5001)])
    client.channel.send([numberedFrame(3, 10)])
    await server.untilFramesOrEnd(3)
    expectFrames(server.frames, [numberedFrame(1, 5000)])
    expect(await server.untilClosed()).toMatchObject({ code: 'FRAME_TOO_LARGE' })
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
    await server.untilFramesOrEnd(2)
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

  test('a limit raised from outside holds from then on', async () => {
    const { client, server } = await bench.pair({ frameBytesMax: 10 })
    client.channel.send([numberedFrame(1, 10)])
    await server.untilFrames(1)
    server.channel.frameBytesMax = LARGEST
    expect(server.channel.frameBytesMax).toBe(LARGEST)
    client.channel.send([numberedFrame(2, 300_000)])
    await server.untilFramesOrEnd(2)
    expectFrames(server.frames, [numberedFrame(1, 10), numberedFrame(2, 300_000)])
  })

  test('one message of 16 MiB arrives both ways; one byte more closes the channel', async () => {
    const { client, server } = await bench.pair({ frameBytesMax: LARGEST })
    const largest = numberedFrame(3, LARGEST)
    client.channel.send([largest.subarray(0, 5), largest.subarray(5)])
    server.channel.send([largest])
    await Promise.all([server.untilFramesOrEnd(1), client.untilFramesOrEnd(1)])
    expectFrames(server.frames, [largest])
    expectFrames(client.frames, [largest])
    client.channel.send([largest, Uint8Array.of(1)])
    expect(await server.untilClosed()).toMatchObject({ code: 'FRAME_TOO_LARGE' })
    expect(server.frames).toHaveLength(1)
    await client.untilClosed()
  }, 30_000)

  test.for([LARGEST + 1, 1_000_000_000])(
    'an announced length of %i bytes closes the channel before the frame comes, and takes no memory',
    async (length, context) => {
      const { raw } = bench.under
      if (raw === undefined) {
        context.skip()
        return
      }
      const { peer, server } = await bench.rawPair(raw, LARGEST)
      const before = process.memoryUsage().arrayBuffers
      await peer.write(raw.header(length))
      // Only its side: no frame can come any more, and whoever closes need not wait for it.
      peer.end()
      expect(await server.untilClosed()).toMatchObject({ code: 'FRAME_TOO_LARGE' })
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * MIB)
      peer.destroy()
    },
  )

  test('32 announced frames of 16 MiB, of which little comes, take little memory', async (context) => {
    const { raw } = bench.under
    if (raw === undefined) {
      context.skip()
      return
    }
    const before = process.memoryUsage().arrayBuffers
    const pairs: { server: ChannelProbe; peer: RawPeer }[] = []
    for (let index = 0; index < 32; index++) pairs.push(await bench.rawPair(raw, LARGEST))
    for (const { peer } of pairs) {
      await peer.write(raw.header(LARGEST))
      await peer.write(new Uint8Array(1000))
    }
    await bench.roundTrips(2)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(48 * MIB)
    for (const { peer, server } of pairs) {
      peer.destroy()
      await server.untilClosed()
      expect(server.frames).toEqual([])
    }
  })
}
