/** What a log must look like, as plain data: payloads by LSN, what is durable, who holds what. */
import type { Log, Lsn } from '@understudy/contracts'
import { beginsEpoch } from '../src/record.ts'
import { text } from './helpers.ts'

export interface ModelRecord {
  readonly text: string
  readonly epoch: number
}

/** One state that a log may be found in. */
export interface Candidate {
  /** LSN before the first record that the model knows of. */
  readonly base: Lsn
  readonly baseEpoch: number
  /** Records from `base + 1`. A crash keeps any prefix that reaches `durable`. */
  readonly records: readonly ModelRecord[]
  readonly durable: Lsn
}

export const EMPTY: Candidate = { base: 0, baseEpoch: 0, records: [], durable: 0 }

export function modelEnd(candidate: Candidate): Lsn {
  return candidate.base + candidate.records.length
}

export function modelEpoch(candidate: Candidate): number {
  return candidate.records.at(-1)?.epoch ?? candidate.baseEpoch
}

export function cutTo(candidate: Candidate, lsn: Lsn): Candidate {
  return {
    ...candidate,
    records: candidate.records.slice(0, lsn - candidate.base),
    durable: Math.min(candidate.durable, lsn),
  }
}

/** What is wrong when `log` is taken for `candidate`; `undefined` when it is one of its prefixes. */
export function mismatch(log: Log, candidate: Candidate): string | undefined {
  const end = log.end.lsn
  if (end < candidate.durable) return `ends at ${end}, ${candidate.durable} was durable`
  if (end > modelEnd(candidate)) return `ends at ${end}, only ${modelEnd(candidate)} was appended`
  if (end < candidate.base) return `ends at ${end} before the base ${candidate.base}`
  if (log.durable !== end) return `durable ${log.durable} is not the end ${end}`
  if (log.first > end + 1) return `first ${log.first} is beyond ${end}`
  const expectedEpoch = candidate.records[end - candidate.base - 1]?.epoch ?? candidate.baseEpoch
  if (log.end.epoch !== expectedEpoch) return `epoch ${log.end.epoch} is not ${expectedEpoch}`
  let next = log.first
  let crc = log.crcAt(log.first - 1)
  for (const record of log.records(log.first, end)) {
    const expected = candidate.records[record.lsn - candidate.base - 1]
    if (record.lsn !== next++) return `record ${record.lsn} is out of order`
    if (record.previousCrc !== crc) return `record ${record.lsn} breaks the chain`
    if (log.crcAt(record.lsn) !== record.crc) return `crcAt(${record.lsn}) differs`
    crc = record.crc
    const found = beginsEpoch(record) ? `epoch ${record.epoch}` : text(record)
    if (expected === undefined || expected.text !== found || expected.epoch !== record.epoch) {
      return `record ${record.lsn} is ${found.slice(0, 40)} of ${record.epoch}, expected ${expected?.text.slice(0, 40)}`
    }
    if (
      beginsEpoch(record) &&
      !log.history.some((entry) => entry.number === record.epoch && entry.firstLsn === record.lsn)
    ) {
      return `epoch ${record.epoch} is missing in the history`
    }
  }
  if (next !== end + 1) return `records end at ${next - 1}, not ${end}`
  if (crc !== log.end.crc) return 'the end has another CRC than the last record'
  if ((log.history.at(-1)?.number ?? 0) !== log.end.epoch)
    return 'the history does not end with the last epoch'
  return undefined
}
