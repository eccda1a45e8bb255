/** What the suite of coordinators is given, and what its parts share. */
import { expect } from 'vitest'
import {
  isUnderstudyError,
  type AcquireOptions,
  type Clock,
  type Coordinator,
  type ErrorCode,
  type HeldLease,
  type Observation,
  type PublishedState,
} from '@understudy/contracts'
import { until } from '../../until.ts'

/**
 * `refused`: the place cannot be reached, and says so. `silent`: requests get lost. `unanswered`: they are carried out, and the answers get
 * lost. `late`: they are carried out, and the answers come when it is over.
 */
export type CoordinatorFault = 'refused' | 'silent' | 'unanswered' | 'late'

export interface FaultyCoordinator {
  readonly coordinator: Coordinator
  readonly begin: (fault: CoordinatorFault) => Promise<void> | void
  /** Ends the fault: requests are served again. */
  readonly end: () => Promise<void> | void
}

export interface CoordinatorUnderTest {
  /** A coordinator of one place, empty at first; each call as of another node. The suite closes it. */
  open(): Promise<Coordinator>
  /** The clock of all of them. */
  readonly clock: Clock
  /** Times to live in the tests, in milliseconds. Default 400. */
  readonly ttlMs?: number
  /** One that can be cut off from the place, the others not. */
  openFaulty?(): Promise<FaultyCoordinator>
  dispose?(): Promise<void>
}

export interface CoordinatorSuiteOptions {
  readonly name: string
  create(): Promise<CoordinatorUnderTest>
  /** Those that `openFaulty` can do. Default: none, and no test of them. */
  readonly faults?: readonly CoordinatorFault[]
}

/** One place in one test. */
export class Stage implements AsyncDisposable {
  readonly ttlMs: number
  readonly clock: Clock
  readonly #under: CoordinatorUnderTest
  readonly #opened: Coordinator[] = []

  constructor(under: CoordinatorUnderTest) {
    this.#under = under
    this.clock = under.clock
    this.ttlMs = under.ttlMs ?? 400
  }

  async open(): Promise<Coordinator> {
    const coordinator = await this.#under.open()
    this.#opened.push(coordinator)
    return coordinator
  }

  async openFaulty(): Promise<FaultyCoordinator> {
    if (this.#under.openFaulty === undefined) throw new Error('faults are named, and openFaulty is missing')
    const faulty = await this.#under.openFaulty()
    this.#opened.push(faulty.coordinator)
    return faulty
  }

  acquire(by: Coordinator, options: Partial<AcquireOptions> = {}): Promise<HeldLease> {
    return by.acquire({ holder: 'a', epoch: 1, ttlMs: this.ttlMs, ...options })
  }

  /** Until the clock says `atMs`. */
  until(atMs: number): Promise<void> {
    return until(this.clock, atMs)
  }

  /** Takes the lease as soon as it can be had; `attempts` counts what was refused before. */
  async acquireWhenFree(
    by: Coordinator,
    options: Partial<AcquireOptions>,
  ): Promise<{ lease: HeldLease; attempts: number }> {
    for (let attempts = 0; ; attempts++) {
      try {
        return { lease: await this.acquire(by, options), attempts }
      } catch (error) {
        if (!isUnderstudyError(error, 'LEASE_HELD')) throw error
        await this.until(this.clock.monotonic() + this.ttlMs / 40)
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#opened.map((coordinator) => coordinator.close()))
    await this.#under.dispose?.()
  }
}

export const STATE: PublishedState = Object.freeze({
  cluster: 'c0ffee',
  epoch: 1,
  runId: '0123456789abcdef',
  leader: { name: 'a', addresses: ['tcp://127.0.0.1:7401'] },
  acks: { rule: { level: 'durable', of: { kind: 'any', count: 1, names: ['b', 'c'] } } },
  ceilings: new Map(),
  paused: false,
} as const)

export async function rejectsWith(
  promise: Promise<unknown>,
  ...codes: readonly ErrorCode[]
): Promise<unknown> {
  const outcome = await promise.then(
    () => 'it resolved',
    (error: unknown) => error,
  )
  expect(isUnderstudyError(outcome) ? outcome.code : outcome).toSatisfy(
    (code: unknown) => codes.includes(code as ErrorCode),
    `one of ${codes.join(', ')}`,
  )
  return outcome
}

/** Everything that a watch was told, and a way to wait for more. */
export class Told {
  readonly observed: Observation[] = []
  unreachable = 0
  #wake: (() => void) | undefined
  readonly watcher: {
    observed(observation: Observation): void
    unreachable(): void
  } = {
    observed: (observation) => {
      this.observed.push(observation)
      this.#wake?.()
    },
    unreachable: () => {
      this.unreachable += 1
      this.#wake?.()
    },
  }

  async until(reached: (told: this) => boolean): Promise<void> {
    while (!reached(this))
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
  }

  get last(): Observation | undefined {
    return this.observed.at(-1)
  }
}
