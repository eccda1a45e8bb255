/**
 * Physical formats between storage and log: naming the record of a storage's last transaction, logging what a crash kept
 * out of the log, and bases.
 *
 * Decides: which record of the log is the one that a storage is ahead by, when a base may be logged. Leaves to others: pages.
 *
 * Validity conditions:
 * 1. A storage that is `ahead` of P holds everything through P and the first transaction after P that is no control
 *    record; so that transaction is never missing below the end of a log that reaches back to P.
 * 2. A log that begins above P was made with the storage's file, by a snapshot: its beginning is the storage's position.
 * 3. Deltas of pages need the pages that they are of. So a base, or a transaction without one, is appended only after the
 *    storage is durable as it stands: no crash can set it back below.
 */
import {
  FORMAT_CONTROL,
  UnderstudyError,
  epochAt,
  formatPosition,
  type Clock,
  type Log,
  type LogFormat,
  type LogPoint,
  type Lsn,
  type Recorder,
  type RecordDraft,
  type Storage,
} from '@understudy/contracts'
import { draftParts, PartAssembler, type WholeTransaction } from './parts.ts'

/** How long to wait before asking again for a checkpoint that readers or snapshots kept from completing, in milliseconds. */
const CHECKPOINT_RETRY_MS = 5

export interface SettleOptions<C, T> {
  readonly log: Log
  readonly storage: Storage<C, T>
  readonly formats: readonly LogFormat<C>[]
  readonly transactionBytesMax: number
}

export interface Settled {
  /** The log does not hold the transaction that the storage is ahead by. */
  readonly unlogged: boolean
  /** First LSN of a chain at the end of the log whose last part is missing. */
  readonly incompleteFrom: Lsn | undefined
}

/**
 * Names the position of a storage that is `ahead`, from the log. Throws `SNAPSHOT_REQUIRED` when the file is not what
 * that record left, `LOG_CORRUPT` when the record is of a format that is not physical, `FORMAT_UNKNOWN`.
 */
export function settleFromLog<C, T>(options: SettleOptions<C, T>): Settled {
  const { log, storage } = options
  const after = storage.applied
  if (after.lsn + 1 < log.first) {
    storage.settle(beginningOf(log))
    return { unlogged: false, incompleteFrom: undefined }
  }
  const assembler = new PartAssembler(options.transactionBytesMax)
  for (const record of log.records(after.lsn + 1, log.durable)) {
    const whole = assembler.push(record)
    if (whole === undefined || whole.format === FORMAT_CONTROL) continue
    checkHeld(options, whole)
    storage.settle({ epoch: whole.epoch, lsn: whole.lsn, crc: whole.crc })
    return { unlogged: false, incompleteFrom: undefined }
  }
  return { unlogged: true, incompleteFrom: assembler.pendingFrom }
}

function beginningOf(log: Log): LogPoint {
  const lsn = log.first - 1
  return { epoch: epochAt(log.history, lsn)?.number ?? 0, lsn, crc: log.crcAt(lsn) ?? 0 }
}

function checkHeld<C, T>({ storage, formats }: SettleOptions<C, T>, whole: WholeTransaction): void {
  const position = { epoch: whole.epoch, lsn: whole.lsn }
  const at = formatPosition(position)
  const format = formats.find(({ id }) => id === whole.format)
  if (format === undefined) throw formatNotGiven(whole.format, position)
  if (format.physical !== true) {
    throw new UnderstudyError(
      'LOG_CORRUPT',
      `The database holds a transaction of pages after ${formatPosition(storage.applied)}, but the log has a record of format ${format.name} at ${at}: they belong to different histories. ` +
        'Both were left as they are. Put the matching pair back together, or let this node bootstrap from another one.',
      { position },
    )
  }
  const applier = format.applier(storage.connection)
  try {
    if (applier.holds === undefined || applier.holds(whole.payload)) return
  } finally {
    applier.close()
  }
  throw new UnderstudyError(
    'SNAPSHOT_REQUIRED',
    `The database file is not as record ${at} left it: something other than this node changed it. It was left as it is. ` +
      'A follower makes its file equal to the leader’s by a snapshot; a leader can begin a new cluster from this file (import it).',
    { position },
  )
}

export function formatNotGiven(
  id: number,
  position?: { readonly epoch: number; readonly lsn: Lsn },
): UnderstudyError {
  return new UnderstudyError(
    'FORMAT_UNKNOWN',
    `It is of log format ${id}, which this node was not given. Start it with that format.`,
    { format: id, ...(position && { position }) },
  )
}

/** A follower's log always holds what was applied: a database ahead of it was something else's. */
export function aheadOfLog(after: LogPoint): UnderstudyError {
  return new UnderstudyError(
    'SNAPSHOT_REQUIRED',
    `The database holds a transaction of pages after ${formatPosition(after)} that is not in the log, as an old leader's may. It was left as it is; this node makes its file equal to the leader's by a snapshot.`,
    { position: after },
  )
}

export interface PhysicalContext<C, T> {
  readonly log: Log
  readonly storage: Storage<C, T>
  readonly clock: Clock
  readonly recordBytesMax: number
  /** Says of records what the group that they are of asks of acks. Default: nothing. */
  readonly marked?: (drafts: RecordDraft[]) => readonly RecordDraft[]
}

/**
 * After a crash between COMMIT and append: logs the one transaction that the storage is ahead by, or a base when its
 * pages cannot be had. The log is in an epoch of this node; the record is durable when it resolves.
 */
export async function logUnlogged<C, T>(
  context: PhysicalContext<C, T>,
  formats: readonly LogFormat<C>[],
): Promise<LogPoint> {
  const format = formats.find((each) => each.physical === true)
  if (format === undefined) {
    throw new UnderstudyError(
      'FORMAT_UNKNOWN',
      `The database holds a transaction of pages after ${formatPosition(context.storage.applied)} that a crash kept out of the log, and this node was given no format for pages. Nothing was changed; start it with the WAL format too.`,
      { position: context.storage.applied },
    )
  }
  const recorder = format.recorder(context.storage.connection)
  try {
    return await logDurably(context, format, recorder.recover?.() ?? [], recorder)
  } finally {
    recorder.close()
  }
}

/** Logs a base: the storage is ahead by the transaction whose record it becomes. */
export function logBase<C, T>(
  context: PhysicalContext<C, T>,
  format: LogFormat<C>,
  recorder: Recorder,
): Promise<LogPoint> {
  return logDurably(context, format, [], recorder)
}

async function logDurably<C, T>(
  context: PhysicalContext<C, T>,
  format: LogFormat<C>,
  payloads: readonly Uint8Array[],
  recorder: Recorder,
): Promise<LogPoint> {
  const { log, storage, clock } = context
  const base = recorder.base?.()
  const logged = payloads.length > 0 || base === undefined ? payloads : [base]
  await makeDurable(context, storage.applied.lsn)
  const drafts: RecordDraft[] = logged.flatMap((payload) =>
    draftParts(payload, format.id, clock.now(), context.recordBytesMax),
  )
  const point = log.append(context.marked?.(drafts) ?? drafts)
  await log.sync()
  storage.settle(point)
  return point
}

/**
 * Until what is stored at `lsn` is durable in the storage: a checkpoint that could not complete is asked for again. One
 * that runs already may have begun before, at the same position but without the pages: it does not count.
 */
async function makeDurable<C, T>({ storage, clock }: PhysicalContext<C, T>, lsn: Lsn): Promise<void> {
  await storage.checkpoint()
  for (;;) {
    const point = await storage.checkpoint()
    if (point !== undefined && point.lsn >= lsn) return
    await new Promise<void>((resolve) => {
      clock.schedule(CHECKPOINT_RETRY_MS, resolve)
    })
  }
}
