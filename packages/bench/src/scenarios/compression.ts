/**
 * What compressing a connection saves, and costs: 64 callers on a leader with a streaming follower, with and without
 * it, for each log format. Both authenticate, as compression needs.
 *
 * Bytes are those of the follower's connection in both directions, from before the load until the follower shows all of it.
 */
import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import type { FormatName } from '../formats.ts'
import { Pair } from '../pair.ts'
import { inTurns, Samples } from '../rounds.ts'
import type { ScenarioContext } from '../scenario.ts'
import { median, ratios } from '../statistics.ts'
import type { TransportFigureName } from '../transports/figures.ts'
import type { TransportSettings } from '../transports/options.ts'
import type { TransportScenario } from '../transports/run.ts'
import { measureLoad } from './format-rounds.ts'

const WRITERS = 64
const WARM_UP_SECONDS_MAX = 1
const SIDES = ['plain', 'zstd'] as const
type Side = (typeof SIDES)[number]

export const compression: TransportScenario = async (context) => {
  const { settings, reporter } = context
  reporter.begin('compression', settings.formats.length * SIDES.length * settings.rounds)
  const samples = new Samples()
  for (const format of settings.formats) await measureFormat(format, samples, context)
  reporter.end()
  return { figures: compressionFigures(samples, settings.formats), details: { rounds: samples.all() } }
}

async function measureFormat(
  format: FormatName,
  samples: Samples,
  { settings, directory, reporter }: ScenarioContext<TransportSettings>,
): Promise<void> {
  await using ended = new AsyncDisposableStack()
  const pairs = new Map<Side, Pair>()
  for (const side of SIDES) {
    const folder = path.join(directory, `${format}-${side}`)
    await mkdir(folder)
    const wire = { secret: randomBytes(32), compression: side === 'zstd' }
    const pair = ended.use(await Pair.start(folder, { format, wire }))
    pairs.set(side, pair)
    await measureLoad(pair, WRITERS, Math.min(settings.seconds, WARM_UP_SECONDS_MAX))
  }
  await inTurns(settings.rounds, SIDES, async (side, round) => {
    const { perSecond, bytes } = await measureLoad(pairs.get(side) as Pair, WRITERS, settings.seconds)
    samples.push(`${format} ${side} commits/s`, perSecond)
    samples.push(`${format} ${side} bytes`, bytes)
    reporter.step(
      `round ${round} ${format} ${side}: ${Math.round(perSecond)} commits/s, ${bytes.toFixed(1)} B each`,
    )
  })
  for (const pair of pairs.values()) await pair.verify()
}

/** Medians; ratios are taken within a round. */
export function compressionFigures(
  samples: Samples,
  formats: readonly FormatName[],
): Partial<Record<TransportFigureName, number>> {
  const figures: Partial<Record<TransportFigureName, number>> = {}
  for (const format of formats) {
    const rates = (side: Side): readonly number[] => samples.of(`${format} ${side} commits/s`)
    figures[`${format}Bytes`] = median(samples.of(`${format} plain bytes`))
    figures[`${format}ZstdBytes`] = median(samples.of(`${format} zstd bytes`))
    figures[`${format}ZstdVsPlain`] = median(ratios(rates('zstd'), rates('plain')))
  }
  return figures
}
