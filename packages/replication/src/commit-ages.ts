/**
 * Since when what a node has not applied exists: from positions and the moments at which they came, to the age of the oldest
 * commit above a position.
 *
 * Decides: how many moments are kept, and which are merged. Leaves to others: what tells of a new position, time.
 *
 * Validity conditions:
 * 1. An age is never too low. It is too high by at most 1 ms, or 1/64 of itself where that is more.
 * 2. Memory is fixed: 64 KiB, whatever the rate of commits and however long a follower is behind. Noting a position allocates
 *    nothing and costs a constant time on average.
 * 3. Of what was there before this began nothing is known but that it is at least as old: the age says so.
 */
import type { Lsn } from '@understudy/contracts'

/** How long the oldest commit that is not applied has been one. */
export interface CommitAge {
  /** Milliseconds of a monotonic clock; 0 when everything is applied. */
  readonly ms: number
  /** It is older than that, by how much nobody here knows. */
  readonly isAtLeast: boolean
}

const SAMPLES_MAX = 4096
/** Positions that came within so many milliseconds share a sample. */
const TOGETHER_MS = 1
/** Two samples become one when that makes no age wrong by more than this part of it. */
const PART = 1 / 64

export class CommitAges {
  readonly #beganLsn: Lsn
  readonly #beganAtMs: number
  /** Sample i is of the positions above `lsn[i - 1]` through `lsn[i]`, the first of which came at `atMs[i]`. */
  readonly #lsn: Float64Array = new Float64Array(SAMPLES_MAX)
  readonly #atMs: Float64Array = new Float64Array(SAMPLES_MAX)
  #length = 0

  /** `end`: what is there already. */
  constructor(end: Lsn, nowMs: number) {
    this.#beganLsn = end
    this.#beganAtMs = nowMs
  }

  /** Everything through `end` is there by now. */
  note(end: Lsn, nowMs: number): void {
    const newest = this.#length - 1
    if (end <= (newest < 0 ? this.#beganLsn : this.#lsn[newest]!)) return
    if (newest >= 0 && nowMs - this.#atMs[newest]! < TOGETHER_MS) {
      this.#lsn[newest] = end
      return
    }
    if (this.#length === SAMPLES_MAX) this.#merge(nowMs)
    this.#lsn[this.#length] = end
    this.#atMs[this.#length] = nowMs
    this.#length++
  }

  /** The age of the oldest commit above `applied`. */
  of(applied: Lsn, nowMs: number): CommitAge {
    if (applied < this.#beganLsn) return { ms: nowMs - this.#beganAtMs, isAtLeast: true }
    const at = this.#firstAbove(applied)
    return { ms: at === this.#length ? 0 : nowMs - this.#atMs[at]!, isAtLeast: false }
  }

  #firstAbove(lsn: Lsn): number {
    let low = 0
    let high = this.#length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#lsn[middle]! > lsn) high = middle
      else low = middle + 1
    }
    return low
  }

  /**
   * Makes room. A sample ends before the next one begins, so that the newest commit in two merged ones is as old as the
   * sample after them. What is left grows with the logarithm of the time it covers: under 3,000 samples for a year.
   */
  #merge(nowMs: number): void {
    let kept = 0
    for (let i = 1; i < SAMPLES_MAX; i++) {
      const endMs = i + 1 < SAMPLES_MAX ? this.#atMs[i + 1]! : nowMs
      if (endMs - this.#atMs[kept]! <= (nowMs - endMs) * PART) {
        this.#lsn[kept] = this.#lsn[i]!
        continue
      }
      kept++
      this.#lsn[kept] = this.#lsn[i]!
      this.#atMs[kept] = this.#atMs[i]!
    }
    this.#length = kept + 1
    // Only a clock that jumped makes so many that far apart: the oldest two become one.
    if (this.#length === SAMPLES_MAX) {
      this.#lsn.copyWithin(0, 1)
      this.#atMs.copyWithin(1, 2)
      this.#length--
    }
  }
}
