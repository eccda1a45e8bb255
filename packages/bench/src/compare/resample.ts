/**
 * Statistics of a few rounds before and a few after. Pure, and the same result for the same rounds.
 *
 * Decides: by a permutation test whether two lists differ (Fisher), exact where there are few ways to deal the rounds out; by a bootstrap how much (Efron, percentiles
 * of resampled ratios). Both on logarithms, because what is compared is a ratio.
 */
import type { Random } from '@understudy/contracts'
import { below, seededRandom } from '../workloads/random.ts'

/** More ways than this are sampled. */
const EXACT_MAX = 20_000
const SAMPLES = 10_000
const SEED = 1
const CONFIDENCE = 0.95

/** Share of the ways to deal the rounds out in which the means are at least so far apart: small when chance alone hardly does it. */
export function permutationP(before: readonly number[], after: readonly number[]): number {
  const all = [...before, ...after].map(Math.log)
  const size = before.length
  const seen = Math.abs(distance(all, size))
  // Sums of the same numbers in another order differ in their last digits.
  const isAsFar = (dealt: readonly number[]): boolean => Math.abs(distance(dealt, size)) >= seen - 1e-12
  if (waysToDeal(before.length, after.length) > EXACT_MAX) return sampledP(all, isAsFar)
  let ways = 0
  let asFar = 0
  for (const chosen of combinations(all.length, size)) {
    ways++
    const inFirst = new Set(chosen)
    if (isAsFar([...chosen.map((at) => all[at] as number), ...all.filter((_, at) => !inFirst.has(at))]))
      asFar++
  }
  return asFar / ways
}

/** The smallest p that so many rounds can give: both ends of all ways, or one where the lists are of different lengths. */
export function smallestP(before: number, after: number): number {
  return (before === after ? 2 : 1) / waysToDeal(before, after)
}

/** Between which ratios after / before lies, with 95 % confidence. */
export function ratioInterval(
  before: readonly number[],
  after: readonly number[],
): { readonly low: number; readonly high: number } {
  const random = seededRandom(SEED)
  const ratios = Array.from({ length: SAMPLES }, () =>
    Math.exp(logMean(resampled(after, random)) - logMean(resampled(before, random))),
  ).sort((a, b) => a - b)
  const at = (share: number): number => ratios[Math.min(SAMPLES - 1, Math.floor(share * SAMPLES))] as number
  return { low: at((1 - CONFIDENCE) / 2), high: at((1 + CONFIDENCE) / 2) }
}

/** Ratio of the geometric means. */
export function ratioOf(before: readonly number[], after: readonly number[]): number {
  return Math.exp(logMean(after) - logMean(before))
}

function waysToDeal(first: number, second: number): number {
  let ways = 1
  for (let index = 1; index <= first; index++) ways = (ways * (second + index)) / index
  return Math.round(ways)
}

function sampledP(all: readonly number[], isAsFar: (dealt: readonly number[]) => boolean): number {
  const random = seededRandom(SEED)
  let asFar = 0
  for (let sample = 0; sample < SAMPLES; sample++) if (isAsFar(shuffled(all, random))) asFar++
  // The order as it was seen is one of the ways, too.
  return (asFar + 1) / (SAMPLES + 1)
}

function distance(dealt: readonly number[], size: number): number {
  return mean(dealt.slice(size)) - mean(dealt.slice(0, size))
}

function* combinations(count: number, size: number, from = 0): Iterable<readonly number[]> {
  if (size === 0) {
    yield []
    return
  }
  for (let first = from; first <= count - size; first++)
    for (const rest of combinations(count, size - 1, first + 1)) yield [first, ...rest]
}

function resampled(values: readonly number[], random: Random): readonly number[] {
  return values.map(() => values[below(random, values.length)] as number)
}

/** Fisher and Yates. */
function shuffled(values: readonly number[], random: Random): readonly number[] {
  const dealt = [...values]
  for (let last = dealt.length - 1; last > 0; last--) {
    const other = below(random, last + 1)
    ;[dealt[last], dealt[other]] = [dealt[other] as number, dealt[last] as number]
  }
  return dealt
}

function logMean(values: readonly number[]): number {
  return mean(values.map(Math.log))
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
