/** Every option of the benchmark of ack policies with its default, in one place. */
import os from 'node:os'
import { chosen, positive, scenariosFor } from '../choices.ts'
import { ACK_FIGURE_NAMES, type AckFigureName } from './figures.ts'
import { POLICY_NAMES, type PolicyName } from './policies.ts'

export type AckScenarioName = 'policies' | 'delays'

/** In the order in which they run. */
export const ACK_SCENARIO_NAMES: readonly AckScenarioName[] = ['policies', 'delays']

/** Round trips that are added. */
export const ROUND_TRIPS_MS = [2, 20] as const

export interface AckOptions {
  /** Repetitions of each measurement, interleaved. Default 5. */
  readonly rounds?: number
  /** Length of each measurement. Default 2. */
  readonly seconds?: number
  /** One round of half a second each: to see that it runs, and roughly where it stands. `rounds` and `seconds` go before it. Default false. */
  readonly quick?: boolean
  /** Names of scenarios or figures; default all. A figure brings its whole scenario. */
  readonly only?: readonly string[]
  /** Policies that are measured; default all. Without `async` there is nothing to compare with. */
  readonly policy?: readonly string[]
  /** Nothing else runs on this machine while a cluster is measured (Linux, with the right to real-time scheduling): for one that is busy. Default false. */
  readonly exclusive?: boolean
  /** A folder on the disk to measure; a new one is made in it, and removed. Default: the system's temporary folder. */
  readonly directory?: string
}

export interface AckSettings extends Required<Omit<AckOptions, 'only' | 'policy' | 'quick'>> {
  readonly scenarios: readonly AckScenarioName[]
  readonly policies: readonly PolicyName[]
}

/** The options with defaults. Throws `INVALID_ARGUMENT`. */
export function resolveAckOptions(options: AckOptions = {}): AckSettings {
  const isQuick = options.quick === true
  return {
    rounds: positive('rounds', options.rounds ?? (isQuick ? 1 : 5), true),
    seconds: positive('seconds', options.seconds ?? (isQuick ? 0.5 : 2)),
    exclusive: options.exclusive === true,
    directory: options.directory ?? os.tmpdir(),
    scenarios: scenariosFor(options.only, {
      scenarios: ACK_SCENARIO_NAMES,
      figures: ACK_FIGURE_NAMES,
      scenarioOf,
    }),
    policies: chosen(options.policy, POLICY_NAMES, { one: 'ack policy', many: 'Policies' }),
  }
}

/** Which scenario measures a figure. */
export function scenarioOf(figure: AckFigureName): AckScenarioName {
  return figure.endsWith('ms') ? 'delays' : 'policies'
}
