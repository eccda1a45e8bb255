/**
 * The core benchmark: scenarios one after another, each in a folder of its own that is removed.
 *
 * Decides: order and cleaning up. Leaves to others: what a scenario measures, how results are shown.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import path from 'node:path'
import { allFigures, type FigureName, type FigureValues } from './figures.ts'
import { describeMachine, type Machine } from './machine.ts'
import { resolveCoreOptions, type CoreOptions, type CoreSettings, type ScenarioName } from './options.ts'
import type { Reporter, Scenario, SharedMeasurements } from './scenario.ts'
import { bootstrap } from './scenarios/bootstrap.ts'
import { catchup } from './scenarios/catchup.ts'
import { commits } from './scenarios/commits.ts'
import { formats, type FormatFigures } from './scenarios/formats.ts'
import { lag } from './scenarios/lag.ts'
import { stopped } from './scenarios/stopped.ts'

const RUN: Record<ScenarioName, Scenario> = { commits, lag, bootstrap, catchup, stopped, formats }

export interface CoreResult {
  readonly figures: FigureValues
  /** The same workloads for each log format, when the scenario `formats` ran. */
  readonly formats?: Readonly<Record<string, FormatFigures>>
  readonly machine: Machine
  readonly settings: CoreSettings
  /** What each scenario measured besides. */
  readonly details: Readonly<Partial<Record<ScenarioName, Readonly<Record<string, unknown>>>>>
}

/** Runs the benchmark. Throws `INVALID_ARGUMENT`, `REQUEST_FAILED` when a process failed, `DIVERGED` when rows differed. */
export async function runCore(reporter: Reporter, options?: CoreOptions): Promise<CoreResult> {
  const settings = resolveCoreOptions(options)
  await mkdir(settings.directory, { recursive: true })
  const directory = await mkdtemp(path.join(settings.directory, 'understudy-bench-'))
  try {
    const machine = await describeMachine(directory)
    const measured: Partial<Record<FigureName, number>> = {}
    const details: Partial<Record<ScenarioName, Readonly<Record<string, unknown>>>> = {}
    const shared: SharedMeasurements = {}
    for (const name of settings.scenarios) {
      const folder = path.join(directory, name)
      await mkdir(folder)
      const result = await RUN[name]({ settings, directory: folder, reporter, shared })
      await rm(folder, { recursive: true, force: true })
      Object.assign(measured, result.figures)
      details[name] = result.details
    }
    const byFormat = details.formats?.['byFormat'] as Readonly<Record<string, FormatFigures>> | undefined
    return {
      figures: allFigures(measured),
      ...(byFormat && { formats: byFormat }),
      machine,
      settings,
      details,
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
