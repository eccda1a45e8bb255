/**
 * What the observer knows: every acknowledgement that reached it, and so what no crash may take away.
 *
 * Decides whether a database found after a crash is right. An acknowledgement counts once this process has it; the
 * process that gave it may be dead by then.
 *
 * 1. Of each writer, everything acknowledged is there: its serial is not below the last acknowledged one.
 * 2. Nothing invented: a writer has one write under way, so its serial is at most one above.
 * 3. The rows are exactly those that the model makes of the serials.
 */
import { Model, type LoadState } from './workload.ts'

/** What was wrong with a database. */
export interface Verdict {
  readonly lost: readonly string[]
  readonly wrong: readonly string[]
}

export class Oracle {
  readonly #acked = new Map<number, number>()
  readonly #model = new Model()
  #commits = 0

  /** Acknowledged writes in all. */
  get commits(): number {
    return this.#commits
  }

  /** Writers and serials by turns, as they came. */
  acknowledge(pairs: readonly number[]): void {
    for (let at = 0; at + 1 < pairs.length; at += 2) {
      const [writer, serial] = [pairs[at] as number, pairs[at + 1] as number]
      this.#acked.set(writer, Math.max(serial, this.#acked.get(writer) ?? 0))
      this.#commits++
    }
  }

  /** The last acknowledged serial of each writer as of now: what counts when the power is cut a moment later. */
  promised(): ReadonlyMap<number, number> {
    return new Map(this.#acked)
  }

  /**
   * Compares a database with what was promised. What it holds beyond that is taken as acknowledged from now on: readers
   * have seen it. `open` allows writes that were acknowledged after `promised` was taken to be missing.
   */
  check(state: LoadState, promised: ReadonlyMap<number, number> = this.#acked): Verdict {
    const serials = new Map(state.progress)
    const lost: string[] = []
    const wrong: string[] = []
    for (const [writer, serial] of promised) {
      const found = serials.get(writer) ?? 0
      if (found < serial)
        lost.push(`writer ${writer}: write ${serial} was acknowledged, the last one found is ${found}`)
    }
    for (const [writer, serial] of serials) {
      const highest = (this.#acked.get(writer) ?? 0) + 1
      if (serial > highest)
        wrong.push(`writer ${writer} is at write ${serial}, but sent none above ${highest}`)
    }
    if (lost.length > 0 || wrong.length > 0) return { lost, wrong }
    for (const [writer, serial] of serials) {
      if (serial < this.#model.serialOf(writer)) wrong.push(`writer ${writer} went back to write ${serial}`)
      this.#model.advance(writer, serial)
      this.#acked.set(writer, serial)
    }
    return { lost, wrong: [...wrong, ...this.#model.differences(state)] }
  }
}
