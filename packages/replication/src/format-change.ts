/**
 * The group that changes the format in which groups are recorded.
 *
 * Decides: that the new recorder is there before anything is logged, and the old one again when that fails. Leaves to others:
 * bases, durability, the replies.
 */
import type { LogFormat } from '@understudy/contracts'
import { runSwitch, type GroupContext, type GroupOutcome } from './commit-group.ts'
import type { Recording } from './recording.ts'
import type { PendingWrite } from './write-queue.ts'

/** Of no effect when the format is in force. What `inspect` throws becomes the request's own outcome. */
export function changeFormat<C, T>(
  context: GroupContext<C, T>,
  recording: Recording<C, T>,
  request: PendingWrite<T>,
  format: LogFormat<C>,
): GroupOutcome {
  const { storage, log } = context
  const before = recording.format
  if (format === before && (format.physical === true) === storage.physical) return { kind: 'rolledBack' }
  try {
    format.inspect?.(storage.connection)
    recording.use(format)
    if (format.physical !== true || storage.physical) {
      const outcome = runSwitch(context, format.id)
      if (outcome.kind !== 'appended') recording.use(before)
      else recording.endShadowUnless(format)
      return outcome
    }
    storage.begin()
    storage.markBefore(log.end)
    storage.commit()
    recording.endShadowUnless(format)
    return { kind: 'unlogged' }
  } catch (error) {
    storage.rollback()
    recording.use(before)
    request.outcome = error
    request.threw = true
    return { kind: 'rolledBack' }
  }
}
