/**
 * What a place must be able to do to hold a cluster's state and lease: the part that differs from coordinator to
 * coordinator. `coordinatorOn` of `@understudy/coordination` makes a `Coordinator` of it.
 *
 * 1. Each call is one atomic step at the place, or none. What `read` returns is nothing older than the call.
 * 2. A call rejects with `COORDINATOR_UNAVAILABLE` when it did nothing and will do nothing, with `COORDINATOR_UNCERTAIN` when
 *    a change may have happened or may yet. It ends soon after `signal` aborts, in whatever way.
 * 3. Grants and revisions are never used twice; a beat never twice within a grant.
 */
import type { CoordinatorRecipe } from './coordinator.ts'

/** The state as the place has it. */
export interface StoredState {
  readonly revision: string
  readonly bytes: Uint8Array
}

/** What a lease says; written when it is taken. */
export interface LeaseTerms {
  readonly holder: string
  readonly epoch: number
  readonly ttlMs: number
  /** Drawn anew for each taking: a holder whose answer was lost knows its own lease by it. */
  readonly token: string
}

/** The lease as the place has it. */
export interface StoredLease extends LeaseTerms {
  readonly grant: string
  readonly beat: string
  readonly released: boolean
  /** The beat is at least so old, where the place can tell. Default 0: it may be of this moment. */
  readonly ageMs?: number
}

export interface Stored {
  readonly state?: StoredState
  readonly lease?: StoredLease
}

export interface CoordinatorStore {
  readonly kind: string
  readonly recipe?: CoordinatorRecipe
  read(signal: AbortSignal): Promise<Stored>
  /** Replaces the state of revision `expected` (`0`: there is none), while `grant` is in force where one is given. Undefined: refused. */
  put(change: StateChange, signal: AbortSignal): Promise<string | undefined>
  /** Writes a lease over exactly `over`, or where there is none. Its grant; undefined: something else is there. */
  take(
    terms: LeaseTerms,
    over: Pick<StoredLease, 'grant' | 'beat'> | undefined,
    signal: AbortSignal,
  ): Promise<string | undefined>
  /** A new beat of a grant that is in force. False: it is not. Repeating it does no harm. */
  beat(grant: string, signal: AbortSignal): Promise<boolean>
  /** Marks the lease as released. False: the grant is not in force. Repeating it does no harm. */
  release(grant: string, signal: AbortSignal): Promise<boolean>
  /** Calls `changed` when there may be something new to read, until the returned function is called. May miss some. */
  listen(changed: () => void): () => void
  close(): Promise<void>
}

export interface StateChange {
  readonly bytes: Uint8Array
  readonly expected: string
  readonly grant?: string
}

/** The revision of no state. */
export const NO_REVISION = '0'
