/** Results with figures that a test chooses. */
import { encode, histogram, recordMs } from '../src/load/histogram.ts'
import { cellKey, type Cell } from '../src/matrix/cell.ts'
import type { CellResult, Results, RoundSample } from '../src/matrix/results.ts'

export const CELL: Cell = {
  subject: 'understudy',
  variant: { format: 'row', transport: 'tcp', ack: 'async', callers: 'client' },
  workload: 'inserts',
  rows: 0,
  writers: 16,
}

/** A round for each rate. */
export function cellResult(
  changes: Partial<Cell>,
  rates: readonly number[],
  more: Partial<CellResult> = {},
  ofRound: Partial<RoundSample> = {},
): CellResult {
  const cell = { ...CELL, ...changes }
  return {
    key: cellKey(cell),
    cell,
    rounds: rates.map((rate, at) => ({ ...roundSample(rate, at + 1), ...ofRound })),
    ...more,
  }
}

export function roundSample(operationsPerSecond: number, round: number): RoundSample {
  const latency = histogram()
  for (let index = 1; index <= 1000; index++) recordMs(latency, index / 100)
  return {
    round,
    batch: 1,
    operations: 1000,
    commits: 1000,
    commitsInAll: 1000,
    seconds: 1000 / operationsPerSecond,
    operationsPerSecond,
    commitsPerSecond: operationsPerSecond,
    latency: encode(latency),
    byOperation: {},
    lateMsMax: 0,
    settleMs: 1,
  }
}

export function resultsOf(cells: readonly CellResult[], more: Partial<Results> = {}): Results {
  return {
    format: 'understudy-bench',
    version: 1,
    startedAt: '2026-01-02T03:04:05.000Z',
    command: 'bench --quick',
    machine: {
      processor: 'Test',
      processors: 2,
      memoryMiB: 1024,
      system: 'Linux 1',
      node: '24.0.0',
      sqlite: '3.51.0',
      fileSystem: 'ef53',
      appendSyncsPerSecond: 100,
      overwriteSyncsPerSecond: 200,
      loadAverage: 0.5,
    },
    settings: { rounds: 5, seconds: 1, warmUpSeconds: 0.1, followers: 2, measures: ['bytes'], seed: 1 },
    subjects: { understudy: { title: 'Understudy', version: '1', facts: {} } },
    cells,
    ...more,
  }
}
