/**
 * Redo: brings a storage up to its log after a start. Commits of the storage are durable only at a checkpoint, so a
 * crash may have set it back behind its own log.
 *
 * Decides: whether log and storage belong together, how far redo goes. Leaves to others: applying (apply-loop).
 */
import {
  UnderstudyError,
  formatPosition,
  type Clock,
  type Log,
  type LogFormat,
  type LogPoint,
  type Lsn,
  type Storage,
} from '@understudy/contracts'
import { ApplyLoop } from './apply-loop.ts'
import type { Defer } from './pipeline-api.ts'
import { APPLY_LIMITS, withDefaults, type ApplyLimits } from './limits.ts'
import { settleFromLog } from './physical.ts'

export interface RedoOptions<C, T> {
  readonly log: Log
  readonly storage: Storage<C, T>
  readonly formats: readonly LogFormat<C>[]
  readonly clock: Clock
  /** Last record to apply. Default: the last durable one. */
  readonly upTo?: Lsn
  readonly limits?: Partial<ApplyLimits>
  /** Default `setImmediate`. Called between batches, so that the event loop goes on. */
  readonly defer?: Defer
  readonly onMarker?: (point: LogPoint) => void
  /** After each batch: the position reached and the LSN where redo ends. */
  readonly onProgress?: (applied: LogPoint, upTo: Lsn) => void
}

export interface RedoResult {
  readonly from: LogPoint
  readonly to: LogPoint
  /** Transactions of the storage that it took. */
  readonly batches: number
  /** First LSN of a transaction at the end of the log whose last part is missing. */
  readonly incompleteFrom: Lsn | undefined
}

/**
 * Applies the log above the storage's position, which is settled first when the storage is ahead of it. A storage that
 * stays ahead holds a transaction that a crash kept out of the log: nothing is applied then. Throws what `checkLogMatchesStorage` throws, `DIVERGED`,
 * `SCHEMA_MISMATCH`, `SNAPSHOT_REQUIRED`, `FORMAT_UNKNOWN`, `FORMAT_VERSION`, `RECORD_CORRUPT` or `STORAGE_FAILED`; what was applied before stays.
 */
export async function redo<C, T>(options: RedoOptions<C, T>): Promise<RedoResult> {
  const { log, storage } = options
  const upTo = options.upTo ?? log.durable
  const defer = options.defer ?? setImmediate
  if (storage.ahead) {
    if (storage.applied.lsn + 1 >= log.first) checkLogMatchesStorage(log, storage.applied)
    const { transactionBytesMax } = withDefaults(APPLY_LIMITS, options.limits)
    const { unlogged, incompleteFrom } = settleFromLog({ ...options, transactionBytesMax })
    const at = storage.applied
    if (unlogged) return { from: at, to: at, batches: 0, incompleteFrom }
  }
  checkLogMatchesStorage(log, storage.applied)
  const from = storage.applied
  if (from.lsn >= upTo) return { from, to: from, batches: 0, incompleteFrom: undefined }
  const loop = new ApplyLoop(options)
  let batches = 0
  try {
    for (;;) {
      if (loop.idle) loop.fill(log, upTo)
      const point = loop.step(upTo)
      if (point === undefined) break
      batches++
      options.onProgress?.(point, upTo)
      await new Promise<void>((resolve) => {
        defer(resolve)
      })
    }
    return { from, to: storage.applied, batches, incompleteFrom: loop.incompleteFrom }
  } finally {
    loop.close()
  }
}

/**
 * Throws `LOG_CORRUPT` when the log ends below the storage's position or holds another record there (the log lost
 * records, or is not this database's), `LOG_TRUNCATED` when it begins above it.
 */
export function checkLogMatchesStorage(log: Log, applied: LogPoint): void {
  const at = formatPosition(applied)
  const details = {
    position: { epoch: applied.epoch, lsn: applied.lsn },
    logFirst: log.first,
    logEnd: log.end.lsn,
  }
  if (log.end.lsn < applied.lsn) {
    throw new UnderstudyError(
      'LOG_CORRUPT',
      `The log ends at ${formatPosition(log.end)}, but the database holds everything up to ${at}: the log lost records that were durable. ` +
        'Both were left as they are. Restore the log directory, or let this node bootstrap from another one.',
      details,
    )
  }
  if (applied.lsn + 1 < log.first) {
    throw new UnderstudyError(
      'LOG_TRUNCATED',
      `The log begins at LSN ${log.first}, but the database is only at ${at}: the records between are gone. ` +
        'Both were left as they are. Restore the newer database, or let this node bootstrap from another one.',
      details,
    )
  }
  const crc = log.crcAt(applied.lsn)
  if (crc !== undefined && crc !== applied.crc) {
    throw new UnderstudyError(
      'LOG_CORRUPT',
      `The log holds another record at ${at} than the database was given: they belong to different histories. ` +
        'Both were left as they are. Put the matching pair back together, or let this node bootstrap from another one.',
      details,
    )
  }
}
