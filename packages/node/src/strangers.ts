/**
 * Connections that have not said who they are yet: few, and not for long.
 *
 * When one too many comes, the one that waits longest gives up its place: whoever fills all places must come again and
 * again to keep them, and a peer that answers promptly still gets in between.
 */
import { UnderstudyError } from '@understudy/contracts'

export interface Stranger {
  close(error: UnderstudyError): void
}

export class Strangers {
  readonly #max: number
  /** In the order in which they came. */
  readonly #waiting = new Set<Stranger>()

  constructor(max: number) {
    this.#max = max
  }

  get count(): number {
    return this.#waiting.size
  }

  enter(stranger: Stranger): void {
    this.#waiting.add(stranger)
    if (this.#waiting.size <= this.#max) return
    const [oldest] = this.#waiting
    if (oldest === undefined) return
    this.#waiting.delete(oldest)
    oldest.close(
      new UnderstudyError(
        'OVERLOADED',
        `More than ${this.#max} connections wait to say who they are, and this one waited longest. Nothing was done; connect again.`,
      ),
    )
  }

  leave(stranger: Stranger): void {
    this.#waiting.delete(stranger)
  }
}
