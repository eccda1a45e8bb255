/** Transport suite: whatever pieces bytes come in, and wherever their stream ends. Needs access below the frames. */
import { expect, test, type TestContext } from 'vitest'
import { SeededRandom } from '../random.ts'
import { expectFrames, numberedFrame, turns, type TransportBench } from './transport-bench.ts'
import type { RawAccess, RawPeer } from './transport.ts'
import type { ChannelProbe } from './channel-probe.ts'

const MIB = 1024 * 1024
/** With those where lengths in common encodings get a byte longer. */
const SMALL = [0, 1, 127, 128, 0, 0, 2, 125, 126]
const LARGE = [65_535, 65_536, 3]

interface RawPair {
  readonly raw: RawAccess
  readonly peer: RawPeer
  readonly server: ChannelProbe
}

export function streamTests(bench: TransportBench): void {
  const rawTest = (name: string, run: (pair: RawPair) => Promise<void>): void => {
    test(name, async (context: TestContext) => {
      const { raw } = bench.under
      if (raw === undefined) {
        context.skip()
        return
      }
      await run({ raw, ...(await bench.rawPair(raw, MIB)) })
    })
  }

  rawTest('frames glued into one piece are told apart', async ({ raw, peer, server }) => {
    const sent = [0, 1, 0, 7, 300, 0, 4000, 65_536, 2].map((size, index) => numberedFrame(index, size))
    await peer.write(streamOf(raw, sent))
    await server.untilFramesOrEnd(sent.length)
    expectFrames(server.frames, sent)
    peer.end()
  })

  rawTest(
    'frames split at random, their lengths included, are put together',
    async ({ raw, peer, server }) => {
      const sent = [0, 1, 5, 40, 0, 300].map((size, index) => numberedFrame(index, size))
      const stream = streamOf(raw, sent)
      const random = new SeededRandom('splits')
      for (let from = 0; from < stream.byteLength;) {
        const upTo = from + random.between(1, 30)
        await peer.write(stream.subarray(from, upTo))
        from = upTo
      }
      await server.untilFramesOrEnd(sent.length)
      expectFrames(server.frames, sent)
      peer.end()
    },
  )

  rawTest('small frames split in two at every byte are put together', async ({ raw, peer, server }) => {
    const sent = SMALL.map((size, index) => numberedFrame(index, size))
    const length = streamOf(raw, sent).byteLength
    for (let split = 1; split < length; split++) await sendSplit({ raw, peer, server }, sent, split)
    peer.end()
  })

  rawTest(
    'large frames split at every byte of their heads are put together',
    async ({ raw, peer, server }) => {
      const sent = LARGE.map((size, index) => numberedFrame(index, size))
      let start = 0
      for (const frame of sent) {
        const length = raw.encode(frame).byteLength
        const head = length - frame.byteLength
        for (let split = start + 1; split <= start + head + 1; split++) {
          await sendSplit({ raw, peer, server }, sent, split)
        }
        start += length
      }
      await sendSplit({ raw, peer, server }, sent, start - 1)
      peer.end()
    },
  )

  rawTest('frames that come byte by byte are put together', async ({ raw, peer, server }) => {
    const sent = SMALL.map((size, index) => numberedFrame(index, size))
    for (const byte of streamOf(raw, sent)) {
      await peer.write(Uint8Array.of(byte))
      await turns(1)
    }
    await server.untilFramesOrEnd(sent.length)
    expectFrames(server.frames, sent)
    peer.end()
  })

  rawTest(
    'a stream that ends within a frame is a lost connection, and half a frame is no frame',
    async (pair) => {
      const { raw, peer, server } = pair
      const frame = raw.encode(numberedFrame(1, 1000))
      await peer.write(Buffer.concat([frame, frame.subarray(0, 500)]))
      await server.untilFrames(1)
      peer.end()
      expect(await server.untilClosed()).toMatchObject({ code: 'CONNECTION_LOST' })
      expect(server.frames).toHaveLength(1)
    },
  )

  rawTest('a peer that ends its side is the end: we are told once, and send nothing more', async (pair) => {
    const { raw, peer, server } = pair
    const sent = [numberedFrame(1, 10), numberedFrame(2, 70_000), numberedFrame(3, 0)]
    await peer.write(streamOf(raw, sent))
    peer.end()
    // Sending goes on in the dark until the end is noticed.
    await bench.until(() => {
      if (server.end === undefined) server.channel.send([numberedFrame(9, 100)])
      return server.end !== undefined
    })
    await server.untilClosed()
    expectFrames(server.frames, sent)
    expect(['CONNECTION_LOST', undefined]).toContain(server.end?.error?.code)
    expect(server.channel.send([Uint8Array.of(1)])).toBe(false)
  })

  rawTest('a peer that ends its side while we are paused: first its frames, then the end', async (pair) => {
    const { raw, peer, server } = pair
    server.channel.pause()
    const sent = [numberedFrame(1, 10), numberedFrame(2, 5000), numberedFrame(3, 0)]
    await peer.write(streamOf(raw, sent))
    peer.end()
    await bench.roundTrips(2)
    expect(server.frames).toEqual([])
    expect(server.end).toBeUndefined()
    server.channel.resume()
    await server.untilClosed()
    expectFrames(server.frames, sent)
  })

  rawTest('a stream that breaks off closes the channel once', async ({ raw, peer, server }) => {
    await peer.write(raw.encode(numberedFrame(1, 10)))
    await server.untilFrames(1)
    peer.destroy()
    await server.untilClosed()
    expect(server.channel.send([Uint8Array.of(1)])).toBe(false)
  })

  rawTest(
    'a reset within a frame is a lost connection, told once; whole frames before it came',
    async (pair) => {
      const { raw, peer, server } = pair
      const frame = raw.encode(numberedFrame(1, 100_000))
      await peer.write(Buffer.concat([frame, frame.subarray(0, 60_000)]))
      await server.untilFrames(1)
      peer.destroy()
      expect(await server.untilClosed()).toMatchObject({ code: 'CONNECTION_LOST' })
      expectFrames(server.frames, [numberedFrame(1, 100_000)])
      expect(server.channel.send([Uint8Array.of(1)])).toBe(false)
    },
  )

  rawTest(
    'a reset while we are paused is told at the latest when we go on',
    async ({ raw, peer, server }) => {
      await peer.write(raw.encode(numberedFrame(1, 10)))
      await server.untilFrames(1)
      server.channel.pause()
      await peer.write(raw.header(1000))
      peer.destroy()
      await bench.roundTrips(1)
      server.channel.resume()
      expect(await server.untilClosed()).toMatchObject({ code: 'CONNECTION_LOST' })
      expect(server.frames).toHaveLength(1)
    },
  )
}

function streamOf(raw: RawAccess, frames: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(frames.map((frame) => raw.encode(frame)))
}

/** Two writes, the second one after the receiver had its turns to read the first. */
async function sendSplit(
  { raw, peer, server }: RawPair,
  sent: readonly Uint8Array[],
  split: number,
): Promise<void> {
  const stream = streamOf(raw, sent)
  server.frames.length = 0
  await peer.write(stream.subarray(0, split))
  await turns(2)
  await peer.write(stream.subarray(split))
  await server.untilFramesOrEnd(sent.length)
  expectFrames(server.frames, sent)
}
