/**
 * Two runs beside each other: what became faster or slower, as far as the rounds can tell. Pure.
 *
 * Decides: the verdict. Of three things it needs all: rounds enough that chance could be excluded at all, a permutation test that excludes it, and
 * an effect that is worth the word. Leaves to others: what was changed between the runs.
 */
import { decode, percentileMs } from '../load/histogram.ts'
import { cellKey, subjectName } from '../matrix/cell.ts'
import type { CellResult, Results } from '../matrix/results.ts'
import { againstYardstick, YARDSTICK } from '../report/rows.ts'
import { permutationP, ratioInterval, ratioOf, smallestP } from './resample.ts'

export interface CompareOptions {
  /** A difference beneath this share is none. Default 0.03. */
  readonly effectMin?: number
  /** What chance alone may do in so many of all comparisons. Default 0.05. */
  readonly alpha?: number
  /** Rates against bare SQLite of the same round in place of rates: for runs on different machines. Default false. */
  readonly relative?: boolean
}

export type Verdict = 'faster' | 'slower' | 'same' | 'too-few-rounds'

export interface Compared {
  readonly key: string
  readonly measure: 'operations per second' | 'p99 latency'
  readonly verdict: Verdict
  /** In a few words, such as `faster by 8–14 %`. */
  readonly text: string
  /** After / before, of the geometric means of the rounds, and between what it lies with 95 % confidence. */
  readonly ratio: number
  readonly low: number
  readonly high: number
  readonly p: number
  readonly rounds: readonly [before: number, after: number]
}

export interface Comparison {
  readonly compared: readonly Compared[]
  /** Keys that only one of the runs has. */
  readonly onlyBefore: readonly string[]
  readonly onlyAfter: readonly string[]
  /** What makes the runs hard to compare, in words. */
  readonly warnings: readonly string[]
}

export function compareResults(before: Results, after: Results, options: CompareOptions = {}): Comparison {
  const old = new Map(measured(before).map((cell) => [cellKey(cell.cell), cell]))
  const now = new Map(measured(after).map((cell) => [cellKey(cell.cell), cell]))
  const both = [...now].flatMap(([key, cell]) => {
    const other = old.get(key)
    return other === undefined ? [] : [{ key, pair: [other, cell] as const }]
  })
  const compared = both.flatMap(({ key, pair }) => {
    const rates = pair.map((cell, index) => ratesOf(cell, (index === 0 ? before : after).cells, options))
    const tails = pair.map((cell) => cell.rounds.map(({ latency }) => percentileMs(decode(latency), 99)))
    return [
      compareRounds(key, 'operations per second', rates[0] ?? [], rates[1] ?? [], options),
      compareRounds(key, 'p99 latency', tails[0] ?? [], tails[1] ?? [], options),
    ].flatMap((each) => each ?? [])
  })
  return {
    compared,
    onlyBefore: [...old.keys()].filter((key) => !now.has(key)),
    onlyAfter: [...now.keys()].filter((key) => !old.has(key)),
    warnings: warnings(before, after, compared, options),
  }
}

/** `undefined` when one side has no rounds to compare. A higher rate is faster, a lower latency is. */
export function compareRounds(
  key: string,
  measure: Compared['measure'],
  before: readonly number[],
  after: readonly number[],
  { effectMin = 0.03, alpha = 0.05 }: CompareOptions = {},
): Compared | undefined {
  const [first, second] = [before, after].map((values) => values.filter((value) => value > 0))
  if (first === undefined || second === undefined || first.length === 0 || second.length === 0)
    return undefined
  const ratio = ratioOf(first, second)
  const { low, high } = ratioInterval(first, second)
  const p = permutationP(first, second)
  const verdict = verdictOf()
  return { key, measure, verdict, text: textOf(), ratio, low, high, p, rounds: [first.length, second.length] }

  function verdictOf(): Verdict {
    if (smallestP((first as number[]).length, (second as number[]).length) > alpha) return 'too-few-rounds'
    if (p > alpha || Math.abs(ratio - 1) < effectMin) return 'same'
    return ratio > 1 === (measure === 'operations per second') ? 'faster' : 'slower'
  }

  function textOf(): string {
    if (verdict === 'too-few-rounds') return 'too few rounds to say'
    if (verdict === 'same')
      return p > alpha ? 'no difference seen' : `no difference that matters (${percent(ratio)} %)`
    const ends = [low, high].map((end) => Math.abs(percent(end))).sort((a, b) => a - b)
    const span = low < 1 !== high < 1 ? `about ${Math.abs(percent(ratio))} %` : `${ends[0]}–${ends[1]} %`
    return `${verdict} by ${span}`
  }
}

function percent(ratio: number): number {
  return Math.round((ratio - 1) * 100)
}

function measured({ cells }: Results): readonly CellResult[] {
  return cells.filter(({ rounds }) => rounds.length > 0)
}

function ratesOf(
  cell: CellResult,
  cells: readonly CellResult[],
  { relative = false }: CompareOptions,
): readonly number[] {
  return relative && subjectName(cell.cell) !== YARDSTICK
    ? againstYardstick(cell, cells)
    : cell.rounds.map(({ operationsPerSecond }) => operationsPerSecond)
}

function warnings(
  before: Results,
  after: Results,
  compared: readonly Compared[],
  { relative = false, alpha = 0.05 }: CompareOptions,
): readonly string[] {
  const told: string[] = []
  if (
    before.machine.processor !== after.machine.processor ||
    before.machine.processors !== after.machine.processors
  )
    told.push(
      `The runs are from different machines (${before.machine.processor}, ${after.machine.processor}).`,
    )
  for (const key of ['seconds', 'followers'] as const)
    if (before.settings[key] !== after.settings[key])
      told.push(`${key} was ${before.settings[key]} and ${after.settings[key]}.`)
  if (before.machine.node !== after.machine.node)
    told.push(`Node.js was ${before.machine.node} and ${after.machine.node}.`)
  const moved = compared.filter(
    ({ key, measure, verdict }) =>
      key.startsWith(`${YARDSTICK} `) &&
      measure === 'operations per second' &&
      (verdict === 'faster' || verdict === 'slower'),
  )
  if (moved.length > 0 && !relative)
    told.push(
      `Bare SQLite itself is ${moved.map(({ text }) => text).join(', ')}: the machine or its disk changed, not the program alone. Try --relative.`,
    )
  if (compared.length >= 10)
    told.push(
      `Of ${compared.length} comparisons about ${Math.ceil(compared.length * alpha)} look different by chance alone; look for those that go together.`,
    )
  return told
}
