import type { LogRecord, RecordDraft } from '@understudy/contracts'
import { SeededRandom, SimulatedDisk } from '@understudy/testkit'
import { expect, test } from 'vitest'
import { viewOf } from '../src/bytes.ts'
import { decodeRecords, openLog } from '../src/index.ts'
import { decodeMark, encodeMark } from '../src/mark.ts'
import { encodeRecord, RECORD_HEADER_BYTES } from '../src/record.ts'
import { begin, draft, errorOf, RUN, texts } from './helpers.ts'

function encode(record: RecordDraft, place: { lsn: number; epoch: number; previousCrc: number }): Uint8Array {
  const bytes = new Uint8Array(RECORD_HEADER_BYTES + record.payload.length)
  encodeRecord(bytes, viewOf(bytes), 0, record, place)
  return bytes
}

function epochDraft(run: string): RecordDraft {
  return {
    format: 0,
    flags: 0,
    committedAtMs: 1,
    payload: Buffer.concat([Buffer.of(1), Buffer.from(run, 'hex'), Buffer.from('z')]),
  }
}

test('records that do not continue the log are refused, and the log is unchanged', () => {
  const disk = new SimulatedDisk()
  const log = openLog({ directory: '/log', files: disk.mount(), segmentBytes: 16_384 })
  begin(log, RUN[0])
  begin(log, RUN[1])
  log.append([draft('mine')])
  const end = { ...log.end }
  const next = { lsn: 4, epoch: 2, previousCrc: end.crc }
  const good = encode(draft('good'), next)
  const cases: [Uint8Array, string][] = [
    [good.subarray(0, good.length - 1), 'RECORD_CORRUPT'],
    [good.subarray(0, 10), 'RECORD_CORRUPT'],
    [Buffer.concat([good, Buffer.of(0)]), 'RECORD_CORRUPT'],
    [Buffer.concat([good, good]), 'LOG_GAP'],
    [encode(draft('x'), { ...next, lsn: 5 }), 'LOG_GAP'],
    [encode(draft('x'), { ...next, lsn: 3 }), 'LOG_GAP'],
    [encode(draft('x'), { ...next, previousCrc: 1 }), 'LOG_GAP'],
    [encode(draft('x'), { ...next, epoch: 3 }), 'LOG_GAP'],
    [encode(draft('x'), { ...next, epoch: 1 }), 'EPOCH_STALE'],
    [encode(epochDraft(RUN[2]), { ...next, epoch: 1 }), 'EPOCH_STALE'],
    [encode(epochDraft(RUN[2]), { ...next, epoch: 2 }), 'LOG_GAP'],
    [
      encode({ ...epochDraft(RUN[2]), payload: Uint8Array.of(1, 2) }, { ...next, epoch: 3 }),
      'RECORD_CORRUPT',
    ],
  ]
  for (let offset = 0; offset < good.length; offset++) {
    const flipped = good.slice()
    flipped[offset]! ^= 1
    cases.push([flipped, 'RECORD_CORRUPT'])
  }
  const writes = disk.counts.writes
  for (const [bytes, code] of cases) expect(errorOf(() => log.appendEncoded(bytes))).toMatchObject({ code })
  expect([log.end, disk.counts.writes, log.failure]).toEqual([end, writes, undefined])
  expect(log.appendEncoded(new Uint8Array(0))).toEqual([])
  expect(log.appendEncoded(good)).toMatchObject([{ lsn: 4, epoch: 2 }])
  const begun = encode(epochDraft(RUN[2]), { lsn: 5, epoch: 9, previousCrc: log.end.crc })
  expect(log.appendEncoded(begun)).toHaveLength(1)
  expect(log.history.at(-1)).toEqual({
    number: 9,
    runId: RUN[2],
    leader: 'z',
    firstLsn: 5,
    crcBefore: log.crcAt(4),
  })
  expect(texts(log)).toEqual(['mine', 'good'])
})

test('payloads are views of the bytes that were appended', () => {
  const log = openLog({ directory: '/log', files: new SimulatedDisk().mount(), segmentBytes: 16_384 })
  const bytes = encode(epochDraft(RUN[0]), { lsn: 1, epoch: 1, previousCrc: 0 })
  const [record] = log.appendEncoded(bytes) as [LogRecord]
  expect(record.payload.buffer).toBe(bytes.buffer)
  expect(decodeRecords(bytes)).toEqual([record])
  expect(errorOf(() => decodeRecords(bytes.subarray(1)))).toMatchObject({ code: 'RECORD_CORRUPT' })
})

test('intact records behind a torn one are gone for good, also when the torn one comes again', () => {
  const disk = new SimulatedDisk()
  const open = (): ReturnType<typeof openLog> =>
    openLog({ directory: '/log', files: disk.mount(), segmentBytes: 16_384, random: new SeededRandom(4) })
  const log = open()
  begin(log)
  log.syncNow()
  log.append([draft('torn')])
  const torn = log.read(2, { upTo: 2 })!.bytes.slice()
  log.append([draft('intact')])
  disk.kill()
  disk.crash('keep-all')
  disk.flipBit('/log/00000000000000000001.segment', { offset: 4096 + 32 + 50 + 32 + 41, bit: 0 })
  const again = open()
  expect(again.end.lsn).toBe(1)
  again.appendEncoded(torn)
  again.syncNow()
  disk.crash('keep-all')
  expect(texts(open())).toEqual(['torn'])
})

test('a truncation whose sync failed does not come undone after the next open', () => {
  const disk = new SimulatedDisk({ random: new SeededRandom(3) })
  const open = (): ReturnType<typeof openLog> =>
    openLog({ directory: '/log', files: disk.mount(), segmentBytes: 16_384 })
  const log = open()
  begin(log)
  for (const body of ['a', 'b', 'c']) log.append([draft(body.padEnd(600, body))])
  log.syncNow()
  disk.failOnce('dataSync', { path: (path) => path.endsWith('.segment') })
  expect(errorOf(() => log.truncateAfter(2))).toMatchObject({ code: 'LOG_FAILED' })
  disk.kill()
  expect(open().end.lsn).toBe(2)
  disk.crash('lose-all')
  expect(open().end.lsn).toBe(2)
})

test('a mark of another salt, or a damaged one, is no mark', () => {
  const bytes = new Uint8Array(40)
  const salt = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)
  encodeMark(bytes.subarray(0, 32), viewOf(bytes), salt, { next: 2 ** 40, synced: 2 ** 40 - 1 })
  expect(decodeMark(bytes, 0, salt)).toEqual({ next: 2 ** 40, synced: 2 ** 40 - 1 })
  expect(decodeMark(bytes, 0, salt.toReversed())).toBeUndefined()
  expect(decodeMark(bytes, 9, salt)).toBeUndefined()
  for (let offset = 0; offset < 32; offset++) {
    const flipped = bytes.slice()
    flipped[offset]! ^= 64
    expect(decodeMark(flipped, 0, salt)).toBeUndefined()
  }
})

test('bad drafts and epochs are refused', () => {
  const log = openLog({ directory: '/log', files: new SimulatedDisk().mount(), segmentBytes: 16_384 })
  expect(errorOf(() => log.append([draft('no epoch yet')]))).toMatchObject({ code: 'INVALID_ARGUMENT' })
  expect(errorOf(() => begin(log, 'short'))).toMatchObject({ code: 'INVALID_ARGUMENT' })
  expect(errorOf(() => begin(log, RUN[0], ''))).toMatchObject({ code: 'INVALID_ARGUMENT' })
  begin(log)
  for (const change of [{ format: -1 }, { format: 65_536 }, { flags: 1.5 }, { committedAtMs: Number.NaN }]) {
    expect(errorOf(() => log.append([{ ...draft('x'), ...change }]))).toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
  }
  expect(errorOf(() => log.append([{ ...draft(Uint8Array.of(1)), format: 0 }]))).toMatchObject({
    code: 'INVALID_ARGUMENT',
  })
  expect(errorOf(() => log.resetTo(log.end, [...log.history, ...log.history]))).toMatchObject({
    code: 'INVALID_ARGUMENT',
  })
  expect(log.append([])).toEqual(log.end)
  expect(log.end.lsn).toBe(1)
  for (const change of [
    { segmentBytes: 100 },
    { slotBytesMax: -1 },
    { slotBytesMax: 5, slotBytesNormal: 6 },
    { directory: '' },
  ]) {
    expect(errorOf(() => openLog({ directory: '/x', ...change }))).toMatchObject({ code: 'INVALID_ARGUMENT' })
  }
})
