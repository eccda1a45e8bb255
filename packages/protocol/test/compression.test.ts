/** Compressed frames: only between ends that asked for it after they authenticated, and never more bytes than allowed. */
import { zstdCompressSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { Connection, type Message } from '../src/index.ts'
import { COMPRESSED, Compressor } from '../src/compression.ts'
import { linked, seeded, TestClock } from './channels.ts'

const RECORDS: Message = { type: 'records', highWatermark: 1, bytes: new Uint8Array(4000).fill(7) }

function wrapped(length: number, inside: Uint8Array): Buffer {
  const header = Buffer.alloc(5)
  header[0] = COMPRESSED
  header.writeUInt32LE(length, 1)
  return Buffer.concat([header, zstdCompressSync(inside)])
}

function pair() {
  const ends = linked()
  const clock = new TestClock()
  return { ...ends, a: new Connection(ends.dialler, clock), b: new Connection(ends.listener, clock) }
}

test('a frame that repeats itself travels short and arrives whole', async () => {
  const { a, b, dialler } = pair()
  a.trust({ compression: true })
  b.trust({ compression: true })
  a.send(RECORDS)
  expect(await b.next({ timeoutMs: 1 })).toStrictEqual(RECORDS)
  expect(dialler.sent[0]!.length).toBeLessThan(100)
})

test('small frames and frames that do not get shorter travel as they are, and the next ones are not tried', () => {
  const compressor = new Compressor()
  const small = [new Uint8Array(100)]
  expect(compressor.compress(small)).toBe(small)
  const random = seeded(5)
  const noise = [new Uint8Array(Uint32Array.from({ length: 1000 }, () => random.uint32()).buffer)]
  expect(compressor.compress(noise)).toBe(noise)
  const zeros = [new Uint8Array(1000), new Uint8Array(1000)]
  for (let frame = 0; frame < 15; frame += 1) expect(compressor.compress(zeros)).toBe(zeros)
  const packed = compressor.compress(zeros)
  expect(Buffer.concat(packed).length).toBeLessThan(100)
  expect(compressor.expand(Buffer.concat(packed), 2000)).toEqual(new Uint8Array(2000))
})

test('without both ends asking for it, a compressed frame is no message', async () => {
  const { b, dialler } = pair()
  b.trust()
  dialler.send([wrapped(4, Uint8Array.of(2, 0, 0, 0))])
  await expect(b.next({ timeoutMs: 1 })).rejects.toMatchObject({ code: 'PROTOCOL_VIOLATION' })
})

test('of a stranger nothing is decompressed', async () => {
  const { listener, dialler } = linked()
  const connection = new Connection(listener, new TestClock(), { stranger: true })
  dialler.send([wrapped(4, Uint8Array.of(2, 0, 0, 0))])
  await expect(connection.next({ timeoutMs: 1 })).rejects.toMatchObject({ code: 'PROTOCOL_VIOLATION' })
})

test('a bomb is refused: by what it announces, and by what it holds', () => {
  const compressor = new Compressor()
  const bomb = new Uint8Array(64 * 1024 * 1024)
  const before = process.memoryUsage().arrayBuffers
  expect(() => compressor.expand(wrapped(bomb.length, bomb), 16 * 1024 * 1024)).toThrow(
    expect.objectContaining({ code: 'FRAME_TOO_LARGE' }),
  )
  expect(() => compressor.expand(wrapped(1000, bomb), 16 * 1024 * 1024)).toThrow(
    expect.objectContaining({ code: 'PROTOCOL_VIOLATION' }),
  )
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024)
})

test.each([
  ['shorter inside than announced', wrapped(10, Uint8Array.of(17, 1))],
  ['empty inside', wrapped(0, new Uint8Array())],
  ['compressed twice', wrapped(9, Uint8Array.of(COMPRESSED, 1, 0, 0, 0, 0, 0, 0, 0))],
  ['no zstd', Buffer.from([COMPRESSED, 4, 0, 0, 0, 1, 2, 3, 4, 5])],
  ['cut', Buffer.from([COMPRESSED, 4, 0])],
])('a frame that is %s is no message', (_, frame) => {
  expect(() => new Compressor().expand(frame, 1000)).toThrow(
    expect.objectContaining({ code: 'PROTOCOL_VIOLATION' }),
  )
})
