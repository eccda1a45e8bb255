/**
 * Keepers hold leases for a node: they renew them, and know at any moment whether they are valid.
 *
 * With a coordinator that has a recipe the renewing happens on a thread of its own. One without lives in this thread, as in a
 * simulation, and so does the renewing.
 */
import type { Clock, Coordinator, CoordinatorRecipe, SeenLease, UnderstudyError } from '@understudy/contracts'
import { UnderstudyError as Failure } from '@understudy/contracts'
import type { KeptLease } from './kept-lease.ts'
import { InlineKeeper } from './inline-keeper.ts'
import { processClock } from '../process-clock.ts'
import { startThreadKeeper } from './thread-keeper.ts'

export interface KeeperOptions {
  /** What the lease is taken from. Its recipe, where it has one, is followed in the thread of the keeper. */
  readonly coordinator: Coordinator
  /** Of all leases of this keeper, in whole milliseconds: see `AcquireOptions.ttlMs`. */
  readonly ttlMs: number
  /** See `AcquireOptions.marginMs`. Default: a tenth of `ttlMs`. */
  readonly marginMs?: number
  /**
   * A main thread that has been busy without a pause for longer gets no renewals. The lease is lost when it stays so for the
   * rest of its time: between `stallMs` and `stallMs + ttlMs` in all. Default: `ttlMs`.
   */
  readonly stallMs?: number
  /** The clock of `coordinator`. Default: `processClock`. */
  readonly clock?: Clock
}

export interface KeepRequest {
  readonly holder: string
  readonly epoch: number
  /** What a watch has seen: see `AcquireOptions.seen`. */
  readonly seen?: SeenLease
  /** Default 2,000. */
  readonly timeoutMs?: number
}

export interface LeaseKeeper extends AsyncDisposable {
  /** Takes the lease and keeps it. Rejects as `Coordinator.acquire`. */
  acquire(request: KeepRequest): Promise<KeptLease>
  /** Ends all leases of this keeper without releasing them; they run out. */
  close(): Promise<void>
}

/** The options with their defaults. */
export interface KeeperSettings {
  readonly ttlMs: number
  readonly marginMs: number
  readonly stallMs: number
  readonly clock: Clock
}

/** Starts a keeper. Rejects with `INVALID_ARGUMENT`, or as the making of the coordinator in its thread does. */
export async function keepLeases(options: KeeperOptions): Promise<LeaseKeeper> {
  const { coordinator, ttlMs, marginMs = ttlMs / 10, stallMs = ttlMs } = options
  if (!Number.isSafeInteger(ttlMs) || ttlMs < 100 || !(marginMs >= 0 && marginMs <= ttlMs / 2))
    throw invalid(`ttlMs (${ttlMs}) must be at least 100, and marginMs (${marginMs}) at most half of it`)
  if (!(stallMs >= 10)) throw invalid(`stallMs (${stallMs}) must be at least 10`)
  const settings: KeeperSettings = { ttlMs, marginMs, stallMs, clock: options.clock ?? processClock() }
  const recipe: CoordinatorRecipe | undefined = coordinator.recipe
  if (recipe === undefined) return new InlineKeeper(coordinator, settings)
  return startThreadKeeper(recipe, settings)
}

function invalid(what: string): UnderstudyError {
  return new Failure('INVALID_ARGUMENT', `${what}. No keeper was started.`)
}
