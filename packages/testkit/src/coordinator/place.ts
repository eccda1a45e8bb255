/**
 * The place of a simulated coordinator: what it holds, each step atomic. It keeps no time: leases are silent or not by
 * the clocks of those who look.
 *
 * Written apart from the coordinators that it stands in for, so that a mistake of theirs is not repeated here.
 */
import type { PublishedState } from '@understudy/contracts'

export interface PlacedLease {
  readonly grant: number
  readonly beat: number
  readonly holder: string
  readonly epoch: number
  readonly ttlMs: number
  readonly released: boolean
  /** Whose taking it was: a client that lost the answer knows it by that. */
  readonly taking: object
}

export class CoordinatorPlace {
  #count = 0
  #revision = 0
  #state: PublishedState | undefined
  #publication: object | undefined
  #lease: PlacedLease | undefined
  readonly #listeners = new Set<() => void>()

  get revision(): number {
    return this.#revision
  }

  get state(): PublishedState | undefined {
    return this.#state
  }

  /** The call of `put` that wrote the state. */
  get publication(): object | undefined {
    return this.#publication
  }

  get lease(): PlacedLease | undefined {
    return this.#lease
  }

  put(state: PublishedState, expected: number, grant: number | undefined, publication: object): boolean {
    if (expected !== this.#revision || (grant !== undefined && !this.#inForce(grant))) return false
    this.#revision = ++this.#count
    this.#state = state
    this.#publication = publication
    this.#tell()
    return true
  }

  take(lease: Omit<PlacedLease, 'grant' | 'beat' | 'released'>, over: PlacedLease | undefined): boolean {
    const there = this.#lease
    if (there?.grant !== over?.grant || there?.beat !== over?.beat) return false
    const grant = ++this.#count
    this.#lease = { ...lease, grant, beat: grant, released: false }
    this.#tell()
    return true
  }

  beat(grant: number): boolean {
    if (this.#lease === undefined || !this.#inForce(grant)) return false
    this.#lease = { ...this.#lease, beat: ++this.#count }
    this.#tell()
    return true
  }

  release(grant: number): boolean {
    if (this.#lease === undefined || !this.#inForce(grant)) return false
    this.#lease = { ...this.#lease, released: true }
    this.#tell()
    return true
  }

  listen(changed: () => void): () => void {
    this.#listeners.add(changed)
    return () => this.#listeners.delete(changed)
  }

  #inForce(grant: number): boolean {
    return this.#lease?.grant === grant && !this.#lease.released
  }

  #tell(): void {
    for (const changed of this.#listeners) changed()
  }
}
