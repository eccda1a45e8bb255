/**
 * The matrix as a preset uses it: a part of its cells, in place of a scenario's own measurements.
 *
 * Decides: that a cell which failed fails the preset. Leaves to others: which figures come of the rounds.
 */
import { UnderstudyError } from '@understudy/contracts'
import { decode, percentileMs } from '../load/histogram.ts'
import type { Reporter, ScenarioContext } from '../scenario.ts'
import type { Settings } from '../subjects/subject.ts'
import type { MatrixOptions } from './options.ts'
import type { CellResult, Results, RoundSample } from './results.ts'
import { runMatrix, type MatrixReporter } from './runner.ts'

/** Warm-up of a measurement, at most: code that runs first is slower. */
const WARM_UP_SECONDS_MAX = 1
/** All of a preset are measured beside each other. */
const TOGETHER = 64

export interface PresetResult {
  /** The rounds of a variant, by the values of its settings that are given, with so many writers. */
  rounds(settings: Settings, writers: number): readonly RoundSample[]
  cell(settings: Settings, writers: number): CellResult | undefined
}

/** Callers in the leader's process, single-row inserts, unless the options say otherwise. Rejects as `runMatrix`, and with `REQUEST_FAILED` for a cell. */
export async function runPreset(
  scenario: string,
  { reporter, machine, directory }: Pick<ScenarioContext, 'reporter' | 'machine' | 'directory'>,
  options: MatrixOptions & { readonly seconds: number },
): Promise<PresetResult> {
  const results = await runMatrix(matrixReporter(scenario, reporter), {
    transport: ['tcp'],
    ack: ['async'],
    format: ['row'],
    callers: ['embedded'],
    workload: ['inserts'],
    warmUpSeconds: Math.min(options.seconds / 4, WARM_UP_SECONDS_MAX),
    together: TOGETHER,
    machine,
    directory,
    ...options,
  })
  failOnSkipped(results)
  const find = (settings: Settings, writers: number): CellResult | undefined =>
    results.cells.find(
      ({ cell }) =>
        cell.writers === writers &&
        Object.entries(settings).every(
          ([key, value]) => (key === 'subject' ? cell.subject : cell.variant[key]) === value,
        ),
    )
  return { cell: find, rounds: (settings, writers) => find(settings, writers)?.rounds ?? [] }
}

/** Milliseconds of one round. */
export function latencyMs({ latency }: RoundSample, percentile: number): number {
  return percentileMs(decode(latency), percentile)
}

function failOnSkipped({ cells }: Results): void {
  const failed = cells.find(({ skipped }) => skipped !== undefined)
  if (failed !== undefined)
    throw new UnderstudyError(
      'REQUEST_FAILED',
      `${failed.key}: ${failed.skipped} The measurement was given up.`,
    )
}

function matrixReporter(scenario: string, reporter: Reporter): MatrixReporter {
  return {
    begin: (measurements) => reporter.begin(scenario, measurements),
    step: (note) => reporter.step(note),
    note: () => undefined,
    end: () => reporter.end(),
  }
}
