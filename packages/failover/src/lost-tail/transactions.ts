/**
 * A lost tail as transactions: in the order in which the old leader committed them, with what is known of each.
 *
 * Decides: which records make one transaction, how far each had got. Leaves to others: what rows are in the new history (`classify.ts`).
 *
 * 1. A chain of parts is one transaction, at the position of its last part; one that the tail ends in the middle of never was.
 * 2. A group that waited for acks was answered once its leader went on: so only the last group of an epoch can be without them.
 */
import {
  FLAG_AWAITS_ACKS,
  FLAG_CONTINUES,
  FLAG_JOINS_GROUP,
  FLAG_OWN,
  FLAG_UNMET,
  FORMAT_CONTROL,
  type Files,
  type LogRecord,
  type Position,
} from '@understudy/contracts'
import { readRecords } from './files.ts'
import { readLostRows } from './rows-file.ts'
import type { LostTailHeader } from './file-format.ts'
import { rowsOf, type LostChange } from './changes.ts'

/** What a lost tail needs of a log format; every `LogFormat` is one. */
export interface TailFormat {
  readonly id: number
  readonly name: string
  readonly physical?: boolean
  describe?(payload: Uint8Array): unknown
}

/**
 * `local`: no follower was to have it, and it was answered. `acked`: the set had it. `unmet`: it asked for acks and was answered without.
 * `unacked`: it waited for acks when the tail ended, and was never answered as written.
 */
export type LostLevel = 'local' | 'acked' | 'unmet' | 'unacked'

export interface LostTransaction {
  /** Where it stood in the lost history. */
  readonly position: Position
  readonly committedAtMs: number
  readonly format: string
  readonly level: LostLevel
  /** How many writes of users it holds; `undefined` when it does not say. With `boundaries: 'write'` always 1. */
  readonly writes: number | undefined
  /** Row changes in order, as far as the format tells rows. */
  readonly changes: readonly LostChange[]
  /** SQL of it: schema changes of rows, or the statements of the statement format. */
  readonly sql: readonly string[]
  /** Why not all that it did can be told as rows, in a few words. */
  readonly unclear: string | undefined
  /** What the format says of it, for people. */
  readonly described: unknown
  /** It holds nothing of a user: left out. */
  readonly isOwn?: boolean
}

export interface LostTail {
  readonly header: LostTailHeader
  readonly transactions: readonly LostTransaction[]
}

/** Reads and checks a whole file. Throws `STATE_CORRUPT` or `FORMAT_VERSION`. */
export function readLostTail(files: Files, path: string, formats: readonly TailFormat[]): LostTail {
  const { header, records } = readRecords(files, path)
  const rows = readLostRows(files, path)
  const transactions = transactionsOf(records, header, formats).map((transaction) =>
    withRows(transaction, rows.get(transaction.position.lsn)),
  )
  return { header, transactions }
}

/** A transaction that tells no rows itself, with those that were found when it was undone. */
function withRows(transaction: LostTransaction, described: unknown): LostTransaction {
  if (described === undefined || transaction.changes.length > 0) return transaction
  const { changes, unclear } = rowsOf(described)
  return { ...transaction, changes, unclear }
}

function transactionsOf(
  records: readonly LogRecord[],
  header: LostTailHeader,
  formats: readonly TailFormat[],
): LostTransaction[] {
  const waiting = lastGroups(records)
  const transactions: LostTransaction[] = []
  let parts: LogRecord[] = []
  for (const record of records) {
    if (parts[0] !== undefined && parts[0].epoch !== record.epoch) parts = []
    if (record.format === FORMAT_CONTROL || (record.flags & FLAG_OWN) !== 0) continue
    parts.push(record)
    if ((record.flags & FLAG_CONTINUES) !== 0) continue
    const payload = parts.length === 1 ? record.payload : Buffer.concat(parts.map((part) => part.payload))
    parts = []
    const level = levelOf(record, waiting, header.highWatermark)
    const transaction = transactionOf(record, payload, level, formats)
    if (transaction.isOwn !== true) transactions.push(transaction)
  }
  return transactions
}

/** LSNs of the records that stand in the last group of their epoch. */
function lastGroups(records: readonly LogRecord[]): ReadonlySet<number> {
  const last = new Set<number>()
  for (let at = records.length - 1; at >= 0; at -= 1) {
    const record = records[at] as LogRecord
    const next = records[at + 1]
    const isEnd = next === undefined || next.epoch !== record.epoch
    const isJoined = next !== undefined && last.has(next.lsn) && (next.flags & FLAG_JOINS_GROUP) !== 0
    if ((isEnd || isJoined) && (record.flags & FLAG_AWAITS_ACKS) !== 0) last.add(record.lsn)
  }
  return last
}

function levelOf(
  record: LogRecord,
  waiting: ReadonlySet<number>,
  highWatermark: number | undefined,
): LostLevel {
  if ((record.flags & FLAG_UNMET) !== 0) return 'unmet'
  if ((record.flags & FLAG_AWAITS_ACKS) === 0) return 'local'
  if (highWatermark !== undefined && record.lsn <= highWatermark) return 'acked'
  return waiting.has(record.lsn) ? 'unacked' : 'acked'
}

function transactionOf(
  record: LogRecord,
  payload: Uint8Array,
  level: LostLevel,
  formats: readonly TailFormat[],
): LostTransaction {
  const format = formats.find(({ id }) => id === record.format)
  const { epoch, lsn, committedAtMs } = record
  const base = {
    position: { epoch, lsn },
    committedAtMs,
    format: format?.name ?? `format ${record.format}`,
    level,
  }
  if (format?.describe === undefined)
    return {
      ...base,
      writes: undefined,
      changes: [],
      sql: [],
      described: undefined,
      unclear: 'its format is not known here',
    }
  const described = format.describe(payload)
  if (format.physical === true)
    return {
      ...base,
      writes: undefined,
      changes: [],
      sql: [],
      described,
      unclear: 'it holds pages, not rows',
    }
  return { ...base, ...rowsOf(described), described }
}
