/** The scenarios that catch mutants, by name. Each holds with the code as it is. */
import { staleEpoch, flippedRecord } from './log-scenarios.ts'
import { highWatermark } from './replication-scenarios.ts'
import { anotherSchema, backfilledLog, deferredConstraint, firingTriggers } from './sqlite-scenarios.ts'
import { damagedChunk } from './bootstrap-scenarios.ts'
import {
  capturedResults,
  changedFile,
  foreignCheckpoint,
  headerOrder,
  wrongPageBase,
} from './format-scenarios.ts'
import { ackModel, acks, chains, cluster, tightLogs } from './cluster-scenarios.ts'

/** Throws `InvariantBreach` when a promise is broken. */
export type Scenario = () => Promise<void>

export type ScenarioName =
  | 'cluster'
  | 'acks'
  | 'ackModel'
  | 'chains'
  | 'tightLogs'
  | 'staleEpoch'
  | 'flippedRecord'
  | 'highWatermark'
  | 'anotherSchema'
  | 'backfilledLog'
  | 'deferredConstraint'
  | 'firingTriggers'
  | 'damagedChunk'
  | 'capturedResults'
  | 'wrongPageBase'
  | 'headerOrder'
  | 'foreignCheckpoint'
  | 'changedFile'

export const SCENARIOS: Readonly<Record<ScenarioName, Scenario>> = {
  cluster,
  acks,
  ackModel,
  chains,
  tightLogs,
  staleEpoch,
  flippedRecord,
  highWatermark,
  anotherSchema,
  backfilledLog,
  deferredConstraint,
  firingTriggers,
  damagedChunk,
  capturedResults,
  wrongPageBase,
  headerOrder,
  foreignCheckpoint,
  changedFile,
}

export function scenarioOf(name: string): Scenario {
  const found = Object.entries(SCENARIOS).find(([known]) => known === name)
  if (found === undefined) throw new Error(`no scenario is called ${name}`)
  return found[1]
}
