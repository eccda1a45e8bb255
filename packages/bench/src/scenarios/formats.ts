/**
 * The same workloads on each log format beside bare SQLite, in one run.
 *
 * Decides: the figures of a format. Leaves to others: loads (a part of the matrix), and what is measured once (format-rounds.ts).
 * Ratios are taken within a round.
 */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import type { FormatName } from '../formats.ts'
import type { FigureName } from '../figures.ts'
import { runPreset } from '../matrix/preset.ts'
import { Pair } from '../pair.ts'
import { inTurns, Samples } from '../rounds.ts'
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { median, ratios } from '../statistics.ts'
import type { Settings } from '../subjects/subject.ts'
import { BARE_FULL, BARE_OFF } from './commits.ts'
import { measureCatchup, measureUpdate, UPDATED_ROWS } from './format-rounds.ts'
import { lagMs } from './lag.ts'

const WRITERS = [1, 64, 256] as const
type Writers = (typeof WRITERS)[number]
/** Each measurement is made three times as often as in the other scenarios: shorter, so that a whole run takes 12 to 13 minutes. */
const SECONDS_MAX = 2
const LAG_WRITERS = 64
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
  const { settings } = context
  const samples = new Samples()
  await measureLoads(samples, context)
  const bytes = await measureRest(samples, context)
  const byFormat: Partial<Record<FormatName, FormatFigures>> = {}
  for (const name of settings.formats) byFormat[name] = summarizeFormat(name, samples, bytes[name] ?? null)
  return { figures: figuresOf(byFormat), details: { byFormat, rounds: samples.all() } }
}

/** Commits per second, bytes and lag under each load, and bare SQLite, in each round: a part of the matrix. */
async function measureLoads(samples: Samples, context: ScenarioContext): Promise<void> {
  const { settings } = context
  const preset = await runPreset('formats', context, {
    format: settings.formats,
    writers: WRITERS,
    followers: 1,
    measure: ['bytes', 'lag'],
    rounds: settings.rounds,
    seconds: Math.min(settings.seconds, SECONDS_MAX),
  })
  const rates = (of: Settings, writers: Writers): readonly number[] =>
    preset.rounds(of, writers).map(({ commitsPerSecond }) => commitsPerSecond)
  const push = (key: string, values: readonly number[]): void =>
    values.forEach((value) => samples.push(key, value))
  for (const writers of WRITERS) {
    push(bareOf('full', writers), rates(BARE_FULL, writers))
    push(bareOf('off', writers), rates(BARE_OFF, writers))
    for (const format of settings.formats) {
      const rounds = preset.rounds({ format }, writers)
      push(rateOf(format, writers), rates({ format }, writers))
      push(
        `${format} ${writers} bytes`,
        rounds.flatMap(({ wireBytesPerCommit }) => wireBytesPerCommit ?? []),
      )
      if (writers === LAG_WRITERS)
        push(
          `${format} lag`,
          rounds.flatMap(({ lag }) => (lag === undefined ? [] : [lagMs(lag, 99)])),
        )
    }
  }
}

/** Catching up, and the bytes of one UPDATE by format, for those whose table has enough rows. */
async function measureRest(
  samples: Samples,
  { settings, directory, reporter }: ScenarioContext,
): Promise<Partial<Record<FormatName, number>>> {
  const names = settings.formats
  const rounds = Math.min(settings.rounds, CATCHUP_ROUNDS_MAX)
  await using ended = new AsyncDisposableStack()
  const pairs = new Map<FormatName, Pair>()
  for (const format of names) {
    const folder = path.join(directory, format)
    await mkdir(folder)
    pairs.set(format, ended.use(await Pair.start(folder, { format })))
  }
  reporter.begin('formats', names.length * (rounds + 1))
  const count = Math.min(settings.catchupRows, CATCHUP_ROWS_MAX)
  await inTurns(rounds, names, async (name, round) => {
    const rowsPerSecond = await measureCatchup(pairs.get(name) as Pair, count)
    samples.push(`${name} catchup`, rowsPerSecond)
    reporter.step(`round ${round} ${name}: catch-up ${Math.round(rowsPerSecond)} rows/s`)
  })
  const updates: Partial<Record<FormatName, number>> = {}
  for (const [name, pair] of pairs) {
    const { rows, bytes } = await measureUpdate(pair)
    reporter.step(`${name}: one UPDATE of ${rows} rows ${bytes} B`)
    if (rows === UPDATED_ROWS) updates[name] = bytes
    await pair.verify()
  }
  reporter.end()
  return updates
}

function bareOf(synchronous: 'full' | 'off', writers: Writers): string {
  return `bare ${synchronous} ${writers}`
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
    median(ratios(rates(writers), samples.of(bareOf(synchronous, writers))))
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
