/**
 * `reach`: waits until so many followers have a commit at a level, whatever their names.
 *
 * 1. Only followers that stream now count; the leader itself is none of them. `local` asks for none: a commit with a receipt is in its log.
 * 2. What this history does not hold is never reached: `POSITION_LOST`.
 */
import {
  UnderstudyError,
  formatPosition,
  type AckLevel,
  type Log,
  type ReceiptReference,
} from '@understudy/contracts'
import type { AckGate } from './ack-gate.ts'
import { notReached, type AckWaits } from './ack-waits.ts'
import type { Reached, ReachOptions } from './receipts.ts'
import { checkedReceipt, verdictOf } from './verdict.ts'

export interface ReachContext<T> {
  readonly log: Log
  readonly cluster: string
  readonly gate: Pick<AckGate<T>, 'having'>
  readonly waits: AckWaits
}

/** Rejects with `TIMEOUT`, `ABORTED`, `CLOSED`, `POSITION_LOST`, `FOREIGN_CLUSTER`, `INVALID_ARGUMENT`. */
export async function reach<T>(
  { log, cluster, gate, waits }: ReachContext<T>,
  receipt: ReceiptReference,
  level: AckLevel,
  count: number,
  { timeoutMs = 10_000, signal }: ReachOptions = {},
): Promise<Reached> {
  check(level, count, timeoutMs)
  const reference = checkedReceipt(receipt)
  const { position } = reference
  const { history, end } = log
  const view = { cluster, history, end, crcAt: (lsn: number) => log.crcAt(lsn), acknowledged: end.lsn }
  const { verdict, reason } = verdictOf(reference, view)
  if (verdict !== 'committed') throw notHere(reference, reason)
  if (level === 'local') return { level, members: [] }
  await waits.wait({
    isMet: () => gate.having(level, position.lsn).length >= count,
    dueMs: () => Number.POSITIVE_INFINITY,
    timeoutMs,
    signal,
    failed: (why, cause) => notReached(position, `at level ${level} on ${count} followers`, why, cause),
  })
  return { level, members: gate.having(level, position.lsn) }
}

function check(level: AckLevel, count: number, timeoutMs: number): void {
  const fault = !['local', 'received', 'durable', 'applied'].includes(level)
    ? `the level is '${level}'; use local, received, durable or applied`
    : !Number.isSafeInteger(count) || count < 1
      ? `${String(count)} followers are asked for; ask for 1 or more`
      : typeof timeoutMs !== 'number' || !(timeoutMs >= 0)
        ? `timeoutMs is ${String(timeoutMs)}; give 0 or more`
        : undefined
  if (fault !== undefined)
    throw new UnderstudyError('INVALID_ARGUMENT', `reach: ${fault}. Nothing was waited for.`)
}

function notHere({ position }: ReceiptReference, reason: string): UnderstudyError {
  return new UnderstudyError(
    'POSITION_LOST',
    `${formatPosition(position)} is not in the history of this leader, so that its followers will not have it: ${reason}.`,
    { position: { epoch: position.epoch, lsn: position.lsn } },
  )
}
