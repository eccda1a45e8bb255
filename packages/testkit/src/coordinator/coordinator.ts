/**
 * A coordinator in memory on a simulated clock, for simulations of whole clusters: the reference of its contract.
 *
 * `new SimulatedCoordinator({ clock, random })` is the place; `open(clock)` is the coordinator of one node, with that
 * node's clock and `faults` of its own. It does the same for the same seed.
 */
import {
  isUnderstudyError,
  UnderstudyError,
  type AcquireOptions,
  type Clock,
  type Coordinator,
  type CoordinatorCallOptions,
  type CoordinatorWatch,
  type CoordinatorWatcher,
  type HeldLease,
  type Observation,
  type PublishedState,
  type PublishOptions,
  type SeenLease,
  type Timer,
} from '@understudy/contracts'
import type { SeededRandom } from '../random.ts'
import { SimulatedLease } from './lease.ts'
import { CoordinatorLink, type LinkFaults } from './link.ts'
import { CoordinatorPlace, type PlacedLease } from './place.ts'

/** A watch looks by itself so often, in milliseconds. */
const REFRESH_MS = 500

export interface SimulatedCoordinatorOptions {
  /** Of the world, not of a node. */
  readonly clock: Clock
  readonly random: SeededRandom
}

export class SimulatedCoordinator {
  readonly place: CoordinatorPlace = new CoordinatorPlace()
  readonly #options: SimulatedCoordinatorOptions

  constructor(options: SimulatedCoordinatorOptions) {
    this.#options = options
  }

  /** The coordinator of a node, whose clock is `clock`. */
  open(clock: Clock): SimulatedCoordinatorClient {
    const { clock: network, random } = this.#options
    return new SimulatedCoordinatorClient(this.place, clock, new CoordinatorLink(clock, network, random))
  }
}

export class SimulatedCoordinatorClient implements Coordinator {
  readonly kind: string = 'simulated'
  readonly #place: CoordinatorPlace
  readonly #clock: Clock
  readonly #link: CoordinatorLink
  readonly #watches = new Set<CoordinatorWatch>()
  #seen: SeenLease | undefined

  constructor(place: CoordinatorPlace, clock: Clock, link: CoordinatorLink) {
    this.#place = place
    this.#clock = clock
    this.#link = link
  }

  /** Of the way between this node and the place; set and deleted at will. */
  get faults(): LinkFaults {
    return this.#link.faults
  }

  /** Ends all faults but the delay; answers that were held come. */
  mend(): void {
    this.#link.mend()
  }

  async observe(options: CoordinatorCallOptions = {}): Promise<Observation> {
    const observedAtMs = this.#clock.monotonic()
    const { revision, state, lease } = await this.#link.call(() => this.#copy(), false, options)
    const seen = lease && this.#note(lease)
    return { revision: String(revision), observedAtMs, ...(state && { state }), ...(seen && { lease: seen }) }
  }

  watch(watcher: CoordinatorWatcher): CoordinatorWatch {
    let told: string | undefined
    let isCut = false
    let isOpen = !this.#link.isClosed
    let timer: Timer | undefined
    const look = async (): Promise<void> => {
      try {
        const observation = await this.observe()
        const { revision, lease } = observation
        const version = [revision, lease?.grant, lease?.beat, lease?.released].join(' ')
        if (isOpen && (version !== told || isCut)) watcher.observed(observation)
        told = version
        isCut = false
      } catch (error) {
        if (isOpen && !isCut && isUnderstudyError(error)) watcher.unreachable?.(error)
        isCut = true
      }
    }
    const again = (delayMs: number): void => {
      timer = this.#clock.schedule(delayMs, () => {
        void look().finally(() => isOpen && again(REFRESH_MS))
      })
    }
    again(0)
    const unlisten = this.#place.listen(() => this.#link.notice(() => void look()))
    const watch = {
      close(): void {
        isOpen = false
        timer?.cancel()
        unlisten()
      },
    }
    if (!isOpen) watch.close()
    this.#watches.add(watch)
    return watch
  }

  async publish(given: PublishedState, options: PublishOptions): Promise<string> {
    const state = { ...given, ceilings: new Map(given.ceilings) }
    const { expected, grant, forget = [] } = options
    const publication = {}
    const outcome = await this.#link.call(
      () => {
        const there = this.#place.lease
        if (grant !== undefined && (String(there?.grant) !== grant || there?.released === true))
          return new UnderstudyError('LEASE_LOST', `The grant ${grant} is not in force.`)
        if (String(this.#place.revision) !== expected)
          return new UnderstudyError('COORDINATOR_CONFLICT', `${expected} is not the revision.`)
        const problem = successionProblem(this.#place.state, state, forget)
        if (problem !== undefined) return problem
        this.#place.put(state, Number(expected), grant === undefined ? undefined : Number(grant), publication)
        return String(this.#place.revision)
      },
      true,
      options,
    )
    if (typeof outcome === 'string') return outcome
    throw outcome
  }

  async acquire(options: AcquireOptions): Promise<HeldLease> {
    const { holder, epoch, ttlMs, marginMs = ttlMs / 10, seen } = options
    if (!(epoch >= 1) || !(ttlMs >= 100) || !(marginMs >= 0 && marginMs <= ttlMs / 2))
      throw new UnderstudyError('INVALID_ARGUMENT', 'epoch, ttlMs or marginMs cannot be.')
    if (seen !== undefined && this.#seen?.beat !== seen.beat) this.#seen = seen
    if (seen !== undefined && this.#seen !== undefined && seen.seenAtMs < this.#seen.seenAtMs)
      this.#seen = seen
    const { state, lease } = await this.#link.call(() => this.#copy(), false, options)
    const known = lease && this.#note(lease)
    const nowMs = this.#clock.monotonic()
    if (known !== undefined && !known.released && known.freeAtMs > nowMs) throw held(known, nowMs)
    const highest = Math.max(known?.epoch ?? 0, state?.epoch ?? 0)
    if (epoch <= highest)
      throw new UnderstudyError('EPOCH_STALE', `Epochs up to ${highest} are used up.`, { epoch: highest })
    const taking = {}
    const sentAtMs = this.#clock.monotonic()
    const placed = await this.#link.call(
      () => {
        this.#place.take({ holder, epoch, ttlMs, taking }, lease)
        return this.#place.lease
      },
      true,
      options,
    )
    if (placed === undefined || placed.taking !== taking)
      throw held(this.#note(placed ?? missing()), this.#clock.monotonic())
    const world = { clock: this.#clock, link: this.#link, place: this.#place }
    const granted = new SimulatedLease(placed, { sentAtMs, spanMs: ttlMs - marginMs }, world)
    if (!granted.lost.aborted) return granted
    throw new UnderstudyError('COORDINATOR_UNCERTAIN', 'The lease had run out when the answer came.')
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch.close()
    this.#link.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #copy(): Pick<CoordinatorPlace, 'revision' | 'state' | 'lease'> {
    const { revision, state, lease } = this.#place
    return { revision, state, lease }
  }

  #note(lease: PlacedLease): SeenLease {
    const { holder, epoch, ttlMs, released } = lease
    const grant = String(lease.grant)
    const beat = String(lease.beat)
    const isKnown = this.#seen?.grant === grant && this.#seen.beat === beat
    const seenAtMs = isKnown ? (this.#seen?.seenAtMs ?? 0) : this.#clock.monotonic()
    const freeAtMs = released ? seenAtMs : seenAtMs + ttlMs
    this.#seen = { grant, beat, holder, epoch, ttlMs, released, seenAtMs, freeAtMs }
    return this.#seen
  }
}

function successionProblem(
  before: PublishedState | undefined,
  next: PublishedState,
  forget: readonly string[],
): UnderstudyError | undefined {
  if (before === undefined) return undefined
  if (before.cluster !== next.cluster)
    return new UnderstudyError('FOREIGN_CLUSTER', 'Another cluster is there.')
  if (next.epoch < before.epoch) return new UnderstudyError('EPOCH_STALE', 'The epoch is over.')
  if (next.epoch === before.epoch && next.runId !== before.runId)
    return new UnderstudyError('EPOCH_FORK', 'The epoch has another run id.')
  const lowered = [...before.ceilings].some(
    ([table, id]) => (next.ceilings.get(table) ?? (forget.includes(table) ? id : -1n)) < id,
  )
  return lowered ? new UnderstudyError('INVALID_ARGUMENT', 'A ceiling would go down.') : undefined
}

function held({ holder, epoch, freeAtMs }: SeenLease, nowMs: number): UnderstudyError {
  const freeInMs = Math.max(0, Math.round(freeAtMs - nowMs))
  return new UnderstudyError('LEASE_HELD', `${holder} has the lease.`, { holder, epoch, freeInMs })
}

function missing(): never {
  throw new UnderstudyError('COORDINATOR_UNCERTAIN', 'The lease is gone.')
}
