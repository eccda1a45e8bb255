/** Errors of coordinators, the same for every place. */
import { isUnderstudyError, UnderstudyError, type SeenLease } from '@understudy/contracts'

export function unavailable(kind: string, why: string, cause?: unknown): UnderstudyError {
  return new UnderstudyError(
    'COORDINATOR_UNAVAILABLE',
    `The coordinator (${kind}) cannot be used: ${why}. Nothing was changed there; it is tried again when it is asked again.`,
    { cause },
  )
}

export function uncertain(kind: string, why: string, cause?: unknown): UnderstudyError {
  return new UnderstudyError(
    'COORDINATOR_UNCERTAIN',
    `The coordinator (${kind}) did not confirm a change: ${why}. It may or may not have happened, or happen yet; observe before relying on either.`,
    { cause },
  )
}

export function closed(kind: string): UnderstudyError {
  return new UnderstudyError('CLOSED', `The coordinator (${kind}) is closed. Open another one.`)
}

export function aborted(kind: string): UnderstudyError {
  return new UnderstudyError(
    'ABORTED',
    `The caller gave up waiting for the coordinator (${kind}). What was asked for may happen all the same.`,
  )
}

export function leaseHeld(lease: SeenLease, nowMs: number): UnderstudyError {
  const { holder, epoch, freeAtMs } = lease
  const freeInMs = Math.max(0, Math.round(freeAtMs - nowMs))
  return new UnderstudyError(
    'LEASE_HELD',
    `${holder} has the lease, for epoch ${epoch}. Nothing was changed; it is free in ${freeInMs} ms unless ${holder} renews it.`,
    { holder, epoch, freeInMs },
  )
}

export type LossReason =
  | 'ran out'
  | 'was taken'
  | 'was released'
  | 'stalled'
  | 'suspended'
  | 'thread ended'
  | 'was closed'

const LOSSES: Readonly<Record<LossReason, string>> = {
  'ran out': 'it was not renewed in time',
  'was taken': 'somebody else has it, or it was given back',
  'was released': 'this node gave it back',
  stalled: 'the main thread was blocked for longer than the stall limit, so that it was not renewed',
  suspended: 'the machine stood still, and nobody knows for how long it counts elsewhere',
  'thread ended': 'the thread that renews it ended',
  'was closed': 'its keeper was closed, so that it is not renewed',
}

export function leaseLost(
  lease: { readonly holder: string; readonly epoch: number },
  reason: LossReason,
  cause?: unknown,
): UnderstudyError {
  return new UnderstudyError(
    'LEASE_LOST',
    `${lease.holder} has lost the lease of epoch ${lease.epoch}: ${LOSSES[reason]}. It must not go on as leader of this epoch; it may ask for the lease of a higher one.`,
    { holder: lease.holder, epoch: lease.epoch, reason, cause },
  )
}

export function epochUsed(epoch: number, highest: number): UnderstudyError {
  return new UnderstudyError(
    'EPOCH_STALE',
    `A lease for epoch ${epoch} was asked for, and epochs up to ${highest} are used up. Nothing was changed; ask for a higher one.`,
    { epoch: highest },
  )
}

/** Whether a change may have happened, or may yet. */
export function isUncertain(error: unknown): boolean {
  return isUnderstudyError(error, 'COORDINATOR_UNCERTAIN')
}
