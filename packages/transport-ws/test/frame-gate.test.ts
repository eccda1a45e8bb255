import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameGate } from '../src/frame-gate.ts'
import { unmask } from '../src/unmask.ts'
import { framed, frameHeader, pattern, type FrameOptions } from './peers.ts'

const LIMIT = 4 * 1024 * 1024

/** The frames of a stream in chunks, as `ws` gets them. */
function takeAll(gate: FrameGate, chunks: Iterable<Uint8Array>, limit: number = LIMIT): Buffer[] {
  const frames: Buffer[] = []
  for (const chunk of chunks) {
    // Masks are taken off in place, so that each try needs bytes of its own.
    gate.push(Buffer.from(chunk))
    for (let frame = gate.take(limit); frame !== undefined; frame = gate.take(limit)) frames.push(frame)
  }
  return frames
}

/** What is handed out for a frame: the mask is off, and zeros in the header say so. */
function expected(body: Uint8Array, options: FrameOptions = {}): Buffer {
  const header = frameHeader({ length: body.length, ...options })
  if (options.masked !== false) header.fill(0, header.length - 4)
  return Buffer.concat([header, body])
}

describe('frames are the same wherever the stream is cut', () => {
  const bodies = [0, 1, 5, 0, 125, 126, 300, 7].map((length, index) => pattern(length, index))

  test.each([
    ['of a client', true],
    ['of a server', false],
  ])('at each single position: %s', (_name, masked) => {
    const stream = Buffer.concat(bodies.map((body) => framed(body, { masked })))
    const whole = bodies.map((body) => expected(body, { masked }))
    for (let at = 0; at <= stream.length; at++) {
      const gate = new FrameGate(masked)
      expect(takeAll(gate, [stream.subarray(0, at), stream.subarray(at)])).toStrictEqual(whole)
      expect(gate.isBetweenMessages).toBe(true)
    }
  })

  test('byte by byte', () => {
    const stream = Buffer.concat(bodies.map((body) => framed(body)))
    const gate = new FrameGate(true)
    expect(
      takeAll(
        gate,
        Array.from(stream, (byte) => Uint8Array.of(byte)),
      ),
    ).toStrictEqual(bodies.map((body) => expected(body)))
  })

  test('anywhere, for any bodies', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 20 }),
        fc.boolean(),
        (parts, cuts, masked) => {
          const stream = Buffer.concat(parts.map((body) => framed(body, { masked })))
          const chunks: Buffer[] = []
          for (let at = 0, i = 0; at < stream.length; i++) {
            const end = at + cuts[i % cuts.length]!
            chunks.push(stream.subarray(at, end))
            at = end
          }
          expect(takeAll(new FrameGate(masked), chunks)).toStrictEqual(
            parts.map((body) => expected(body, { masked })),
          )
        },
      ),
    )
  })

  test('whose memory grows with them', () => {
    const body = pattern(2_000_003, 9)
    const stream = framed(body)
    const chunks: Buffer[] = []
    for (let at = 0; at < stream.length; at += 65_536) chunks.push(stream.subarray(at, at + 65_536))
    const [frame] = takeAll(new FrameGate(true), chunks)
    expect(frame?.equals(expected(body))).toBe(true)
  })
})

describe('limits', () => {
  test('a length over the limit is refused with its header, and takes no memory', () => {
    for (const length of [4097, 2 ** 31, 2 ** 32 - 1, 2 ** 53]) {
      const before = process.memoryUsage().arrayBuffers
      const gate = new FrameGate(true)
      expect(() => takeAll(gate, [frameHeader({ length })], 4096)).toThrow(
        expect.objectContaining({ code: 'FRAME_TOO_LARGE' }),
      )
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024)
    }
  })

  test.each([2n ** 63n, 2n ** 64n - 1n])('a length of %i is refused as too large', (length) => {
    expect(() => takeAll(new FrameGate(true), [frameHeader({ length, lengthBytes: 8 })])).toThrow(
      expect.objectContaining({ code: 'FRAME_TOO_LARGE' }),
    )
  })

  test('fragments of one message count together', () => {
    const fragments = [
      framed(pattern(2000), { first: 0x02 }),
      framed(pattern(2000), { first: 0x00 }),
      framed(pattern(2000), { first: 0x80 }),
    ]
    expect(takeAll(new FrameGate(true), fragments, 6000)).toHaveLength(3)
    expect(() => takeAll(new FrameGate(true), fragments, 5999)).toThrow(
      expect.objectContaining({ code: 'FRAME_TOO_LARGE', details: { length: 6000, frameBytesMax: 5999 } }),
    )
  })

  test('a length alone reserves no more than half a megabyte', () => {
    const before = process.memoryUsage().arrayBuffers
    const gates = Array.from({ length: 10 }, () => {
      const gate = new FrameGate(true)
      takeAll(gate, [frameHeader({ length: LIMIT }), Uint8Array.of(1)])
      return gate
    })
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10 * 600 * 1024)
    expect(gates[0]?.announcedBytes).toBe(LIMIT)
  })
})

describe('headers that no peer of ours sends are refused at once, before the frame comes', () => {
  test.each<[string, FrameOptions & { length?: number }]>([
    ['a client that does not mask', { masked: false }],
    ['reserved bit 1, which compression would use', { first: 0xc2 }],
    ['reserved bit 2', { first: 0xa2 }],
    ['reserved bit 3', { first: 0x92 }],
    ['text', { first: 0x81 }],
    ['the unknown opcode 3', { first: 0x83 }],
    ['the unknown opcode 7', { first: 0x87 }],
    ['the unknown opcode 11', { first: 0x8b }],
    ['the unknown opcode 15', { first: 0x8f }],
    ['a continuation of nothing', { first: 0x80 }],
    ['a ping in fragments', { first: 0x09 }],
    ['a ping of 126 bytes', { first: 0x89, length: 126 }],
    ['a close of 2^40 bytes', { first: 0x88, length: 2 ** 40, lengthBytes: 8 }],
  ])('%s', (_name, options) => {
    const { length = 100, ...rest } = options
    expect(() => takeAll(new FrameGate(true), [frameHeader({ length, ...rest })])).toThrow(
      expect.objectContaining({ code: 'PROTOCOL_VIOLATION' }),
    )
  })

  test('a server that masks', () => {
    expect(() => takeAll(new FrameGate(false), [frameHeader({ length: 100 })])).toThrow(
      expect.objectContaining({ code: 'PROTOCOL_VIOLATION' }),
    )
  })

  test('a message inside another', () => {
    expect(() =>
      takeAll(new FrameGate(true), [framed(pattern(5), { first: 0x02 }), framed(pattern(5))]),
    ).toThrow(expect.objectContaining({ code: 'PROTOCOL_VIOLATION' }))
  })
})

describe('a message under way', () => {
  test('is not over between its fragments, nor after a ping among them', () => {
    const gate = new FrameGate(true)
    takeAll(gate, [framed(pattern(10), { first: 0x02 }), framed(pattern(3), { first: 0x89 })])
    expect([gate.isBetweenFrames, gate.isBetweenMessages, gate.completed]).toEqual([true, false, 0])
    takeAll(gate, [framed(pattern(10), { first: 0x80 })])
    expect([gate.isBetweenMessages, gate.completed]).toEqual([true, 1])
  })

  test('begins with the first byte of its header', () => {
    const gate = new FrameGate(true)
    takeAll(gate, [framed(pattern(10)).subarray(0, 1)])
    expect(gate.isBetweenMessages).toBe(false)
  })
})

describe('after skipData', () => {
  const closing = framed(Uint8Array.of(3, 232), { first: 0x88 })

  test('data of any length is read over without memory, and control frames still come', () => {
    const gate = new FrameGate(true)
    gate.skipData()
    const before = process.memoryUsage().arrayBuffers
    const piece = Buffer.alloc(65_536)
    gate.push(frameHeader({ length: 1000 * piece.length }))
    expect(gate.take(LIMIT)).toBeUndefined()
    for (let i = 0; i < 1000; i++) {
      gate.push(piece)
      expect(gate.take(LIMIT)).toBeUndefined()
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024)
    expect(takeAll(gate, [framed(pattern(0)), closing])).toHaveLength(1)
    expect(gate.isClose).toBe(true)
  })

  test.each([1, 5, 8, 20, 107])('in the midst of a frame, after %i bytes, its rest is read over', (cut) => {
    const gate = new FrameGate(true)
    const frame = framed(pattern(100))
    takeAll(gate, [frame.subarray(0, cut)])
    gate.skipData()
    expect(takeAll(gate, [frame.subarray(cut), closing])).toStrictEqual([
      expected(Uint8Array.of(3, 232), { first: 0x88 }),
    ])
  })
})

test('a mask comes off at every offset in memory and of every length', () => {
  const mask = Buffer.from([1, 2, 3, 0xff])
  for (let offset = 0; offset < 8; offset++) {
    for (const length of [0, 1, 5, 63, 64, 65, 66, 67, 68, 1001]) {
      const memory = Buffer.alloc(offset + length + 8, 0xaa)
      const payload = memory.subarray(offset, offset + length)
      payload.set(pattern(length))
      unmask(payload, mask)
      expect(payload).toStrictEqual(Buffer.from(pattern(length).map((byte, at) => byte ^ mask[at % 4]!)))
      expect(memory.subarray(offset + length).every((byte) => byte === 0xaa)).toBe(true)
    }
  }
})
