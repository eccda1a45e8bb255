/**
 * The way back: what a storage has applied above a common point, undone from this node's own log, without a copy of the data.
 * Transactions that a format can invert are undone one by one. For any other the storage goes back to an older point
 * by its own files, if it still leads there, and the log is applied again from there up to the common point.
 *
 * Decides: which transactions are undone, in which order, where the position stands afterwards, whether any of them needs pages.
 * Leaves to others: how a payload is undone (its format), what is kept of the tail (`onLosing`), where the common point is (handshake).
 *
 * Validity conditions:
 * 1. Everything is read and judged before anything is undone: a tail that needs pages changes nothing.
 * 2. Transactions of one format are undone in one transaction of the storage, the last one first, together with the position
 *    before them. So after a crash the storage stands at a record of the log, and redo or another undo goes on from there.
 * 3. The log is cut only after the undone storage is durable: else a power loss would leave a database ahead of its log.
 * 4. A physical storage is only told of records of the log itself, so a tail of nothing else is settled away.
 * 5. An older point counts only if the log has its record, by its CRC, and everything above it: the storage may remember
 *    one of a history that is gone. Until the log is cut, redo would only bring the tail back.
 * 6. A common point inside a chain of parts undoes the whole transaction: the position is that before its first part.
 */
import {
  FLAG_CONTINUES,
  FORMAT_CONTROL,
  LOCAL_SLOT,
  ORIGIN,
  UnderstudyError,
  epochAt,
  formatPosition,
  isUnderstudyError,
  type Clock,
  type Log,
  type LogFormat,
  type LogPoint,
  type Lsn,
  type Storage,
} from '@understudy/contracts'
import type { ApplyLoop } from './apply-loop.ts'
import { asFailure } from './failures.ts'
import { PartAssembler, type WholeTransaction } from './parts.ts'
import { settleFromLog } from './physical.ts'
import { rowsOfTail } from './tail-rows.ts'

/** Payload bytes that are held at once while they are undone. One transaction is always held. */
const CHUNK_BYTES = 16 << 20
/** How long to wait before asking again for a checkpoint, in milliseconds. */
const CHECKPOINT_RETRY_MS = 5

export interface UndoContext<C, T> {
  readonly log: Log
  readonly storage: Storage<C, T>
  readonly formats: readonly LogFormat<C>[]
  readonly clock: Clock
  readonly transactionBytesMax: number
  /** What a tail of statements did, as rows: before the log is cut. A throw keeps it from being cut. */
  readonly onRows?: (rows: ReadonlyMap<Lsn, unknown>) => void
}

/** A whole transaction in the log. */
interface Span {
  readonly first: Lsn
  readonly last: Lsn
  readonly format: number
  readonly bytes: number
}

export interface UndoPlan {
  /** Where the storage stands afterwards: the last whole transaction at or below the common point. */
  readonly to: LogPoint
  /** What is undone, oldest first. */
  readonly spans: readonly Span[]
}

/**
 * What has to be undone so that nothing above `after` is applied. Throws `SNAPSHOT_REQUIRED` when that cannot be done from
 * the log: the caller lets the node bootstrap, by the pages that differ.
 */
export function planUndo<C, T>(context: UndoContext<C, T>, after: Lsn): UndoPlan {
  const { log, storage, formats, transactionBytesMax } = context
  const { applied } = storage
  const target = beginOfChain(log, after)
  if (applied.lsn <= target) return { to: applied, spans: [] }
  if (target + 1 < log.first) throw needsPages(`its log begins at LSN ${log.first}`, applied)
  const to = pointAt(log, target)
  const known = new Map(formats.map((format) => [format.id, format]))
  const assembler = new PartAssembler(transactionBytesMax)
  const spans: Span[] = []
  let first = target + 1
  for (const record of log.records(target + 1, applied.lsn)) {
    const whole = assembler.push(record)
    if (whole === undefined) continue
    const why = whyNot(known, whole)
    if (why !== undefined) throw needsPages(`of record ${formatPosition(whole)} ${why}`, whole)
    spans.push({ first, last: whole.lsn, format: whole.format, bytes: whole.payload.length })
    first = whole.lsn + 1
  }
  return { to, spans }
}

/** Undoes a plan and cuts the log after `after`; resolves once both are durable. A crash at any time leaves a storage and a log that fit. */
export async function undoTail<C, T>(
  context: UndoContext<C, T>,
  loop: ApplyLoop<C, T>,
  plan: UndoPlan,
  after: Lsn,
): Promise<void> {
  rewind(context, loop, plan)
  await cut(context, plan.to.lsn, after)
}

/**
 * The same through an older point of the storage, for a tail that `planUndo` refuses. False when the storage leads nowhere
 * that the log goes on from; then nothing was changed.
 */
export async function undoByRewind<C, T>(
  context: UndoContext<C, T>,
  loop: ApplyLoop<C, T>,
  after: Lsn,
): Promise<boolean> {
  const { log, storage } = context
  const target = beginOfChain(log, after)
  const to = storage.rewindsTo
  if (to === undefined || to.lsn > target || !leadsTo(log, to) || storage.rewind?.() !== true) return false
  loop.forget()
  if (storage.ahead) {
    settleFromLog(context)
    loop.reset()
  }
  while (storage.applied.lsn < target) {
    if (loop.idle) loop.fill(log, target)
    if (loop.step(target) === undefined) break
    await new Promise<void>((resolve) => {
      context.clock.schedule(0, resolve)
    })
  }
  context.onRows?.(rowsOfTail(context, storage.applied.lsn))
  await cut(context, storage.applied.lsn, after)
  return true
}

/**
 * Takes back the transaction of a physical storage that a crash kept out of the log, on a node that does not lead: nobody was answered
 * for it. False when there is none, or no way back; else redo goes on from an older point.
 */
export function rewindUnlogged<C, T>(log: Log, storage: Storage<C, T>): boolean {
  const to = storage.rewindsTo
  return storage.ahead && to !== undefined && leadsTo(log, to) && storage.rewind?.() === true
}

/** The log holds this very record, or begins right after it, and all that follows. */
function leadsTo(log: Log, { lsn, crc }: LogPoint): boolean {
  if (lsn + 1 < log.first) return false
  return lsn === 0 || log.crcAt(lsn) === crc
}

/** Cuts the log once the storage, which is at `to`, is durable. */
async function cut<C, T>({ log, storage, clock }: UndoContext<C, T>, to: Lsn, after: Lsn): Promise<void> {
  // A checkpoint that began before the undo does not count: it tells of a position above.
  for (;;) {
    const durable = await storage.checkpoint()
    if (durable !== undefined && durable.lsn <= to) break
    await new Promise<void>((resolve) => {
      clock.schedule(CHECKPOINT_RETRY_MS, resolve)
    })
  }
  log.truncateAfter(after)
  const local = log.slots.get(LOCAL_SLOT)
  if (local !== undefined && local.lsn > to) log.slots.reserve(LOCAL_SLOT, to)
}

function rewind<C, T>(context: UndoContext<C, T>, loop: ApplyLoop<C, T>, { to, spans }: UndoPlan): void {
  let end = spans.length
  while (end > 0) {
    // A run: transactions of one format, with the log's own records between them.
    let begin = end
    let format = FORMAT_CONTROL
    while (begin > 0) {
      const span = spans[begin - 1] as Span
      if (span.format !== FORMAT_CONTROL && format !== FORMAT_CONTROL && span.format !== format) break
      if (span.format !== FORMAT_CONTROL) format = span.format
      begin -= 1
    }
    const run = spans.slice(begin, end)
    const before = begin === 0 ? to : pointAt(context.log, (run[0] as Span).first - 1)
    loop.rewind(format, before, (undo) => {
      for (const transaction of backwards(context, run)) {
        try {
          if (transaction.format !== FORMAT_CONTROL) undo(transaction.payload)
        } catch (error) {
          throw notUndone(error, transaction)
        }
      }
    })
    end = begin
  }
}

function notUndone(cause: unknown, { epoch, lsn }: LogPoint): UnderstudyError {
  const { code, message } = asFailure(cause, 'STORAGE_FAILED', 'The storage failed')
  return new UnderstudyError(
    code,
    `Record ${formatPosition({ epoch, lsn })} could not be undone, so nothing of its transaction was: ${message}`,
    { cause, position: { epoch, lsn } },
  )
}

/** The transactions of a run, the last one first; the log is read forward, a chunk at a time. */
function* backwards<C, T>(
  { log, transactionBytesMax }: UndoContext<C, T>,
  run: readonly Span[],
): Generator<WholeTransaction> {
  let end = run.length
  while (end > 0) {
    let begin = end - 1
    let bytes = (run[begin] as Span).bytes
    while (begin > 0 && bytes + (run[begin - 1] as Span).bytes <= CHUNK_BYTES) {
      begin -= 1
      bytes += (run[begin] as Span).bytes
    }
    const assembler = new PartAssembler(transactionBytesMax)
    const chunk: WholeTransaction[] = []
    for (const record of log.records((run[begin] as Span).first, (run[end - 1] as Span).last)) {
      const whole = assembler.push(record)
      if (whole !== undefined) chunk.push(whole)
    }
    yield* chunk.toReversed()
    end = begin
  }
}

/** `after`, or the LSN before the chain of parts that goes on above it. */
function beginOfChain(log: Log, after: Lsn): Lsn {
  let lsn = after
  const next = recordAt(log, after + 1)
  while (lsn >= log.first) {
    const record = recordAt(log, lsn)
    if (record === undefined || (record.flags & FLAG_CONTINUES) === 0) break
    // A new epoch drops what came of a chain before it.
    if (record.epoch !== next?.epoch) break
    lsn -= 1
  }
  return lsn
}

function recordAt(log: Log, lsn: Lsn) {
  if (lsn < log.first || lsn > log.durable) return undefined
  for (const record of log.records(lsn, lsn)) return record
  return undefined
}

function pointAt(log: Log, lsn: Lsn): LogPoint {
  if (lsn === 0) return ORIGIN
  const crc = log.crcAt(lsn)
  const epoch = epochAt(log.history, lsn)
  if (crc === undefined || epoch === undefined)
    throw needsPages(`its log does not hold the record at LSN ${lsn} any more`, { epoch: 0, lsn })
  return { epoch: epoch.number, lsn, crc }
}

function whyNot<C>(
  formats: ReadonlyMap<number, LogFormat<C>>,
  { format, payload }: WholeTransaction,
): string | undefined {
  if (format === FORMAT_CONTROL) return undefined
  const known = formats.get(format)
  if (known === undefined) return `the format ${format} was not given`
  if (known.needsPages === undefined) return `the ${known.name} format undoes nothing`
  const why = known.needsPages(payload)
  return why === undefined ? undefined : `the ${known.name} format cannot undo it: ${why}`
}

function needsPages(why: string, position: { readonly epoch: number; readonly lsn: Lsn }): UnderstudyError {
  return new UnderstudyError(
    'SNAPSHOT_REQUIRED',
    `What this node applied above the common point cannot be undone from its log: ${why}. Nothing was changed.`,
    { position: { epoch: position.epoch, lsn: position.lsn }, why },
  )
}

/** The plan, or `SNAPSHOT_REQUIRED`: why there is none. Throws everything else. */
export function planOrReason<C, T>(
  context: Parameters<typeof planUndo<C, T>>[0],
  after: Lsn,
): UndoPlan | UnderstudyError {
  try {
    return planUndo(context, after)
  } catch (error) {
    if (isUnderstudyError(error, 'SNAPSHOT_REQUIRED')) return error
    throw error
  }
}

/** What a log holds above `after`: from where, and up to where. */
export function tailAfter(log: Log, after: Lsn): { readonly common: LogPoint; readonly end: LogPoint } {
  const epoch = epochAt(log.history, after)?.number ?? 0
  return { common: { epoch, lsn: after, crc: log.crcAt(after) ?? 0 }, end: log.end }
}
