/** Medians and spreads of a few repetitions. Decides nothing about what is measured. */

/** Repetitions of one measurement. */
export interface Summary {
  readonly median: number
  readonly min: number
  readonly max: number
  readonly values: readonly number[]
}

/** The middle value; of an even number of values the mean of the middle two. `NaN` for none. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] as number
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2
}

export function summarize(values: readonly number[]): Summary {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values), values }
}

/** Ratio of each repetition to the one beside it, so that what slows down both cancels out. Throws `RangeError` for lists of different lengths. */
export function ratios(values: readonly number[], beside: readonly number[]): number[] {
  if (values.length !== beside.length)
    throw new RangeError(`${values.length} values cannot be compared with ${beside.length}.`)
  return values.map((value, index) => value / (beside[index] as number))
}
