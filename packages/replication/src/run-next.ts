/** What has its turn: a group of writes, a change of format, or a capture. */
import { runCapture, runGroup, type GroupContext, type GroupOutcome } from './commit-group.ts'
import { changeFormat } from './format-change.ts'
import type { LogFormat } from '@understudy/contracts'
import type { PolicyChanges } from './policy-changes.ts'
import type { Recording } from './recording.ts'
import { isCapture, isSwitch, type PendingWrite, type WriteQueue } from './write-queue.ts'

/** Something waits. What ran is pushed to `group`. */
export function runNext<C, T>(
  context: GroupContext<C, T>,
  recording: Recording<C, T>,
  policies: PolicyChanges<T>,
  queue: WriteQueue<T>,
  group: PendingWrite<T>[],
): GroupOutcome {
  const body = queue.peek()?.body
  if (!isSwitch(body) && !isCapture(body))
    return runGroup(context, queue, group, (said) => policies.drafts(said))
  const request = queue.take() as PendingWrite<T>
  group.push(request)
  if (isCapture(body)) return runCapture(context, body)
  return changeFormat(context, recording, request, body.format as LogFormat<C>)
}
