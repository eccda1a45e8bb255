/** Logs of the model: each entry knows the one before it, so that a log is its last entry and a copy costs nothing. */
import type { EpochHistory, LogPoint } from '@understudy/contracts'
import type { Rules } from '../../src/index.ts'

export interface Entry {
  readonly lsn: number
  readonly epoch: number
  readonly runId: string
  readonly crc: number
  readonly before: Entry | undefined
  readonly kind: 'noop' | 'write' | 'rules'
  /** In force from this entry on. */
  readonly acks: Rules
  readonly history: EpochHistory
}

export type Log = Entry | undefined

export function pointOf(log: Log): LogPoint {
  return { epoch: log?.epoch ?? 0, lsn: log?.lsn ?? 0, crc: log?.crc ?? 0 }
}

export function append(
  log: Log,
  next: Pick<Entry, 'epoch' | 'runId' | 'kind' | 'acks'> & { readonly leader: string; readonly crc: number },
): Entry {
  const { epoch, runId, kind, acks, leader, crc } = next
  const lsn = (log?.lsn ?? 0) + 1
  const begins = log === undefined || log.epoch !== epoch || log.runId !== runId
  const entry = { number: epoch, runId, leader, firstLsn: lsn, crcBefore: log?.crc ?? 0 }
  const history = begins ? [...(log?.history ?? []), entry] : log.history
  return { lsn, epoch, runId, crc, before: log, kind, acks, history }
}

/** The entry at this LSN of this log. */
export function at(log: Log, lsn: number): Log {
  let entry = log
  while (entry !== undefined && entry.lsn > lsn) entry = entry.before
  return entry?.lsn === lsn ? entry : undefined
}

export function holds(log: Log, entry: Entry): boolean {
  return at(log, entry.lsn) === entry
}
