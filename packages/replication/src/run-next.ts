/** What has its turn: a group of writes, a transaction, a change of format, or a capture. */
import { runCapture, runGroup, type GroupContext, type GroupOutcome } from './commit-group.ts'
import { changeFormat } from './format-change.ts'
import type { LogFormat } from '@understudy/contracts'
import type { OpenTransactions } from './open-transaction.ts'
import type { PolicyChanges } from './policy-changes.ts'
import type { Recording } from './recording.ts'
import { isCapture, isSwitch, isTransaction, type PendingWrite, type WriteQueue } from './write-queue.ts'

/** What a turn may need beside the context of a group. */
export interface Turns<C, T> {
  readonly recording: Recording<C, T>
  readonly policies: PolicyChanges<T>
  readonly transactions: OpenTransactions<C, T>
}

/** Something waits. What ran is pushed to `group`. `undefined` while a transaction is open. */
export function runNext<C, T>(
  context: GroupContext<C, T>,
  { recording, policies, transactions }: Turns<C, T>,
  queue: WriteQueue<T>,
  group: PendingWrite<T>[],
): GroupOutcome | undefined {
  const body = queue.peek()?.body
  if (!isSwitch(body) && !isCapture(body) && !isTransaction(body))
    return runGroup(context, queue, group, (said) => policies.drafts(said))
  const request = queue.take() as PendingWrite<T>
  group.push(request)
  if (isTransaction(body)) return transactions.begin(context, request)
  if (isCapture(body)) return runCapture(context, body)
  return changeFormat(context, recording, request, body.format as LogFormat<C>)
}
