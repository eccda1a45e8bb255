/**
 * What a person wants to know of each cell, from the results as they are kept. Pure.
 *
 * Decides: medians of the rounds, percentiles over all rounds together, and ratios to bare SQLite of the same round of the same batch.
 */
import { merged, percentileMs, type Histogram } from '../load/histogram.ts'
import { subjectName, type Cell } from '../matrix/cell.ts'
import type { CellResult, NodeUse, Results, RoundSample } from '../matrix/results.ts'
import { median, summarize, type Summary } from '../statistics.ts'

/** The name of the cell that others are compared with. */
export const YARDSTICK = 'sqlite full'

export interface Row {
  readonly name: string
  readonly cell: Cell
  readonly rounds: number
  readonly operationsPerSecond: Summary
  readonly commitsPerSecond: Summary
  /** Operations per second against the yardstick, of each round; absent without it. */
  readonly vsYardstick?: Summary
  readonly latency: Histogram
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly lag?: { readonly p50Ms: number; readonly p99Ms: number; readonly commitsPerSecond: number }
  readonly staleness?: { readonly p50Ms: number; readonly p99Ms: number }
  readonly wireBytesPerCommit?: number
  readonly logBytesPerCommit?: number
  /** Processor time for each commit in microseconds, and resident memory, by node. */
  readonly nodes?: Readonly<Record<string, { readonly cpuUsPerCommit: number; readonly residentMiB: number }>>
  readonly bootstrapMiBPerSecond?: number
  readonly catchUpPerSecond?: number
  readonly kill?: CellResult['kill']
}

/** Of every cell that was measured. */
export function rowsOf({ cells }: Pick<Results, 'cells'>): readonly Row[] {
  return cells.filter(({ rounds }) => rounds.length > 0).map((result) => rowOf(result, cells))
}

function rowOf(result: CellResult, cells: readonly CellResult[]): Row {
  const { cell, rounds, bootstrap, catchUp, kill } = result
  // A cell has at least one round, which has a histogram.
  const latency = merged(rounds.map((round) => round.latency)) as Histogram
  const vs = againstYardstick(result, cells)
  const nodes = nodesOf(rounds)
  const lag = merged(rounds.flatMap((round) => (round.lag === undefined ? [] : [round.lag.latency])))
  const staleness = merged(rounds.flatMap((round) => round.staleness ?? []))
  const wire = medianOf(rounds, (round) => round.wireBytesPerCommit)
  const log = medianOf(rounds, (round) => round.logBytesPerCommit)
  return {
    name: subjectName(cell),
    cell,
    rounds: rounds.length,
    operationsPerSecond: summarize(rounds.map((round) => round.operationsPerSecond)),
    commitsPerSecond: summarize(rounds.map((round) => round.commitsPerSecond)),
    ...(vs.length > 0 && { vsYardstick: summarize(vs) }),
    latency,
    p50Ms: percentileMs(latency, 50),
    p99Ms: percentileMs(latency, 99),
    p999Ms: percentileMs(latency, 99.9),
    ...(lag && {
      lag: {
        p50Ms: percentileMs(lag, 50),
        p99Ms: percentileMs(lag, 99),
        commitsPerSecond: medianOf(rounds, (round) => round.lag?.commitsPerSecond) as number,
      },
    }),
    ...(staleness && {
      staleness: { p50Ms: percentileMs(staleness, 50), p99Ms: percentileMs(staleness, 99) },
    }),
    ...(wire !== undefined && { wireBytesPerCommit: wire }),
    ...(log !== undefined && { logBytesPerCommit: log }),
    ...(nodes && { nodes }),
    ...(bootstrap && { bootstrapMiBPerSecond: median(bootstrap.map(({ mibPerSecond }) => mibPerSecond)) }),
    ...(catchUp && {
      catchUpPerSecond: median(catchUp.map(({ operationsPerSecond }) => operationsPerSecond)),
    }),
    ...(kill && { kill }),
  }
}

/** Operations per second of each round against those of the yardstick in the same round. */
export function againstYardstick(
  { cell, rounds }: CellResult,
  cells: readonly CellResult[],
): readonly number[] {
  const yardstick = cells.find(
    (other) =>
      subjectName(other.cell) === YARDSTICK &&
      other.cell.workload === cell.workload &&
      other.cell.rows === cell.rows &&
      other.cell.writers === cell.writers &&
      other.cell.rate === cell.rate,
  )
  if (yardstick === undefined) return []
  return rounds.flatMap(({ batch, round, operationsPerSecond }) => {
    const beside = yardstick.rounds.find((other) => other.batch === batch && other.round === round)
    return beside === undefined ? [] : [operationsPerSecond / beside.operationsPerSecond]
  })
}

function medianOf(
  rounds: readonly RoundSample[],
  value: (round: RoundSample) => number | undefined,
): number | undefined {
  const values = rounds.flatMap((round) => value(round) ?? [])
  return values.length === 0 ? undefined : median(values)
}

function nodesOf(rounds: readonly RoundSample[]): Row['nodes'] {
  const samples = rounds.flatMap(({ nodes, commitsInAll }) =>
    nodes === undefined ? [] : Object.entries(nodes).map(([name, use]) => ({ name, use, commitsInAll })),
  )
  if (samples.length === 0) return undefined
  return Object.fromEntries(
    [...Map.groupBy(samples, ({ name }) => name)].map(([name, ofNode]) => [
      name,
      {
        cpuUsPerCommit: median(ofNode.map(({ use, commitsInAll }) => usPerCommit(use, commitsInAll))),
        residentMiB: median(ofNode.map(({ use }) => use.residentMiB)),
      },
    ]),
  )
}

function usPerCommit({ cpuSeconds }: NodeUse, commits: number): number {
  return commits === 0 ? Number.NaN : (cpuSeconds * 1e6) / commits
}
