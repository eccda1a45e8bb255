/**
 * The same workloads on each log format, one pair of processes each, in one run.
 *
 * A round measures one load on every format one after another, the next round in the opposite order, so that a disturbance of the
 * machine meets all of them. Ratios are taken within a round. While one pair is measured the others are idle. The bytes are those of
 * the follower's connection in both directions, from before the load until the follower shows all of it.
 */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { FORMAT_NAMES, type FormatName } from '../formats.ts'
import { Pair } from '../pair.ts'
import { latencyHistogram, latencyOf } from '../processes/load.ts'
import type { FigureName } from '../figures.ts'
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { median, ratios } from '../statistics.ts'
import { lagsOf } from './lag.ts'

const WRITERS = [1, 64, 256] as const
/** Rows that the one UPDATE touches, where there are so many. */
const UPDATED_ROWS = 100_000
/** Rows that wait for a follower that was down. */
const APPLIED_ROWS_MAX = 300_000

/** What one format reached. */
export interface FormatFigures {
  readonly commitsPerSecond1: number
  readonly commitsPerSecond64: number
  readonly commitsPerSecond256: number
  readonly commitsVsRow1: number
  readonly commitsVsRow64: number
  readonly commitsVsRow256: number
  readonly wireBytesPerCommit1: number
  readonly wireBytesPerCommit64: number
  readonly wireBytesPerCommit256: number
  readonly lagP99Ms: number
  readonly catchupRowsPerSecond: number
  /** One UPDATE of `updatedRows` rows. */
  readonly updateWireBytes: number
  readonly updatedRows: number
}

/** Samples of one format under one load, by round. */
interface Samples {
  readonly rates: number[]
  readonly wireBytes: number[]
}

export const formats: Scenario = async (context) => {
  const { settings, directory, reporter } = context
  await using pairs = new Pairs()
  for (const name of FORMAT_NAMES) {
    const folder = path.join(directory, name)
    await mkdir(folder)
    pairs.add(name, await Pair.start(folder, name))
  }
  reporter.begin('formats', FORMAT_NAMES.length * (WRITERS.length * (settings.rounds + 1) + 3))
  const samples = await measureLoads(pairs, context)
  const byFormat: Record<string, FormatFigures> = {}
  const rowRates = (writers: number): readonly number[] => samples(`row`, writers).rates
  for (const name of FORMAT_NAMES) {
    const rest = await measureRest(pairs.get(name), median(samples(name, 64).rates) / 2, context)
    reporter.step(
      `${name}: lag p99 ${rest.lagP99Ms.toFixed(2)} ms, catch-up ${Math.round(rest.catchupRowsPerSecond)} rows/s, one UPDATE of ${rest.updatedRows} rows ${rest.updateWireBytes} B`,
    )
    const each = <K extends string>(prefix: K, of: (writers: number) => number) =>
      Object.fromEntries(WRITERS.map((writers) => [`${prefix}${writers}`, of(writers)])) as Record<
        `${K}${(typeof WRITERS)[number]}`,
        number
      >
    byFormat[name] = {
      ...each('commitsPerSecond', (writers) => median(samples(name, writers).rates)),
      ...each('commitsVsRow', (writers) => median(ratios(samples(name, writers).rates, rowRates(writers)))),
      ...each('wireBytesPerCommit', (writers) => median(samples(name, writers).wireBytes)),
      ...rest,
    }
    await pairs.get(name).verify()
  }
  reporter.end()
  return { figures: figuresOf(byFormat), details: { byFormat } }
}

function figuresOf(byFormat: Readonly<Record<string, FormatFigures>>): Partial<Record<FigureName, number>> {
  const { statement, wal } = byFormat as Record<FormatName, FormatFigures>
  return {
    statementVsRow64: statement.commitsVsRow64,
    walVsRow64: wal.commitsVsRow64,
    walWireBytesPerCommit64: wal.wireBytesPerCommit64,
    walWireBytesPerCommit1: wal.wireBytesPerCommit1,
    statementUpdateWireBytes: statement.updateWireBytes,
  }
}

async function measureLoads(
  pairs: Pairs,
  { settings, reporter }: ScenarioContext,
): Promise<(name: FormatName, writers: number) => Samples> {
  const all = new Map<string, Samples>()
  const samples = (name: FormatName, writers: number): Samples => {
    const key = `${name} ${writers}`
    const found = all.get(key) ?? { rates: [], wireBytes: [] }
    all.set(key, found)
    return found
  }
  for (let round = 0; round <= settings.rounds; round++) {
    const order = round % 2 === 0 ? FORMAT_NAMES : FORMAT_NAMES.toReversed()
    for (const writers of WRITERS) {
      for (const name of order) {
        const { perSecond, bytes } = await measureLoad(
          pairs.get(name),
          writers,
          round === 0 ? Math.min(settings.seconds, 1) : settings.seconds,
        )
        reporter.step(
          `${round === 0 ? 'warm-up' : `round ${round}`} ${name} ${writers}: ${Math.round(perSecond)} commits/s, ${bytes.toFixed(1)} B`,
        )
        if (round === 0) continue
        samples(name, writers).rates.push(perSecond)
        samples(name, writers).wireBytes.push(bytes)
      }
    }
  }
  return samples
}

async function measureLoad(
  pair: Pair,
  writers: number,
  seconds: number,
): Promise<{ perSecond: number; bytes: number }> {
  const before = await pair.leader.call('wireBytes')
  const result = await pair.leader.call('load', { writers, seconds })
  await pair.equal()
  const bytes = ((await pair.leader.call('wireBytes')) - before) / result.commits
  await pair.leader.call('checkpoint')
  return { perSecond: result.perSecond, bytes }
}

type Rest = Pick<FormatFigures, 'lagP99Ms' | 'catchupRowsPerSecond' | 'updateWireBytes' | 'updatedRows'>

async function measureRest(pair: Pair, perSecond: number, { settings }: ScenarioContext): Promise<Rest> {
  await pair.follower.call('watch')
  const sent = await pair.leader.call('probe', { writers: 64, perSecond, seconds: settings.seconds })
  await pair.equal()
  const histogram = latencyHistogram()
  for (const lagMs of lagsOf(sent, await pair.follower.call('sightings'))) histogram.recordValue(lagMs * 1000)

  const count = Math.min(settings.catchupRows, APPLIED_ROWS_MAX)
  await pair.stopFollower()
  await pair.leader.call('writeRows', { writers: 256, count })
  await pair.leader.call('checkpoint')
  const openMs = await pair.startFollower()
  const catchupRowsPerSecond = (1000 * count) / (openMs + (await pair.equal()))

  // The connection is new: what it said at its beginning is not the update's.
  const before = await pair.leader.call('wireBytes')
  const updatedRows = await pair.leader.call('updateFirst', UPDATED_ROWS)
  await pair.equal()
  const updateWireBytes = (await pair.leader.call('wireBytes')) - before
  return {
    lagP99Ms: latencyOf(histogram).p99,
    catchupRowsPerSecond,
    updateWireBytes,
    updatedRows,
  }
}

/** The running pairs, ended together. */
class Pairs implements AsyncDisposable {
  readonly #pairs = new Map<FormatName, Pair>()

  add(name: FormatName, pair: Pair): void {
    this.#pairs.set(name, pair)
  }

  get(name: FormatName): Pair {
    const pair = this.#pairs.get(name)
    if (pair === undefined) throw new TypeError(`no pair of format ${name} runs`)
    return pair
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pair of this.#pairs.values()) await pair[Symbol.asyncDispose]()
  }
}
