/** A store in memory, whose next answers can be lost, before or after what they answer happened. */
import type { CoordinatorStore, StateChange, Stored, StoredLease } from '@understudy/contracts'
import { uncertain } from '@understudy/coordination'

export type Loss = 'before' | 'after'

export class MemoryStore implements CoordinatorStore {
  readonly kind = 'memory'
  /** For the next changes, one each. */
  readonly losses: (Loss | undefined)[] = []
  /** Called after each change, lost or not. */
  changed: () => void = () => undefined
  stored: Stored = {}
  #count = 0

  async read(): Promise<Stored> {
    return this.stored
  }

  put({ bytes, expected, grant }: StateChange): Promise<string | undefined> {
    return this.#change(() => {
      if ((this.stored.state?.revision ?? '0') !== expected) return undefined
      if (grant !== undefined && !this.#inForce(grant)) return undefined
      const revision = String(++this.#count)
      this.stored = { ...this.stored, state: { revision, bytes } }
      return revision
    })
  }

  take(
    terms: Pick<StoredLease, 'holder' | 'epoch' | 'ttlMs' | 'token'>,
    over: Pick<StoredLease, 'grant' | 'beat'> | undefined,
  ): Promise<string | undefined> {
    return this.#change(() => {
      const { lease } = this.stored
      if (lease?.grant !== over?.grant || lease?.beat !== over?.beat) return undefined
      const grant = String(++this.#count)
      this.stored = { ...this.stored, lease: { ...terms, grant, beat: grant, released: false } }
      return grant
    })
  }

  beat(grant: string): Promise<boolean> {
    return this.#change(() => {
      const { lease } = this.stored
      if (lease === undefined || !this.#inForce(grant)) return false
      this.stored = { ...this.stored, lease: { ...lease, beat: String(++this.#count) } }
      return true
    })
  }

  release(grant: string): Promise<boolean> {
    return this.#change(() => {
      const { lease } = this.stored
      if (lease === undefined || !this.#inForce(grant)) return false
      this.stored = { ...this.stored, lease: { ...lease, released: true } }
      return true
    })
  }

  listen(): () => void {
    return () => undefined
  }

  async close(): Promise<void> {
    this.changed = () => undefined
  }

  #inForce(grant: string): boolean {
    return this.stored.lease?.grant === grant && !this.stored.lease.released
  }

  async #change<T>(run: () => T): Promise<T> {
    const loss = this.losses.shift()
    if (loss === 'before') throw uncertain(this.kind, 'the request was lost')
    const result = run()
    this.changed()
    if (loss === 'after') throw uncertain(this.kind, 'the answer was lost')
    return result
  }
}
