import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ERROR_CODES, type Condition, type EpochEntry } from '@understudy/contracts'
import {
  decodeMessage,
  encodeMessage,
  LIMITS,
  MESSAGE_TYPES,
  negotiateVersion,
  type Hello,
  type Message,
  type Request,
  type Value,
} from '../src/index.ts'
import { messages, messagesOf } from './messages.ts'

const roundTrip = (message: Message): Message => decodeMessage(Buffer.concat(encodeMessage(message)))

const hello = (changes: Partial<Hello> = {}): Hello => ({
  type: 'hello',
  versionMin: 1,
  versionMax: 1,
  purpose: 'replicate',
  cluster: 'c',
  node: 'b',
  history: [],
  end: { epoch: 0, lsn: 0, crc: 0 },
  formats: [],
  ...changes,
})

const epochs = (count: number, leader = 'node-1'): EpochEntry[] =>
  Array.from({ length: count }, (_, index) => ({
    number: index + 1,
    runId: (index + 1).toString(16).padStart(16, 'f'),
    leader,
    firstLsn: index * 1000 + 1,
    crcBefore: index * 7919,
  }))

describe('every message arrives as it was sent', () => {
  test.each(Object.keys(messages) as Message['type'][])('%s', (type) => {
    fc.assert(
      fc.property(messagesOf(type), (message) => {
        const parts = encodeMessage(message)
        expect(parts[0]?.[0]).toBe(MESSAGE_TYPES[type])
        expect(decodeMessage(Buffer.concat(parts))).toStrictEqual(message)
        // From the middle of a larger plain Uint8Array too.
        const padded = new Uint8Array(Buffer.concat([Buffer.alloc(3, 1), ...parts, Buffer.alloc(2, 1)]))
        expect(decodeMessage(padded.subarray(3, -2))).toStrictEqual(message)
      }),
      { numRuns: 150 },
    )
  })

  test('type bytes are as published', () => {
    expect(MESSAGE_TYPES).toMatchInlineSnapshot(`
      {
        "ack": 17,
        "authBegin": 4,
        "authChallenge": 5,
        "authDone": 7,
        "authProof": 6,
        "heartbeat": 18,
        "hello": 1,
        "memberWord": 64,
        "records": 16,
        "refuse": 3,
        "request": 48,
        "response": 49,
        "snapshotAck": 36,
        "snapshotChunk": 35,
        "snapshotEnd": 37,
        "snapshotHashes": 34,
        "snapshotRequest": 32,
        "snapshotStart": 33,
        "welcome": 2,
      }
    `)
  })
})

describe('payloads are views', () => {
  const payload = new Uint8Array(1000).fill(7)

  test('on the way out', () => {
    expect(encodeMessage({ type: 'records', highWatermark: 1, bytes: payload })[1]).toBe(payload)
    expect(encodeMessage({ type: 'snapshotChunk', offset: 0, crc: 1, bytes: payload })[1]).toBe(payload)
    const hashes = new Uint8Array(32)
    expect(encodeMessage({ type: 'snapshotHashes', firstChunk: 0, hashes, last: true })[1]).toBe(hashes)
  })

  test('on the way in, as plain Uint8Arrays', () => {
    const frame = Buffer.concat(encodeMessage({ type: 'snapshotChunk', offset: 0, crc: 1, bytes: payload }))
    const chunk = decodeMessage(frame)
    if (chunk.type !== 'snapshotChunk') throw new Error('decoded as another type')
    expect(chunk.bytes.buffer).toBe(frame.buffer)
    expect(Object.getPrototypeOf(chunk.bytes)).toBe(Uint8Array.prototype)
  })

  test('blobs of results too', () => {
    const frame = Buffer.concat(encodeMessage(requestWith([payload])))
    const blob = valuesOf(decodeMessage(frame))[0]
    expect((blob as Uint8Array).buffer).toBe(frame.buffer)
  })
})

const requestWith = (parameters: readonly Value[]): Request => ({
  type: 'request',
  id: 1,
  body: { kind: 'write', statements: [{ sql: '', parameters }] },
})

function valuesOf(message: Message): readonly Value[] {
  if (message.type !== 'request' || message.body.kind !== 'write') throw new Error('not a write')
  return message.body.statements[0]?.parameters ?? []
}

describe('SQL values', () => {
  test('64-bit integers stay exact, and a bigint stays one', () => {
    const sent: Value[] = [2 ** 53 - 1, -(2 ** 53) + 1, 2n ** 53n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n)]
    expect(valuesOf(roundTrip(requestWith(sent)))).toStrictEqual(sent)
    expect(valuesOf(roundTrip(requestWith([5n, -5n, 0n])))).toStrictEqual([5n, -5n, 0n])
  })

  test('doubles stay exact: -0, infinities, beyond 2^53, subnormal', () => {
    const sent: Value[] = [-0, 0, Infinity, -Infinity, 2 ** 60, 1e300, 5e-324, 0.1]
    expect(valuesOf(roundTrip(requestWith(sent)))).toStrictEqual(sent)
  })

  test('NaN becomes NULL, as in SQLite; lone surrogates become U+FFFD, as in node:sqlite', () => {
    expect(valuesOf(roundTrip(requestWith([Number.NaN, 'a\ud800b'])))).toStrictEqual([null, 'a\ufffdb'])
  })

  test('an integer travels as an integer, -0 and fractions as a double', () => {
    const tag = (value: Value): number | undefined =>
      Buffer.concat(encodeMessage(requestWith([value]))).at(-9)
    expect(tag(1)).toBe(0x11)
    expect(tag(1n)).toBe(0x31)
    expect(tag(2n ** 53n)).toBe(0x11)
    expect(tag(-0)).toBe(0x19)
    expect(tag(1.5)).toBe(0x19)
    expect(tag(2 ** 53)).toBe(0x19)
  })

  test('a condition may be nested so deep and no deeper, on either side', () => {
    const nested = (depth: number): Condition => (depth === 1 ? { ok: 0 } : { not: nested(depth - 1) })
    const requiring = (depth: number): Request => ({
      type: 'request',
      id: 1,
      body: { kind: 'write', statements: [{ sql: '', parameters: [], require: nested(depth) }] },
    })
    expect(roundTrip(requiring(16))).toStrictEqual(requiring(16))
    expect(() => encodeMessage(requiring(17))).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    // Each level is one message of field 5 around the one within.
    const frame = Buffer.concat(encodeMessage(requiring(16)))
    let condition = Buffer.from([0x08, 0x00])
    for (let level = 1; level < 17; level++)
      condition = Buffer.concat([Buffer.from([0x2a, condition.length]), condition])
    const step = Buffer.concat([Buffer.from([0x2a, condition.length]), condition])
    const list = Buffer.concat([Buffer.from([0x0a, step.length]), step])
    const deeper = Buffer.concat([frame.subarray(0, 3), Buffer.from([0x1a, list.length]), list])
    expect(() => decodeMessage(deeper)).toThrow(
      expect.objectContaining({ code: 'PROTOCOL_VIOLATION', message: expect.stringContaining('too deep') }),
    )
  })

  test('a bigint beyond 64 bits and things that are no SQL value are refused', () => {
    expect(() => encodeMessage(requestWith([2n ** 63n]))).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    )
    expect(() => encodeMessage(requestWith([{} as Value]))).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    )
  })
})

describe('versions', () => {
  test.each([
    [1, 1, 1],
    [1, 9, 1],
  ])('%i to %i: %i', (versionMin, versionMax, version) => {
    expect(negotiateVersion({ versionMin, versionMax })).toBe(version)
  })

  test('no common version is PROTOCOL_VERSION', () => {
    expect(() => negotiateVersion({ versionMin: 2, versionMax: 3 })).toThrow(
      expect.objectContaining({ code: 'PROTOCOL_VERSION', details: { versionMin: 2, versionMax: 3 } }),
    )
  })

  test('a Hello of a newer version decodes, whatever fields it adds', () => {
    const frame = Buffer.concat(encodeMessage(hello({ versionMin: 2, versionMax: 3 })))
    const newer = Buffer.concat([frame, Buffer.from([0xa2, 0x06, 2, 1, 2, 0xa8, 0x06, 1])])
    expect(decodeMessage(newer)).toMatchObject({ type: 'hello', versionMin: 2 })
  })

  test('a purpose that only a newer version knows is PROTOCOL_VERSION, not garbage', () => {
    const frame = Buffer.concat(encodeMessage(hello({ versionMin: 2, versionMax: 3 })))
    const at = frame.indexOf(Buffer.from([0x20, 1]))
    frame[at + 1] = 9
    expect(() => decodeMessage(frame)).toThrow(expect.objectContaining({ code: 'PROTOCOL_VERSION' }))
  })
})

describe('a Hello', () => {
  test('of a long history keeps the newest epochs and fits into its limit', () => {
    for (const count of [90, 100, 130, 5000]) {
      const history = epochs(count)
      const frame = Buffer.concat(encodeMessage(hello({ history, cluster: 'c'.repeat(255) })))
      expect(frame.length).toBeLessThanOrEqual(LIMITS.helloBytesMax)
      const decoded = decodeMessage(frame) as Hello
      expect(decoded.history).toStrictEqual(history.slice(-decoded.history.length))
      if (decoded.history.length < count) expect(frame.length).toBeGreaterThan(LIMITS.helloBytesMax - 60)
    }
  })

  test('that is not one is refused by its magic', () => {
    const frame = Buffer.concat(encodeMessage(hello()))
    frame[2]! ^= 1
    expect(() => decodeMessage(frame)).toThrow(expect.objectContaining({ code: 'PROTOCOL_VIOLATION' }))
  })
})

describe('errors of the peer', () => {
  const refuse = (code: string): Buffer =>
    Buffer.concat([
      Buffer.from([MESSAGE_TYPES.refuse, 0x0a, code.length]),
      Buffer.from(code),
      Buffer.from([0x12, 2, 0x68, 0x69]),
    ])

  test('every known code arrives', () => {
    for (const code of Object.keys(ERROR_CODES))
      expect(decodeMessage(refuse(code))).toStrictEqual({ type: 'refuse', code, message: 'hi' })
  })

  test('a code of a newer version becomes PEER_ERROR and stays readable', () => {
    expect(decodeMessage(refuse('COSMIC_RAY'))).toStrictEqual({
      type: 'refuse',
      code: 'PEER_ERROR',
      message: 'COSMIC_RAY: hi',
    })
  })

  test.each(['toString', '__proto__', '', 'a b'])('%j is no code', (code) => {
    expect(() => decodeMessage(refuse(code))).toThrow(expect.objectContaining({ code: 'PROTOCOL_VIOLATION' }))
  })

  test('a message too long for the wire is cut at a whole character', () => {
    for (const unit of ['a', 'é', '\u{1f600}', 'x\u{1f600}']) {
      const decoded = roundTrip({ type: 'refuse', code: 'CLOSED', message: unit.repeat(9000) })
      if (decoded.type !== 'refuse') throw new Error('decoded as another type')
      expect(decoded.message.isWellFormed()).toBe(true)
      expect(Buffer.byteLength(decoded.message)).toBeLessThanOrEqual(LIMITS.messageBytesMax)
      expect(unit.repeat(9000).startsWith(decoded.message.replace(/\ufffd$/, ''))).toBe(true)
    }
  })
})
