/** Damaged frames: whatever comes, a message or PROTOCOL_VIOLATION, soon and in little memory. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isUnderstudyError } from '@understudy/contracts'
import { decodeMessage, encodeMessage, LIMITS, MESSAGE_TYPES, type Message } from '../src/index.ts'
import { anyMessage, messages, messagesOf } from './messages.ts'

const SEED = 20_260_101
const MUTATIONS = 200_000

/** xorshift32: integers in [0, limit). */
function randomOf(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % limit
  }
}

const mutations: ((frame: Buffer, random: (limit: number) => number, other: Buffer) => Buffer)[] = [
  (frame, random) => {
    frame[random(frame.length)]! ^= 1 << random(8)
    return frame
  },
  (frame, random) => {
    frame[random(frame.length)] = [0, 1, 0x7f, 0x80, 0xff][random(5)] ?? 0
    return frame
  },
  (frame, random) => frame.subarray(0, random(frame.length)),
  (frame, random) => Buffer.concat([frame, Buffer.alloc(1 + random(4), random(256))]),
  (frame, random, other) =>
    Buffer.concat([frame.subarray(0, random(frame.length)), other.subarray(random(other.length))]),
  // A varint that claims much, somewhere.
  (frame, random) => {
    const at = random(frame.length)
    return Buffer.concat([frame.subarray(0, at), Buffer.from([0xff, 0xff, 0xff, 0x7f]), frame.subarray(at)])
  },
  // Another type byte on the same body.
  (frame, random) => {
    const types = Object.values(MESSAGE_TYPES)
    frame[0] = types[random(types.length)] ?? 0
    return frame
  },
]

/** The message, or undefined when the frame is refused as it should be. */
function decodeOrRefuse(frame: Uint8Array): Message | undefined {
  try {
    return decodeMessage(frame)
  } catch (error) {
    if (isUnderstudyError(error, 'PROTOCOL_VIOLATION') || isUnderstudyError(error, 'PROTOCOL_VERSION'))
      return undefined
    throw error
  }
}

test(`${MUTATIONS} damaged frames (seed ${SEED}) are refused, or are messages that could have been sent`, () => {
  const corpus = fc
    .sample(anyMessage, { seed: SEED, numRuns: 500 })
    .map((message) => Buffer.concat(encodeMessage(message)))
  const random = randomOf(SEED)
  let refused = 0
  for (let i = 0; i < MUTATIONS; i++) {
    const pick = (): Buffer => corpus[random(corpus.length)] ?? Buffer.of(1)
    let frame = Buffer.from(pick())
    for (let n = 1 + random(3); n > 0 && frame.length > 0; n--)
      frame = Buffer.from(mutations[random(mutations.length)]?.(frame, random, pick()) ?? frame)
    const message = decodeOrRefuse(frame)
    if (message === undefined) refused++
    // What the decoder lets through, the encoder would send: both check the same limits.
    else if (i % 16 === 0) expect(decodeMessage(Buffer.concat(encodeMessage(message)))).toEqual(message)
  }
  expect(refused).toBeGreaterThan(MUTATIONS / 4)
  expect(refused).toBeLessThan(MUTATIONS)
})

test('random bytes behind every type byte', () => {
  const random = randomOf(7)
  for (let type = 0; type < 256; type++)
    for (let i = 0; i < 50; i++) {
      const frame = Buffer.from(Array.from({ length: 1 + random(40) }, () => random(256)))
      frame[0] = type
      decodeOrRefuse(frame)
    }
})

test.each(Object.keys(messages) as Message['type'][])(
  'a %s cut at every byte is refused or shorter',
  (type) => {
    const [message] = fc.sample(messagesOf(type), { seed: 3, numRuns: 1 })
    if (message === undefined) throw new Error('no sample')
    const frame = Buffer.concat(encodeMessage(message))
    for (let length = 0; length < frame.length; length++) {
      const decoded = decodeOrRefuse(frame.subarray(0, length))
      if (decoded !== undefined) expect(decoded).not.toStrictEqual(message)
    }
  },
)

describe('limits', () => {
  const violation = expect.objectContaining({ code: 'PROTOCOL_VIOLATION' }) as Error
  const varint = (value: number): number[] =>
    value < 128 ? [value] : [(value & 127) | 128, ...varint(Math.floor(value / 128))]
  const field = (number: number, body: readonly number[]): number[] => [
    ...varint((number << 3) | 2),
    ...varint(body.length),
    ...body,
  ]

  test('an empty frame and unknown types', () => {
    expect(() => decodeMessage(new Uint8Array(0))).toThrow(violation)
    for (const type of [0, 4, 15, 50, 71, 255])
      expect(() => decodeMessage(Uint8Array.of(type))).toThrow(violation)
  })

  test.each([
    ['ack', 33],
    ['snapshotAck', 9],
    ['snapshotEnd', 33],
  ] as const)('a %s has %i bytes, no less and no more', (type, length) => {
    const frame = (bytes: number): Uint8Array => {
      const it = new Uint8Array(bytes)
      it[0] = MESSAGE_TYPES[type]
      return it
    }
    expect(decodeMessage(frame(length)).type).toBe(type)
    expect(() => decodeMessage(frame(length - 1))).toThrow(violation)
    expect(() => decodeMessage(frame(length + 1))).toThrow(violation)
  })

  test('numbers are safe integers: 2^53-1 passes, 2^53 does not', () => {
    const frame = Buffer.alloc(9)
    frame[0] = MESSAGE_TYPES.snapshotAck
    frame.writeBigUInt64LE(2n ** 53n - 1n, 1)
    expect(decodeMessage(frame)).toEqual({ type: 'snapshotAck', offset: 2 ** 53 - 1 })
    frame.writeBigUInt64LE(2n ** 53n, 1)
    expect(() => decodeMessage(frame)).toThrow(violation)
    // The same for a varint: field 2 of SnapshotRequest.
    const request = (last: number): Uint8Array =>
      Uint8Array.of(MESSAGE_TYPES.snapshotRequest, 0x10, ...Array.from({ length: 7 }, () => 0xff), last)
    expect(decodeMessage(request(0x0f))).toMatchObject({ resumeOffset: 2 ** 53 - 1 })
    expect(() => decodeMessage(request(0x1f))).toThrow(violation)
  })

  test('senders keep them too', () => {
    const unsafe = [2 ** 53, -1, 1.5, Number.NaN]
    for (const offset of unsafe)
      expect(() => encodeMessage({ type: 'snapshotAck', offset })).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
      )
    for (const id of unsafe)
      expect(() => encodeMessage({ type: 'request', id, body: { kind: 'status' } })).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
      )
  })

  test('a name of 255 bytes passes, 256 do not, on either side', () => {
    const frame = (bytes: number): Uint8Array =>
      Uint8Array.from([
        MESSAGE_TYPES.request,
        ...field(
          8,
          field(
            1,
            Array.from({ length: bytes }, () => 97),
          ),
        ),
      ])
    expect(decodeMessage(frame(255))).toMatchObject({ body: { name: 'a'.repeat(255) } })
    expect(() => decodeMessage(frame(256))).toThrow(violation)
    expect(() =>
      encodeMessage({ type: 'request', id: 1, body: { kind: 'dropSlot', name: 'é'.repeat(128) } }),
    ).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  })

  test('text is UTF-8', () => {
    const frame = Uint8Array.from([MESSAGE_TYPES.request, ...field(8, field(1, [0xc3, 0x28]))])
    expect(() => decodeMessage(frame)).toThrow(violation)
  })

  test('a nested message cannot read beyond its end', () => {
    // A Position of two bytes whose second field's value would be the next field of the outer message.
    const frame = Uint8Array.from([MESSAGE_TYPES.response, 0x22, 3, 0x08, 5, 0x10, 0x08, 7])
    expect(() => decodeMessage(frame)).toThrow(violation)
  })

  test('a group, which could nest without end, is refused', () => {
    const frame = Uint8Array.from([MESSAGE_TYPES.request, ...Array.from({ length: 5000 }, () => 0xfb)])
    expect(() => decodeMessage(frame)).toThrow(violation)
  })

  test('a history out of order is refused', () => {
    const epoch = (number: number, firstLsn: number): number[] => field(10, [0x08, number, 0x20, firstLsn])
    const welcome = (...epochs: number[]): Uint8Array =>
      Uint8Array.from([MESSAGE_TYPES.welcome, 0x08, 1, 0x28, 1, ...epochs])
    expect(decodeMessage(welcome(...epoch(1, 1), ...epoch(2, 5)))).toMatchObject({ type: 'welcome' })
    for (const wrong of [
      [epoch(1, 1), epoch(1, 5)],
      [epoch(2, 1), epoch(1, 5)],
      [epoch(1, 5), epoch(2, 5)],
      [epoch(0, 1)],
      [epoch(1, 0)],
    ])
      expect(() => decodeMessage(welcome(...wrong.flat()))).toThrow(violation)
  })

  test('too many slots are refused', () => {
    const heartbeat = (slots: number): Uint8Array =>
      Uint8Array.from([MESSAGE_TYPES.heartbeat, ...Array.from({ length: slots }, () => [0x32, 0]).flat()])
    expect(decodeMessage(heartbeat(LIMITS.slotsMax))).toMatchObject({ type: 'heartbeat' })
    expect(() => decodeMessage(heartbeat(LIMITS.slotsMax + 1))).toThrow(violation)
  })

  test('rows without columns, and rows of another width, are refused', () => {
    const response = (...result: number[]): Uint8Array =>
      Uint8Array.from([MESSAGE_TYPES.response, ...field(3, field(2, result))])
    const column = field(2, [97])
    const row = (...values: number[][]): number[] =>
      field(
        3,
        values.flatMap((value) => field(1, value)),
      )
    const nothing = [0x08, 1]
    expect(decodeMessage(response(...column, ...row(nothing)))).toMatchObject({ type: 'response' })
    for (const wrong of [row(), [...column, ...row()], [...column, ...row(nothing, nothing)], row(nothing)])
      expect(() => decodeMessage(response(...wrong))).toThrow(violation)
  })

  test('four million empty rows are refused before they take memory', () => {
    const rows = Buffer.alloc(8_000_000)
    for (let i = 0; i < rows.length; i += 2) rows[i] = 0x1a
    const lengthOf = (bytes: number): Buffer => Buffer.from(varint(bytes))
    const result = Buffer.concat([Buffer.from([0x12, 1, 97]), rows])
    const results = Buffer.concat([Buffer.from([0x12]), lengthOf(result.length), result])
    const frame = Buffer.concat([
      Buffer.from([MESSAGE_TYPES.response, 0x1a]),
      lengthOf(results.length),
      results,
    ])
    const before = process.memoryUsage().heapUsed
    expect(() => decodeMessage(frame)).toThrow(violation)
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(8 * 1024 * 1024)
  })
})
