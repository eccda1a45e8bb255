import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameReader } from '../src/frame-reader.ts'
import { framed, pattern } from './peers.ts'

const LIMIT = 4 * 1024 * 1024

function readAll(chunks: Iterable<Uint8Array>): Uint8Array[] {
  const reader = new FrameReader()
  const frames: Uint8Array[] = []
  for (const chunk of chunks) {
    reader.push(chunk)
    for (let frame = reader.take(LIMIT); frame !== undefined; frame = reader.take(LIMIT)) frames.push(frame)
  }
  expect(reader.isBetweenFrames).toBe(true)
  return frames
}

/** As a socket would: reads of the given sizes, at most, into the memory that the reader offers. */
function readInto(stream: Uint8Array, sizes: readonly number[], pauses = true): Uint8Array[] {
  const reader = new FrameReader()
  const frames: Uint8Array[] = []
  let memory = reader.memory()
  for (let at = 0, i = 0; at < stream.length; i++) {
    const count = Math.min(sizes[i % sizes.length] ?? 1, memory.length, stream.length - at)
    memory.set(stream.subarray(at, at + count))
    at += count
    reader.filled(count)
    // A socket that is paused meanwhile asks before the frames are taken, and keeps what it was offered.
    const early = pauses && i % 3 !== 0
    if (early) memory = reader.memory()
    for (let frame = reader.take(LIMIT); frame !== undefined; frame = reader.take(LIMIT)) frames.push(frame)
    if (!early) memory = reader.memory()
  }
  expect(reader.isBetweenFrames).toBe(true)
  return frames
}

describe('frames are the same wherever the stream is cut', () => {
  const bodies = [0, 1, 5, 0, 300, 7].map((length, index) => pattern(length, index))
  const stream = Buffer.concat(bodies.map(framed))

  test('at each single position', () => {
    for (let at = 0; at <= stream.length; at++)
      expect(readAll([stream.subarray(0, at), stream.subarray(at)])).toStrictEqual(bodies)
  })

  test('at each pair of positions', () => {
    const short = Buffer.concat([framed(pattern(3)), framed(pattern(0)), framed(pattern(6, 1))])
    const expected = [pattern(3), pattern(0), pattern(6, 1)]
    for (let a = 0; a <= short.length; a++)
      for (let b = a; b <= short.length; b++)
        expect(readAll([short.subarray(0, a), short.subarray(a, b), short.subarray(b)])).toStrictEqual(
          expected,
        )
  })

  test('byte by byte', () => {
    expect(readAll(Array.from(stream, (byte) => Uint8Array.of(byte)))).toStrictEqual(bodies)
  })

  test('at random, with frames that outgrow their first memory', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.nat(100),
            fc.integer({ min: 30_000, max: 280_000 }),
            fc.constant(65_536),
            fc.integer({ min: 400_000, max: 1_500_000 }),
          ),
          { maxLength: 8 },
        ),
        fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 1, maxLength: 20 }),
        (lengths, cuts) => {
          const expected = lengths.map(pattern)
          const bytes = Buffer.concat(expected.map(framed))
          const direct = readInto(bytes, cuts)
          expect(direct.length).toBe(expected.length)
          for (const [i, frame] of direct.entries())
            expect(Buffer.compare(frame, expected[i] ?? pattern(1))).toBe(0)
          const chunks: Uint8Array[] = []
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const cut = cuts[i % cuts.length] ?? 1
            chunks.push(bytes.subarray(at, at + cut))
            at += cut
          }
          const frames = readAll(chunks)
          expect(frames.length).toBe(expected.length)
          for (const [i, frame] of frames.entries())
            expect(Buffer.compare(frame, expected[i] ?? pattern(1))).toBe(0)
        },
      ),
      { numRuns: 100 },
    )
  })
})

describe('memory', () => {
  test('offered for reads is the memory of the frames, also of those that come in pieces', () => {
    const lengths = [...Array.from({ length: 6 }, () => 20_000), 10, 20, 100_000]
    const stream = Buffer.concat(lengths.map((length) => framed(pattern(length))))
    const buffers = readInto(stream, [20_004], false).map(({ buffer }) => buffer)
    expect(buffers.at(-1)?.byteLength).toBe(256 * 1024)
    expect(new Set(buffers.slice(-3)).size).toBe(1)
  })

  test('a frame that does not fit behind others gets its rest in place', () => {
    const stream = Buffer.concat([framed(pattern(10)), framed(pattern(400_000))])
    const [, large] = readInto(stream, [1000, 1_000_000])
    expect(large?.buffer.byteLength).toBe(400_000)
  })

  test('after a large frame the next has a block that fits it', () => {
    const frames = Array.from({ length: 5 }, () => pattern(65_536))
    const read = readInto(Buffer.concat(frames.map(framed)), [65_536], false)
    const fitted = read.slice(-3)
    expect(fitted.map(({ buffer, byteOffset }) => [buffer.byteLength, byteOffset])).toStrictEqual(
      fitted.map(() => [65_540, 4]),
    )
  })

  test('a frame that lies whole in a chunk is a view of it', () => {
    const chunk = Buffer.concat([framed(pattern(10)), framed(pattern(20))])
    for (const frame of readAll([chunk])) expect(frame.buffer).toBe(chunk.buffer)
  })

  test('a frame in pieces is the owner of its memory', () => {
    const stream = framed(pattern(100))
    const [frame] = readAll([stream.subarray(0, 50), stream.subarray(50)])
    expect(frame?.buffer.byteLength).toBe(100)
  })

  test('a length that is only announced takes little', () => {
    const before = process.memoryUsage().arrayBuffers
    const liars = Array.from({ length: 64 }, () => {
      const reader = new FrameReader()
      const prefix = Buffer.alloc(5)
      prefix.writeUInt32LE(1024 * 1024 * 1024)
      reader.push(prefix)
      expect(reader.take(2 ** 31)).toBeUndefined()
      return reader
    })
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(40 * 1024 * 1024)
    expect(liars.every((reader) => !reader.isBetweenFrames)).toBe(true)
  })

  test('a length over the limit is refused with its fourth byte, before any memory', () => {
    const reader = new FrameReader()
    const prefix = Buffer.alloc(4)
    prefix.writeUInt32LE(0xffffffff)
    reader.push(prefix.subarray(0, 3))
    expect(reader.take(1000)).toBeUndefined()
    reader.push(prefix.subarray(3))
    const before = process.memoryUsage().arrayBuffers
    expect(() => reader.take(1000)).toThrow(
      expect.objectContaining({
        code: 'FRAME_TOO_LARGE',
        details: { length: 0xffffffff, frameBytesMax: 1000 },
      }),
    )
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024)
  })

  test('the limit itself still passes', () => {
    const reader = new FrameReader()
    reader.push(framed(pattern(1000)))
    expect(reader.take(1000)?.length).toBe(1000)
  })
})
