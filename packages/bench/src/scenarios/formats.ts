/**
 * The same workloads on each log format, one pair of processes each, beside bare SQLite, in one run.
 *
 * Decides: the figures of a format. Leaves to others: one measurement, and whose turn it is (format-rounds.ts, rounds.ts).
 * Ratios are taken within a round.
 */
import type { FormatName } from '../formats.ts'
import type { FigureName } from '../figures.ts'
import { inTurns, Samples } from '../rounds.ts'
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { median, ratios } from '../statistics.ts'
import { FormatPairs } from './format-pairs.ts'
import { measureCatchup, measureLag, measureLoad, measureUpdate, UPDATED_ROWS } from './format-rounds.ts'

const WRITERS = [1, 64, 256] as const
type Writers = (typeof WRITERS)[number]
/** Each measurement is made three times as often as in the other scenarios: shorter, so that a whole run takes 12 to 13 minutes. */
const SECONDS_MAX = 2
const WARM_UP_SECONDS_MAX = 1
/** Rows that wait for a follower that was down. */
const CATCHUP_ROWS_MAX = 300_000
const CATCHUP_ROUNDS_MAX = 2

/** What one format reached: the keys of the whole benchmark, and those that compare the formats. Medians of the rounds. */
export interface FormatFigures {
  readonly commitsVsFull1: number
  readonly commitsVsFull64: number
  readonly commitsVsOff64: number
  readonly commitsVsOff256: number
  readonly lagP99Ms: number
  readonly wireBytesPerCommit64: number
  readonly catchupRowsPerSecond: number
  readonly commitsPerSecond1: number
  readonly commitsPerSecond64: number
  readonly commitsPerSecond256: number
  /** `null` when the row format was left out. */
  readonly commitsVsRow1: number | null
  readonly commitsVsRow64: number | null
  readonly commitsVsRow256: number | null
  readonly wireBytesPerCommit1: number
  readonly wireBytesPerCommit256: number
  /** One UPDATE of 100,000 rows; `null` when the table had fewer. */
  readonly update100kWireBytes: number | null
}

export const formats: Scenario = async (context) => {
  const { settings, directory, reporter } = context
  const names = settings.formats
  const catchupRounds = Math.min(settings.rounds, CATCHUP_ROUNDS_MAX)
  await using pairs = await FormatPairs.start(directory, names)
  const loads = names.length * WRITERS.length + 2
  reporter.begin(
    'formats',
    loads * (settings.rounds + 1) + names.length * (settings.rounds + catchupRounds + 1),
  )
  const samples = new Samples()
  await measureLoads(pairs, samples, context)
  await inTurns(settings.rounds, names, async (name, round) => {
    const perSecond = median(samples.of(rateOf(name, 64))) / 2
    const p99Ms = await measureLag(pairs.get(name), perSecond, Math.min(settings.seconds, SECONDS_MAX))
    samples.push(`${name} lag`, p99Ms)
    reporter.step(
      `round ${round} ${name}: lag p99 ${p99Ms.toFixed(2)} ms at ${Math.round(perSecond)} commits/s`,
    )
  })
  const count = Math.min(settings.catchupRows, CATCHUP_ROWS_MAX)
  await inTurns(catchupRounds, names, async (name, round) => {
    const rowsPerSecond = await measureCatchup(pairs.get(name), count)
    samples.push(`${name} catchup`, rowsPerSecond)
    reporter.step(`round ${round} ${name}: catch-up ${Math.round(rowsPerSecond)} rows/s`)
  })
  const byFormat: Partial<Record<FormatName, FormatFigures>> = {}
  for (const name of names) {
    const { rows, bytes } = await measureUpdate(pairs.get(name))
    reporter.step(`${name}: one UPDATE of ${rows} rows ${bytes} B`)
    byFormat[name] = summarizeFormat(name, samples, rows === UPDATED_ROWS ? bytes : null)
    await pairs.get(name).verify()
  }
  reporter.end()
  return { figures: figuresOf(byFormat), details: { byFormat, rounds: samples.all() } }
}

/** Commits per second and bytes under each load, and bare SQLite, in each round. The first round warms up and is not counted. */
async function measureLoads(
  pairs: FormatPairs,
  samples: Samples,
  { settings, reporter }: ScenarioContext,
): Promise<void> {
  const seconds = Math.min(settings.seconds, SECONDS_MAX)
  const sides = [
    ...(['full', 'off'] as const).map((synchronous) => ({ synchronous })),
    ...WRITERS.flatMap((writers) => settings.formats.map((name) => ({ name, writers }))),
  ]
  await inTurns(settings.rounds + 1, sides, async (side, turn) => {
    const isWarmUp = turn === 1
    const length = isWarmUp ? Math.min(seconds, WARM_UP_SECONDS_MAX) : seconds
    const note = isWarmUp ? 'warm-up' : `round ${turn - 1}`
    if ('synchronous' in side) {
      const perSecond = await pairs.bare(side.synchronous, length)
      reporter.step(`${note} bare ${side.synchronous}: ${Math.round(perSecond)} commits/s`)
      if (!isWarmUp) samples.push(`bare ${side.synchronous}`, perSecond)
      return
    }
    const { name, writers } = side
    const { perSecond, bytes } = await measureLoad(pairs.get(name), writers, length)
    reporter.step(
      `${note} ${name} ${writers}: ${Math.round(perSecond)} commits/s, ${bytes.toFixed(1)} B each`,
    )
    if (isWarmUp) return
    samples.push(rateOf(name, writers), perSecond)
    samples.push(`${name} ${writers} bytes`, bytes)
  })
}

function rateOf(name: FormatName, writers: Writers): string {
  return `${name} ${writers} commits/s`
}

/** The figures of one format from the samples of all. */
export function summarizeFormat(
  name: FormatName,
  samples: Samples,
  update100kWireBytes: number | null,
): FormatFigures {
  const rates = (writers: Writers): readonly number[] => samples.of(rateOf(name, writers))
  const bytes = (writers: Writers): number => median(samples.of(`${name} ${writers} bytes`))
  const against = (synchronous: 'full' | 'off', writers: Writers): number =>
    median(ratios(rates(writers), samples.of(`bare ${synchronous}`)))
  const againstRow = (writers: Writers): number | null => {
    const row = samples.of(rateOf('row', writers))
    return row.length === 0 ? null : median(ratios(rates(writers), row))
  }
  return {
    commitsVsFull1: against('full', 1),
    commitsVsFull64: against('full', 64),
    commitsVsOff64: against('off', 64),
    commitsVsOff256: against('off', 256),
    lagP99Ms: median(samples.of(`${name} lag`)),
    wireBytesPerCommit64: bytes(64),
    catchupRowsPerSecond: median(samples.of(`${name} catchup`)),
    commitsPerSecond1: median(rates(1)),
    commitsPerSecond64: median(rates(64)),
    commitsPerSecond256: median(rates(256)),
    commitsVsRow1: againstRow(1),
    commitsVsRow64: againstRow(64),
    commitsVsRow256: againstRow(256),
    wireBytesPerCommit1: bytes(1),
    wireBytesPerCommit256: bytes(256),
    update100kWireBytes,
  }
}

function figuresOf({
  statement,
  wal,
}: Partial<Record<FormatName, FormatFigures>>): Partial<Record<FigureName, number>> {
  const values: Partial<Record<FigureName, number | null | undefined>> = {
    statementVsRow64: statement?.commitsVsRow64,
    walVsRow64: wal?.commitsVsRow64,
    walWireBytesPerCommit64: wal?.wireBytesPerCommit64,
    walWireBytesPerCommit1: wal?.wireBytesPerCommit1,
    statementUpdateWireBytes: statement?.update100kWireBytes,
  }
  return Object.fromEntries(Object.entries(values).filter(([, value]) => typeof value === 'number'))
}
