/** What becomes of a group that asks for a marker record, when it is visible or cannot have one. */
import type { LogPoint } from '@understudy/contracts'
import { replacedByBase } from './failures.ts'
import { isMarker, type PendingWrite } from './write-queue.ts'

/** The marker is visible, and nothing after it. What the handler throws becomes the request's own outcome. */
export function tellMarker<T>(
  [first]: readonly PendingWrite<T>[],
  point: LogPoint,
  onMarker: ((point: LogPoint) => void) | undefined,
): void {
  if (first === undefined || first.threw || !isMarker(first.body)) return
  try {
    onMarker?.(point)
  } catch (error) {
    first.outcome = error
    first.threw = true
  }
}

/** A capture that ended in a base has no marker. */
export function refuseMarker<T>([capture]: readonly PendingWrite<T>[]): void {
  if (capture === undefined || !isMarker(capture.body)) return
  capture.outcome = replacedByBase()
  capture.threw = true
}
