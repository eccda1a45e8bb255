/** The core benchmark: its scenarios, and what comes of them. */
import { allFigures, type FigureName, type FigureValues } from './figures.ts'
import type { Machine } from './machine.ts'
import { resolveCoreOptions, type CoreOptions, type CoreSettings, type ScenarioName } from './options.ts'
import { runScenarios } from './run.ts'
import type { Reporter, Scenario } from './scenario.ts'
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
  const { measured, machine, details } = await runScenarios<CoreSettings, ScenarioName, FigureName>(
    RUN,
    settings,
    reporter,
  )
  const byFormat = details.formats?.['byFormat'] as Readonly<Record<string, FormatFigures>> | undefined
  return {
    figures: allFigures(measured),
    ...(byFormat && { formats: byFormat }),
    machine,
    settings,
    details,
  }
}
