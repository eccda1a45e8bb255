/** After a recovery the end of the log may be of another kind than the format that writes begin with: then a base comes before any of them. */
import type { GroupContext } from './commit-group.ts'
import { pendingWrite, type WriteQueue } from './write-queue.ts'

/** Asks for the base, where one is needed, before all that wait. */
export function askForBase<C, T>(
  { format, storage, clock }: GroupContext<C, T>,
  queue: WriteQueue<T>,
  failed: (error: unknown) => void,
): void {
  if (format.physical !== true || storage.physical) return
  const logged = new Promise((resolve, reject) => {
    const deadlineMs = Number.POSITIVE_INFINITY
    const whole = { sinceMs: clock.monotonic(), deadlineMs, asks: undefined, ackTimeoutMs: undefined }
    queue.unshift(pendingWrite<T>({ body: { format }, ...whole, resolve, reject }))
  })
  logged.catch(failed)
}
