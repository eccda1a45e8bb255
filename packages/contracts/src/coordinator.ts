/**
 * Coordinators keep what a cluster must agree on outside of its nodes: the published state, and the lease of its leader.
 * A cluster without one (`manual`) is promoted by a person, and has no object of this kind.
 *
 * A coordinator can be slow, gone, or answer late. What each call promises then:
 * - A call that rejects with `COORDINATOR_UNAVAILABLE` changed nothing, and never will. One that rejects with
 *   `COORDINATOR_UNCERTAIN`, or a change that rejects with `ABORTED` or `CLOSED`, may have changed it, or may do so later:
 *   observe, or repeat the call. Every change is a compare-and-set, so that repeating it never does it twice.
 * - What no waiting mends has its own code: `STATE_CORRUPT`, `FORMAT_VERSION`, `COORDINATOR_UNSUITABLE`, `TLS_FAILED`,
 *   `AUTHENTICATION_FAILED`, `FORBIDDEN`. Nothing was changed then either.
 * - An answer that comes after a lease has run out never brings it back.
 * - Nothing but `clock.monotonic()` of the caller decides what is valid; wall clocks are for people.
 *
 * Why a lease is safe: its holder counts from BEFORE it sent the request that wrote it, everybody else from AFTER they
 * first saw what it wrote, and a taker writes only over exactly what it saw. So a lease is over for its holder
 * (`validUntilMs`) before it is free for anybody (`freeAtMs`), by `marginMs` more than clocks may differ in speed.
 */
import type { UnderstudyError } from './errors.ts'
import type { AckLevel } from './storage.ts'

/** At which level, and on which members, a commit must be. Of the level `local` it has no set. */
export interface PublishedRule {
  readonly level: AckLevel
  readonly of?: {
    readonly kind: 'any' | 'first'
    readonly count: number
    readonly names: readonly string[]
  }
}

/** What a cluster has agreed on. Written whole, never in parts. */
export interface PublishedState {
  /** Id of the cluster; the first one written stays for ever. */
  readonly cluster: string
  /** Number of the epoch that is led, or was last; never goes down. */
  readonly epoch: number
  /** Run id of that epoch; one number has one run id. */
  readonly runId: string
  /** Who leads it. Absent: nobody, on purpose. */
  readonly leader?: { readonly name: string; readonly addresses: readonly string[] }
  /** The rule of acks. With `next` the set is changing: a commit satisfies both, and an election intersects both. */
  readonly acks: { readonly rule: PublishedRule; readonly next?: PublishedRule }
  /** By table, the highest id that may have been given to anybody. Never goes down; see `PublishOptions.forget`. */
  readonly ceilings: ReadonlyMap<string, bigint>
  /** A person asked that nobody be promoted automatically. */
  readonly paused: boolean
}

/** The lease as others see it. */
export interface SeenLease {
  /** Names this grant among all that ever were; the same until the lease is taken by or given to somebody. */
  readonly grant: string
  /** Changes with each renewal. */
  readonly beat: string
  readonly holder: string
  readonly epoch: number
  readonly ttlMs: number
  /** Its holder gave it back. It stays to say which epochs are used up. */
  readonly released: boolean
  /** When this beat was first seen, by the clock of the caller. */
  readonly seenAtMs: number
  /** From when it may be taken, by the same clock, unless another beat comes. In the past: it may be taken now. */
  readonly freeAtMs: number
}

/** What the coordinator holds. */
export interface Observation {
  /** Names this version of the state, to be compared for equality alone. Changes with the state, not with the lease. `0` where there is none. */
  readonly revision: string
  /** Absent: nothing was published yet. */
  readonly state?: PublishedState
  /** Absent: there never was one. */
  readonly lease?: SeenLease
  /** It was so at this time of the caller's clock, or later: taken before the request was sent. */
  readonly observedAtMs: number
}

export interface CoordinatorCallOptions {
  /** Gives up waiting: `ABORTED`. */
  readonly signal?: AbortSignal
  /** Milliseconds for the whole call, tries at several endpoints included. Default 2,000. */
  readonly timeoutMs?: number
}

export interface PublishOptions extends CoordinatorCallOptions {
  /** `Observation.revision` of the version that it replaces. */
  readonly expected: string
  /** Only while this grant is in force: a leader that was replaced publishes nothing. Default: whoever knows the revision. */
  readonly grant?: string
  /** Tables whose ceilings may leave: dropped ones. A ceiling that is missing without this is a mistake, and refused. */
  readonly forget?: readonly string[]
}

export interface AcquireOptions extends CoordinatorCallOptions {
  /** Name of the node. */
  readonly holder: string
  /** The epoch that it will lead: above those of all leases before, and above that of the published state. */
  readonly epoch: number
  /** Without renewal for so long, others may take it. Whole milliseconds, at least 100. */
  readonly ttlMs: number
  /** How much earlier it ends for its holder, in milliseconds. Default: a tenth of `ttlMs`. */
  readonly marginMs?: number
  /** An observation made before, by this or another coordinator on the same clock: its holder was silent since then. */
  readonly seen?: SeenLease
}

export interface Coordinator extends AsyncDisposable {
  /** For people: `sqlite`, `etcd`. */
  readonly kind: string
  /** How to make another one like it in a worker thread. Absent: it lives in this thread alone, as in a simulation. */
  readonly recipe?: CoordinatorRecipe
  /** What it holds now: nothing older than the call. Rejects with `COORDINATOR_UNAVAILABLE`. */
  observe(options?: CoordinatorCallOptions): Promise<Observation>
  /**
   * Tells what it holds: once soon after the call, then after each change of the state or the lease, renewals included.
   * Versions in between may be left out, the last one comes. Never calls synchronously.
   */
  watch(watcher: CoordinatorWatcher): CoordinatorWatch
  /**
   * Replaces the state whose revision is `expected`, and resolves with the revision of the new one. Of two calls with the
   * same `expected` one succeeds.
   * Rejects with `COORDINATOR_CONFLICT` (another state is there, nothing changed), `LEASE_LOST` (`grant` is not in force,
   * nothing changed), `EPOCH_STALE`, `EPOCH_FORK`, `FOREIGN_CLUSTER` or `INVALID_ARGUMENT` for a state that must not
   * follow the one that is there, `COORDINATOR_UNAVAILABLE`, `COORDINATOR_UNCERTAIN`.
   */
  publish(state: PublishedState, options: PublishOptions): Promise<string>
  /**
   * Takes the lease, now or not at all. Rejects with `LEASE_HELD` (somebody has it, or may still have it; `details` with
   * `holder`, `epoch` and `freeInMs`), `EPOCH_STALE` (`details.epoch` is the highest that is used up),
   * `COORDINATOR_UNAVAILABLE`, `COORDINATOR_UNCERTAIN`: then it is not held, though others may have to wait for its time to live.
   */
  acquire(options: AcquireOptions): Promise<HeldLease>
  /** Ends watches and requests under way (`CLOSED`). A lease that is held is not released: it runs out. */
  close(): Promise<void>
}

/** A lease in the hands of its holder. Once over it stays over. */
export interface HeldLease {
  readonly grant: string
  readonly holder: string
  readonly epoch: number
  readonly ttlMs: number
  /** It is over at this time of the clock, unless renewed before. It never goes back. */
  readonly validUntilMs: number
  /**
   * Aborts when it is over, with `LEASE_LOST` as reason, however it came to be: it ran out, somebody took it, it was released. A
   * thread that was blocked hears of it late: ask `validUntilMs` before doing what others can see.
   */
  readonly lost: AbortSignal
  /**
   * Asks for a whole time to live from now. Rejects with `LEASE_LOST`: it is over; with `COORDINATOR_UNAVAILABLE`,
   * `COORDINATOR_UNCERTAIN`: it is valid as long as before, and no longer.
   */
  renew(options?: CoordinatorCallOptions): Promise<void>
  /** It is over from the first moment of this call. When the call resolves others may take it at once; when it rejects, after its time to live. */
  release(options?: CoordinatorCallOptions): Promise<void>
}

export interface CoordinatorWatcher {
  observed(observation: Observation): void
  /** It cannot be reached: once, when that begins; with the next `observed` it can again. */
  unreachable?(error: UnderstudyError): void
}

export interface CoordinatorWatch {
  /** No call comes after this one. */
  close(): void
}

/** A function of a module that makes a coordinator, with what it is called with. */
export interface CoordinatorRecipe {
  /** URL of the module. */
  readonly module: string
  /** Name of the function that it exports; may return a promise. */
  readonly factory: string
  /** Its one argument: what the structured clone algorithm can copy. */
  readonly options: unknown
}
