/** Answers the writes of a group that is visible: each with its place in the record and, where acks are asked for, what the set has of it. */
import type { LogPoint, UnderstudyError } from '@understudy/contracts'
import { UNASKED, type AckGate } from './ack-gate.ts'
import type { AckRule } from './ack-rule.ts'
import type { CommitMeasures } from './measures.ts'
import { LeaderReceipt, runIdOf, type ReceiptOrigin } from './receipts.ts'
import { isWrite, type PendingWrite } from './write-queue.ts'

export function answerGroup<T>(
  group: readonly PendingWrite<T>[],
  gate: AckGate<T> | undefined,
  { leader, cluster, history }: ReceiptOrigin,
  point: LogPoint,
): void {
  const position = { epoch: point.epoch, lsn: point.lsn }
  const runId = runIdOf(history, point.epoch)
  let index = 0
  let rule: AckRule | undefined
  let verdict = gate?.verdict(rule, point) ?? UNASKED
  for (const write of group) {
    if (write.threw) {
      write.reject(write.outcome)
    } else if (!isWrite(write.body)) {
      write.resolve(point)
    } else {
      // Mostly all writes of a group have one rule.
      if (gate !== undefined && write.rule !== rule) verdict = gate.verdict((rule = write.rule), point)
      const of = { cluster, runId, point, index: index++ }
      write.resolve({ value: write.outcome, receipt: new LeaderReceipt(leader, of, verdict, position) })
    }
  }
}

/** Each write that threw gets what it threw. */
export function rejectGroup<T>(group: readonly PendingWrite<T>[], error: UnderstudyError): void {
  for (const write of group) write.reject(write.threw ? write.outcome : error)
}

/** What a group that is about to be answered adds to the measures; what the leader asked of itself is no write. */
export function countGroup<T>(
  { commitMs, groupWrites }: CommitMeasures,
  group: readonly PendingWrite<T>[],
  nowMs: number,
): void {
  let writes = 0
  for (const { body, sinceMs, settled } of group) {
    if (typeof body !== 'function') continue
    writes++
    // One that was answered before its group did not get what it asked for.
    if (!settled) commitMs.observe(nowMs - sinceMs)
  }
  if (writes > 0) groupWrites.observe(writes)
}
