/** Every option of the core benchmark with its default, in one place. */
import os from 'node:os'
import { chosen, positive, scenariosFor } from './choices.ts'
import { FORMAT_KIND, FORMAT_NAMES, type FormatName } from './formats.ts'
import { FIGURE_NAMES, type FigureName } from './figures.ts'

export type ScenarioName = 'commits' | 'lag' | 'bootstrap' | 'catchup' | 'stopped' | 'formats'

/** One scenario measures one or more figures. In the order in which they run. */
export const SCENARIOS: Readonly<Record<ScenarioName, readonly FigureName[]>> = {
  commits: ['commitsVsFull1', 'commitsVsFull64', 'commitsVsOff64', 'commitsVsOff256', 'wireBytesPerCommit64'],
  lag: ['lagP99Ms'],
  bootstrap: ['bootstrapVsCopy', 'bootstrapMiB'],
  catchup: ['catchupRowsPerSecond'],
  stopped: ['leaderGrowthMiB'],
  formats: [
    'statementVsRow64',
    'walVsRow64',
    'walWireBytesPerCommit64',
    'walWireBytesPerCommit1',
    'statementUpdateWireBytes',
  ],
}

export const SCENARIO_NAMES: readonly ScenarioName[] = Object.keys(SCENARIOS) as ScenarioName[]

export interface CoreOptions {
  /** Repetitions of each measurement, interleaved. Default 5. */
  readonly rounds?: number
  /** Length of each measurement under load. Default 3. */
  readonly seconds?: number
  /** Names of scenarios or figures; default all. A figure brings its whole scenario. */
  readonly only?: readonly string[]
  /** Log formats that the scenario `formats` compares; default all. The other scenarios measure the row format. */
  readonly format?: readonly string[]
  /** How long the follower is stopped for `leaderGrowthMiB`. Default 120. */
  readonly stopSeconds?: number
  /** Size of the database that is bootstrapped. Default 1024. */
  readonly bootstrapMiB?: number
  /** Rows written while the follower is down for `catchupRowsPerSecond`. Default 1,000,000. */
  readonly catchupRows?: number
  /** A folder on the disk to measure; a new one is made in it, and removed. Default: the system's temporary folder. */
  readonly directory?: string
}

export interface CoreSettings extends Required<Omit<CoreOptions, 'only' | 'format'>> {
  readonly formats: readonly FormatName[]
  readonly scenarios: readonly ScenarioName[]
}

/** The options with defaults. Throws `INVALID_ARGUMENT`. */
export function resolveCoreOptions(options: CoreOptions = {}): CoreSettings {
  return {
    rounds: positive('rounds', options.rounds ?? 5, true),
    seconds: positive('seconds', options.seconds ?? 3),
    stopSeconds: positive('stopSeconds', options.stopSeconds ?? 120),
    bootstrapMiB: positive('bootstrapMiB', options.bootstrapMiB ?? 1024, true),
    catchupRows: positive('catchupRows', options.catchupRows ?? 1_000_000, true),
    directory: options.directory ?? os.tmpdir(),
    scenarios: scenariosFor(options.only, { scenarios: SCENARIO_NAMES, figures: FIGURE_NAMES, scenarioOf }),
    formats: chosen(options.format, FORMAT_NAMES, FORMAT_KIND),
  }
}

/** Which scenario measures a figure. */
function scenarioOf(figure: FigureName): ScenarioName {
  // Every figure stands in one of the lists.
  return SCENARIO_NAMES.find((scenario) => SCENARIOS[scenario].includes(figure)) as ScenarioName
}
