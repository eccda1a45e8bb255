/**
 * What a node can say of a receipt: `committed`, `lost` or `unknown`, by its own log and history.
 *
 * Decides: the verdict, as a pure function. Leaves to others: up to where a node knows that records are acknowledged.
 *
 * Validity conditions:
 * 1. A run of leading numbers its records without gaps and never twice: epoch, run id and LSN name one record of a cluster. So the
 *    history alone tells whether a log that holds, or held, an LSN holds that record. Without a run id only the CRC tells, and only
 *    while the log holds the record.
 * 2. `committed` is said only of what is acknowledged under the rule that its record was written with; a history that holds it
 *    keeps it, because only an end that is not acknowledged may be taken back.
 * 3. `lost` is said only when another record stands, or another epoch began, where it stood.
 * 4. A node that is behind knows nothing of what is above its end.
 */
import {
  UnderstudyError,
  formatPosition,
  type EpochHistory,
  type LogPoint,
  type Lsn,
  type ReceiptReference,
  type ReceiptVerdict,
} from '@understudy/contracts'

/** What a node knows. */
export interface VerdictView {
  readonly cluster: string
  readonly history: EpochHistory
  readonly end: LogPoint
  /** CRC of its record at an LSN; `undefined` when it does not hold it any more. */
  readonly crcAt: (lsn: Lsn) => number | undefined
  /** Last LSN that is known to be acknowledged. */
  readonly acknowledged: Lsn
}

/** Throws `FOREIGN_CLUSTER`, and `INVALID_ARGUMENT` for a receipt that nobody can have given. */
export function verdictOf(receipt: ReceiptReference, view: VerdictView): ReceiptVerdict {
  const { position, runId, crc, cluster } = receipt
  const { history, end } = view
  const at = formatPosition(position)
  if (cluster !== view.cluster) throw foreign(cluster, view.cluster)
  const index = history.findIndex(({ number }) => number === position.epoch)
  const own = history[index]
  const next = own === undefined ? history.find(({ number }) => number > position.epoch) : history[index + 1]
  if (own === undefined) {
    if (next === undefined) return unknown(`the node has not heard of epoch ${position.epoch} yet`)
    return lost(next.number, `the history goes from an epoch before ${position.epoch} to ${next.number}`)
  }
  if (runId !== undefined && runId !== own.runId)
    return lost(own.number, `epoch ${own.number} is another stretch of leading here (${own.runId})`)
  if (next !== undefined && position.lsn >= next.firstLsn)
    return lost(next.number, `epoch ${next.number} began at ${next.firstLsn}`)
  if (position.lsn < own.firstLsn) {
    if (runId === undefined) return lost(own.number, `epoch ${own.number} began at ${own.firstLsn}`)
    throw impossible(`${at} is before the first record of its epoch, ${own.firstLsn}`)
  }
  if (position.lsn > end.lsn) return unknown(`the log of the node ends at ${formatPosition(end)}`)
  const held = view.crcAt(position.lsn)
  if (held === undefined && runId === undefined)
    return unknown('the log does not reach back to it, and the receipt does not say of which run it is')
  if (held !== undefined && held !== crc) {
    if (runId === undefined) return lost(own.number, 'another record stands there')
    throw impossible(`the record at ${at} has another CRC`)
  }
  if (position.lsn > view.acknowledged) return unknown('it is in the log, and not known to be acknowledged')
  return { verdict: 'committed', reason: `${at} is in the history of the node, and acknowledged` }
}

function lost(epoch: number, reason: string): ReceiptVerdict {
  return { verdict: 'lost', epoch, reason }
}

function unknown(reason: string): ReceiptVerdict {
  return { verdict: 'unknown', reason }
}

function foreign(cluster: string, own: string): UnderstudyError {
  return new UnderstudyError(
    'FOREIGN_CLUSTER',
    `The receipt is of cluster ${cluster}; this node belongs to ${own} and knows nothing of it. Ask a node of that cluster.`,
    { cluster },
  )
}

function impossible(why: string): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `This is no receipt of the cluster: ${why}. Was it changed on the way?`,
  )
}

/** A receipt as it comes from outside, with what a verdict needs of it. Throws `INVALID_ARGUMENT`. */
export function checkedReceipt(value: unknown): ReceiptReference {
  const receipt = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  const { cluster, crc, runId } = receipt
  const position = (typeof receipt['position'] === 'object' ? receipt['position'] : undefined) as
    | Record<string, unknown>
    | null
    | undefined
  const [epoch, lsn] = [position?.['epoch'], position?.['lsn']]
  if (typeof cluster !== 'string' || cluster === '') throw noReceipt('cluster')
  if (!isCount(epoch) || !isCount(lsn)) throw noReceipt('position')
  if (!isCount(crc, 0) || crc > 0xffff_ffff) throw noReceipt('crc')
  if (runId !== undefined && !(typeof runId === 'string' && /^[0-9a-f]{16}$/.test(runId)))
    throw noReceipt('runId')
  return { cluster, position: { epoch, lsn }, crc, ...(runId !== undefined && { runId }) }
}

function isCount(value: unknown, least = 1): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least
}

function noReceipt(field: string): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `This is no receipt: its field ${field} is missing, or is not what a receipt has there. Give it as a write returned it.`,
    { field },
  )
}
