/**
 * A `Coordinator` on a store: the rules of leases and publications, the same wherever they are kept.
 *
 * Decides: when a lease may be taken, which state may follow, what is repeated when an answer is lost. Leaves to the
 * store: that each step is atomic and survives.
 *
 * 1. A lease is taken over exactly the beat that was silent for its time to live by this clock, or was released.
 * 2. Epochs of leases only grow, and stay above the published one: a lease's epoch is a fencing token.
 * 3. A change that is uncertain is repeated under the same token until it is known, or the time of the call is over. Whatever
 *    goes wrong after an uncertain try, the call is uncertain: it does not say that nothing happened.
 */
import {
  NO_REVISION,
  isUnderstudyError,
  randomId,
  UnderstudyError,
  type AcquireOptions,
  type Clock,
  type Coordinator,
  type CoordinatorCallOptions,
  type CoordinatorRecipe,
  type CoordinatorWatch,
  type CoordinatorWatcher,
  type HeldLease,
  type Observation,
  type PublishedState,
  type PublishOptions,
  type Random,
  type CoordinatorStore,
  type LeaseTerms,
  type Stored,
} from '@understudy/contracts'
import { Calls } from './calls.ts'
import { epochUsed, isUncertain, leaseHeld, leaseLost, uncertain } from './errors.ts'
import { StoreLease } from './held-lease.ts'
import { pause } from './pause.ts'
import { Sightings } from './sightings.ts'
import { decodeState, encodeState } from './state-bytes.ts'
import { checkSuccession } from './succession.ts'
import { startWatch } from './watch.ts'

/** Between two tries of a change whose answer was lost, in milliseconds. */
const RETRY_MS = 20
const TTL_MS_MIN = 100

export interface CoordinatorEnvironment {
  /** Of the machine, the same for all threads: see `processClock`. */
  readonly clock: Clock
  readonly random: Random
  /** A watch looks by itself when nothing was told for so long, in milliseconds. */
  readonly refreshMs: number
}

/** What the store holds, understood. */
interface Read {
  readonly observation: Observation
  readonly stateToken: string | undefined
  readonly leaseToken: string | undefined
}

export function coordinatorOn(store: CoordinatorStore, environment: CoordinatorEnvironment): Coordinator {
  return new StoreCoordinator(store, environment)
}

class StoreCoordinator implements Coordinator {
  readonly kind: string
  readonly recipe?: CoordinatorRecipe
  readonly #store: CoordinatorStore
  readonly #environment: CoordinatorEnvironment
  readonly #calls: Calls
  readonly #sightings = new Sightings()
  readonly #watches = new Set<CoordinatorWatch>()
  #closing: Promise<void> | undefined

  constructor(store: CoordinatorStore, environment: CoordinatorEnvironment) {
    this.kind = store.kind
    if (store.recipe !== undefined) this.recipe = store.recipe
    this.#store = store
    this.#environment = environment
    this.#calls = new Calls(store.kind, environment.clock)
  }

  async observe(options: CoordinatorCallOptions = {}): Promise<Observation> {
    return (await this.#calls.reading(options, (signal) => this.#read(signal))).observation
  }

  watch(watcher: CoordinatorWatcher): CoordinatorWatch {
    const { clock, refreshMs } = this.#environment
    const watch = startWatch(watcher, {
      observe: (signal) => this.observe({ signal }),
      listen: (changed) => this.#store.listen(changed),
      clock,
      refreshMs,
    })
    this.#watches.add(watch)
    if (this.#calls.isClosed) watch.close()
    return watch
  }

  async publish(state: PublishedState, options: PublishOptions): Promise<string> {
    const token = randomId(this.#environment.random)
    const bytes = encodeState({ state, token })
    return this.#calls.changing(options, async (signal) => {
      const { observation } = await this.#read(signal)
      this.#checkPublication(observation, state, options)
      const { expected, grant } = options
      const change = { bytes, expected, ...(grant === undefined ? {} : { grant }) }
      for (let tries = 1; ; tries++) {
        const revision = await this.#unlessUncertain(this.#store.put(change, signal), signal, tries > 1)
        if (revision === 'uncertain') continue
        if (revision !== undefined) return revision
        const now = await this.#read(signal).catch((error: unknown) => this.#afterUncertain(error, tries > 1))
        if (tries > 1 && now.stateToken === token) return now.observation.revision
        if (tries > 1 && now.observation.revision !== expected)
          throw uncertain(this.kind, 'another state is there by now, before or after this one')
        this.#checkPublication(now.observation, state, options)
        throw conflict(this.kind)
      }
    })
  }

  async acquire(options: AcquireOptions): Promise<HeldLease> {
    const { holder, epoch, ttlMs, marginMs = ttlMs / 10, seen } = options
    checkAcquisition(options, marginMs)
    if (seen !== undefined) this.#sightings.learn(seen)
    const terms: LeaseTerms = { holder, epoch, ttlMs, token: randomId(this.#environment.random) }
    const { clock } = this.#environment
    return this.#calls.changing(options, async (signal) => {
      let firstSentAtMs: number | undefined
      for (;;) {
        const isPending = firstSentAtMs !== undefined
        const { observation, leaseToken } = await this.#read(signal).catch((error: unknown) =>
          this.#afterUncertain(error, isPending),
        )
        const { lease, state } = observation
        // Its answer was lost. Which of the tries wrote it is not known: it counts from the first.
        if (leaseToken === terms.token && lease !== undefined && firstSentAtMs !== undefined)
          return this.#granted(lease.grant, terms, { marginMs, sentAtMs: firstSentAtMs })
        const highest = Math.max(lease?.epoch ?? 0, state?.epoch ?? 0)
        // Who has it is the better answer while somebody has it.
        if (lease !== undefined && !lease.released && lease.freeAtMs > clock.monotonic())
          throw leaseHeld(lease, clock.monotonic())
        if (epoch <= highest) throw epochUsed(epoch, highest)
        const sentAtMs = clock.monotonic()
        firstSentAtMs ??= sentAtMs
        const grant = await this.#unlessUncertain(this.#store.take(terms, lease, signal), signal, isPending)
        if (grant === undefined && !isPending) firstSentAtMs = undefined
        // Refused or uncertain: what is there now says which, and whether it is held, or was this one.
        if (grant !== undefined && grant !== 'uncertain')
          return this.#granted(grant, terms, { marginMs, sentAtMs })
      }
    })
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      for (const watch of this.#watches) watch.close()
      this.#calls.close()
      await this.#store.close()
    })()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #read(signal: AbortSignal): Promise<Read> {
    const { clock } = this.#environment
    const observedAtMs = clock.monotonic()
    const stored: Stored = await this.#store.read(signal)
    const lease = stored.lease && this.#sightings.note(stored.lease, clock.monotonic())
    const written = stored.state && decodeState(stored.state.bytes)
    return {
      observation: {
        revision: stored.state?.revision ?? NO_REVISION,
        observedAtMs,
        ...(written && { state: written.state }),
        ...(lease && { lease }),
      },
      stateToken: written?.token,
      leaseToken: stored.lease?.token,
    }
  }

  #checkPublication(
    { revision, state: before, lease }: Observation,
    state: PublishedState,
    { expected, grant, forget }: PublishOptions,
  ): void {
    if (grant !== undefined && (lease?.grant !== grant || lease.released))
      throw leaseLost({ holder: state.leader?.name ?? 'This node', epoch: state.epoch }, 'was taken')
    if (revision !== expected) throw conflict(this.kind)
    checkSuccession(before, state, forget)
  }

  #granted(
    grant: string,
    terms: LeaseTerms,
    times: { readonly marginMs: number; readonly sentAtMs: number },
  ): HeldLease {
    const { clock } = this.#environment
    const parts = { store: this.#store, calls: this.#calls, clock }
    const lease = new StoreLease({ ...terms, ...times, grant }, parts)
    if (!lease.lost.aborted) return lease
    throw uncertain(this.kind, 'the lease was taken, and had run out when the answer came')
  }

  #afterUncertain(error: unknown, isPending: boolean): never {
    if (!isPending || !isUnderstudyError(error, 'COORDINATOR_UNAVAILABLE')) throw error
    throw uncertain(this.kind, error.message, error)
  }

  /** `isPending`: a try before was uncertain. */
  async #unlessUncertain<T>(
    change: Promise<T>,
    signal: AbortSignal,
    isPending: boolean,
  ): Promise<T | 'uncertain'> {
    try {
      return await change
    } catch (error) {
      if (!isUncertain(error) || signal.aborted) return this.#afterUncertain(error, isPending)
      await pause(this.#environment.clock, RETRY_MS, signal)
      if (signal.aborted) throw error
      return 'uncertain'
    }
  }
}

function conflict(kind: string): UnderstudyError {
  return new UnderstudyError(
    'COORDINATOR_CONFLICT',
    `The coordinator (${kind}) holds another state than the one to be replaced: somebody was faster. Nothing was changed; observe, and decide anew.`,
  )
}

function checkAcquisition({ holder, epoch, ttlMs }: AcquireOptions, marginMs: number): void {
  const fail = (what: string): UnderstudyError =>
    new UnderstudyError('INVALID_ARGUMENT', `${what}. Nothing was asked for.`)
  if (holder === '') throw fail('holder must be the name of a node')
  if (!Number.isSafeInteger(epoch) || epoch < 1) throw fail(`epoch (${epoch}) must be a number from 1`)
  if (!Number.isSafeInteger(ttlMs) || ttlMs < TTL_MS_MIN)
    throw fail(`ttlMs (${ttlMs}) must be whole milliseconds, at least ${TTL_MS_MIN}`)
  if (!(marginMs >= 0 && marginMs <= ttlMs / 2))
    throw fail(`marginMs (${marginMs}) must be from 0 to half of ttlMs (${ttlMs})`)
}
