/** The benchmark of transports: its scenarios, and what comes of them. */
import type { Machine } from '../machine.ts'
import { runScenarios } from '../run.ts'
import type { Reporter, Scenario } from '../scenario.ts'
import { compression } from '../scenarios/compression.ts'
import { hostile } from '../scenarios/hostile.ts'
import { throughput, type ThroughputRates } from '../scenarios/throughput.ts'
import type { Summary } from '../statistics.ts'
import { allTransportFigures, type TransportFigureName, type TransportFigureValues } from './figures.ts'
import {
  resolveTransportOptions,
  type TransportOptions,
  type TransportScenarioName,
  type TransportSettings,
} from './options.ts'

export type TransportScenario = Scenario<TransportSettings, TransportFigureName>

const RUN: Readonly<Record<TransportScenarioName, TransportScenario>> = { throughput, hostile, compression }

export interface TransportsResult {
  readonly figures: TransportFigureValues
  readonly machine: Machine
  readonly settings: TransportSettings
  readonly details: TransportDetails
}

/** What each scenario measured besides. Plain data. */
export interface TransportDetails {
  /** Rates themselves. */
  readonly throughput?: { readonly kinds: ThroughputRates }
  /** The rounds: commits, connections and processor time, by `<transport> <limits> <side> <what>`. */
  readonly hostile?: { readonly rounds: Readonly<Record<string, Summary>> }
  /** The rounds, by `<format> <plain or zstd> <what>`. */
  readonly compression?: { readonly rounds: Readonly<Record<string, Summary>> }
}

/** Runs the benchmark. Throws `INVALID_ARGUMENT`, `UNSUPPORTED_RUNTIME`, `REQUEST_FAILED` when a process failed, `DIVERGED` when rows differed. */
export async function runTransports(
  reporter: Reporter,
  options?: TransportOptions,
): Promise<TransportsResult> {
  const settings = resolveTransportOptions(options)
  const { measured, machine, details } = await runScenarios<
    TransportSettings,
    TransportScenarioName,
    TransportFigureName
  >(RUN, settings, reporter)
  return { figures: allTransportFigures(measured), machine, settings, details: details as TransportDetails }
}
