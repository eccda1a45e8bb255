/**
 * What the plots show: points of lines and bars, from rows. Pure.
 *
 * Decides: panels and series. With several ack policies each is a panel of its own, and peers, which have none, are in every one of them to be compared with.
 */
import type { Results } from '../matrix/results.ts'
import { variantName } from '../matrix/cell.ts'
import { percentileMs } from '../load/histogram.ts'
import type { Row } from './rows.ts'

export interface Point {
  readonly panel: string
  readonly series: string
  readonly x: number
  readonly y: number
  /** Shown when the pointer rests on it. */
  readonly title: string
}

export interface Bar {
  readonly panel: string
  readonly series: string
  readonly value: number
}

/** As HDR percentile plots have them: one point for each nine and some between. */
const PERCENTILES = [0, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99]

/** A logarithmic axis has no zero: what was seen before its answer stands here. */
const LAG_FLOOR_MS = 0.01

/** Panels of a row: its ack policy, or all of them for a peer. */
function panelsOf({ cell }: Row, rows: readonly Row[]): readonly string[] {
  const ack = cell.variant['ack']
  if (ack !== undefined) return [ack]
  const acks = new Set(rows.flatMap((row) => row.cell.variant['ack'] ?? []))
  return acks.size === 0 ? [''] : [...acks]
}

/** The name of a line: what is the same for all is left out, and the ack policy, which is the panel. */
export function seriesName({ cell, name }: Row, rows: readonly Row[]): string {
  if (cell.variant['ack'] === undefined) return name
  const own = rows.filter((row) => row.cell.subject === cell.subject)
  const telling = Object.entries(cell.variant).filter(
    ([key, value]) => key !== 'ack' && own.some((row) => row.cell.variant[key] !== value),
  )
  return telling.length === 0 ? cell.subject : variantName(Object.fromEntries(telling))
}

export function throughput(rows: readonly Row[]): readonly Point[] {
  return spread(rows, (row) => [
    {
      x: row.cell.writers,
      y: row.operationsPerSecond.median,
      title: `${row.name}, ${row.cell.writers} writers: ${Math.round(row.operationsPerSecond.median)}/s (${Math.round(row.operationsPerSecond.min)}–${Math.round(row.operationsPerSecond.max)})`,
    },
  ])
}

/** `x` is 1 / (1 - percentile): a logarithmic axis gives each nine the same room. Only as many nines as there are operations for. */
export function latencies(rows: readonly Row[]): readonly Point[] {
  return spread(rows, (row) =>
    PERCENTILES.filter((percentile) => row.latency.totalCount * (1 - percentile / 100) >= 1).map(
      (percentile) => ({
        x: 1 / (1 - percentile / 100),
        // A logarithmic axis has no zero; a microsecond is what is recorded.
        y: Math.max(0.001, percentileMs(row.latency, percentile)),
        title: `${row.name}: ${percentile} % within ${percentileMs(row.latency, percentile)} ms`,
      }),
    ),
  )
}

/** The first round that has it: highest lag of the commits of each moment. */
export function lagOverTime(rows: readonly Row[], { cells }: Pick<Results, 'cells'>): readonly Point[] {
  return spread(rows, (row) => {
    const rounds = cells.find(({ cell }) => cell === row.cell)?.rounds ?? []
    const series = rounds.find(({ lag }) => lag !== undefined)?.lag?.series ?? []
    return series.map(([atMs, p50Ms, maxMs]) => ({
      x: atMs / 1000,
      y: Math.max(LAG_FLOOR_MS, maxMs),
      title: `${row.name}, ${atMs} ms: median ${p50Ms} ms, highest ${maxMs} ms`,
    }))
  })
}

export function bytesPerCommit(rows: readonly Row[]): readonly Bar[] {
  return rows.flatMap((row) => {
    const named = (panel: string, value: number | undefined): readonly Bar[] =>
      value === undefined ? [] : [{ panel, series: row.name, value }]
    return [...named('log', row.logBytesPerCommit), ...named('wire', row.wireBytesPerCommit)]
  })
}

/** Lost commits against the median latency. */
export function lossAgainstLatency(rows: readonly Row[]): readonly Point[] {
  return rows.flatMap((row) =>
    row.kill === undefined
      ? []
      : [
          {
            panel: '',
            series: row.cell.variant['ack'] ?? row.name,
            x: row.p50Ms,
            y: row.kill.lostOnReplica,
            title: `${row.name}: p50 ${row.p50Ms} ms, ${row.kill.lostOnReplica} of ${row.kill.acknowledged} lost`,
          },
        ],
  )
}

/** The number of writers at which distributions are shown: 64, or the one that is nearest. */
export function shownWriters(rows: readonly Row[]): number {
  const all = [...new Set(rows.map(({ cell }) => cell.writers))]
  return all.reduce((best, each) => (Math.abs(each - 64) < Math.abs(best - 64) ? each : best), all[0] ?? 1)
}

function spread(
  rows: readonly Row[],
  points: (row: Row) => readonly Omit<Point, 'panel' | 'series'>[],
): readonly Point[] {
  return rows.flatMap((row) => {
    const series = seriesName(row, rows)
    return panelsOf(row, rows).flatMap((panel) => points(row).map((point) => ({ panel, series, ...point })))
  })
}
