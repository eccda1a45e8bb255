/** The benchmark of ack policies: its scenarios, and what comes of them. */
import type { Machine } from '../machine.ts'
import { runScenarios } from '../run.ts'
import type { Reporter, Scenario } from '../scenario.ts'
import { ackDelays, type DelayedRates } from '../scenarios/ack-delays.ts'
import { ackPolicies } from '../scenarios/ack-policies.ts'
import { allAckFigures, type AckFigureName, type AckFigureValues } from './figures.ts'
import { resolveAckOptions, type AckOptions, type AckScenarioName, type AckSettings } from './options.ts'
import type { RatesByPolicy } from './rates.ts'

export type AckScenario = Scenario<AckSettings, AckFigureName>

const RUN: Readonly<Record<AckScenarioName, AckScenario>> = { policies: ackPolicies, delays: ackDelays }

export interface AcksResult {
  readonly figures: AckFigureValues
  readonly machine: Machine
  readonly settings: AckSettings
  readonly details: AckDetails
}

/** What each scenario measured besides. Plain data. */
export interface AckDetails {
  readonly policies?: { readonly policies: RatesByPolicy }
  /** By the round trip that was added: `2ms`, `20ms`. */
  readonly delays?: Readonly<Record<string, DelayedRates>>
}

/** Runs the benchmark. Throws `INVALID_ARGUMENT`, `REQUEST_FAILED` when a process failed, `DIVERGED` when rows differed. */
export async function runAcks(reporter: Reporter, options?: AckOptions): Promise<AcksResult> {
  const settings = resolveAckOptions(options)
  const { measured, machine, details } = await runScenarios<AckSettings, AckScenarioName, AckFigureName>(
    RUN,
    settings,
    reporter,
  )
  return { figures: allAckFigures(measured), machine, settings, details: details as AckDetails }
}
