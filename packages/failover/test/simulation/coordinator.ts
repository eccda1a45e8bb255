/**
 * A coordinator of the model: compare-and-set of the state, a lease, outages, answers that are lost after the effect.
 * It keeps the promises of the contract of coordinators; the nodes ask it through the network.
 */
import type { Rules } from '../../src/index.ts'
import type { World } from './world.ts'

export const TTL_MS = 400
export const MARGIN_MS = 40
/** For how long a follower says that it follows. */
export const GRANT_MS = 400
const NAME = '*'

export interface State {
  readonly epoch: number
  readonly runId: string
  readonly leader: string
  readonly acks: Rules
}

export interface Lease {
  readonly grant: number
  readonly beat: number
  readonly holder: string
  readonly epoch: number
  readonly released: boolean
}

export interface Held {
  readonly revision: number
  readonly state: State | undefined
  readonly lease: Lease | undefined
}

export type Answer<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly why: 'conflict' | 'uncertain' }

export class ModelCoordinator {
  isUp = true
  /** How many of its answers are lost after the effect. */
  lostAnswers = 0.02
  held: Held = { revision: 0, state: undefined, lease: undefined }
  readonly #world: World
  #counter = 0

  constructor(world: World) {
    this.#world = world
  }

  observe(from: string, answer: (held: Held) => void): void {
    this.#ask(
      from,
      () => this.held,
      (result) => {
        if (result.ok) answer(result.value)
      },
    )
  }

  /** Takes the lease over exactly what was seen. */
  acquire(
    from: string,
    options: { readonly epoch: number; readonly seenBeat: number | undefined },
    answer: (result: Answer<Lease>) => void,
  ): void {
    const effect = (): Lease | undefined => {
      const { lease, state } = this.held
      if (lease?.beat !== options.seenBeat) return undefined
      if (options.epoch <= Math.max(lease?.epoch ?? 0, state?.epoch ?? 0)) return undefined
      const id = ++this.#counter
      const taken = { grant: id, beat: id, holder: from, epoch: options.epoch, released: false }
      this.held = { ...this.held, lease: taken }
      return taken
    }
    this.#ask(from, effect, answer)
  }

  renew(from: string, grant: number, answer: (result: Answer<Lease>) => void): void {
    const effect = (): Lease | undefined => {
      const { lease } = this.held
      if (lease === undefined || lease.grant !== grant || lease.released) return undefined
      const renewed = { ...lease, beat: ++this.#counter }
      this.held = { ...this.held, lease: renewed }
      return renewed
    }
    this.#ask(from, effect, answer)
  }

  release(from: string, grant: number): void {
    const effect = (): boolean => {
      const { lease } = this.held
      if (lease?.grant === grant)
        this.held = { ...this.held, lease: { ...lease, beat: ++this.#counter, released: true } }
      return true
    }
    this.#ask(from, effect, () => undefined)
  }

  /** Replaces the state whose revision is `expected`, while the grant is in force. */
  publish(
    from: string,
    options: { readonly state: State; readonly expected: number; readonly grant: number },
    answer: (result: Answer<number>) => void,
  ): void {
    const effect = (): number | undefined => {
      const { lease, revision } = this.held
      if (revision !== options.expected || lease?.grant !== options.grant || lease.released) return undefined
      this.held = { ...this.held, state: options.state, revision: ++this.#counter }
      return this.held.revision
    }
    this.#ask(from, effect, answer)
  }

  #ask<T>(from: string, effect: () => T | undefined, answer: (result: Answer<T>) => void): void {
    const world = this.#world
    let isAnswered = false
    const once = (result: Answer<T>): void => {
      if (isAnswered) return
      isAnswered = true
      answer(result)
    }
    world.after(100, () => once({ ok: false, why: 'uncertain' }))
    world.send(from, NAME, () => {
      if (!this.isUp) return
      const value = effect()
      if (world.random.chance(this.lostAnswers)) return
      world.send(NAME, from, () =>
        once(value === undefined ? { ok: false, why: 'conflict' } : { ok: true, value }),
      )
    })
  }
}
