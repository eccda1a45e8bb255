/**
 * Benchmarks of replication: a matrix of formats, transports, ack policies, workloads and databases; the core figures beside bare SQLite, transports
 * beside bare sockets, ack policies beside none, former leaders that rejoin.
 */
export { addBenchCommands } from './commands/bench.ts'
export type { BenchContext, Output } from './commands/output.ts'
export {
  compareResults,
  type CompareOptions,
  type Compared,
  type Comparison,
  type Verdict,
} from './compare/compare.ts'
export type { EncodedHistogram } from './load/histogram.ts'
export type { LoadHost } from './load/load-calls.ts'
export { cellKey, subjectName, type Cell } from './matrix/cell.ts'
export { MEASURES, type MatrixOptions, type Measure } from './matrix/options.ts'
export {
  readResults,
  writeResults,
  type CellResult,
  type KillSample,
  type NodeUse,
  type Results,
  type RoundSample,
  type SubjectReport,
} from './matrix/results.ts'
export { runMatrix, type MatrixReporter, type RunMatrixOptions } from './matrix/runner.ts'
export { rowsOf, type Row } from './report/rows.ts'
export { PEER_NAMES } from './subjects/registry.ts'
export type {
  Connections,
  ConnectOptions,
  Counters,
  Found,
  Instance,
  InstanceNode,
  Notes,
  ReplicaNotes,
  Settings,
  StartOptions,
  Subject,
  Survivors,
  Transfer,
} from './subjects/subject.ts'
export { seededRandom } from './workloads/random.ts'
export { WORKLOAD_NAMES } from './workloads/registry.ts'
export {
  batches,
  read,
  write,
  type Dialect,
  type Invariant,
  type KeyValue,
  type Operation,
  type SessionContext,
  type Statement,
  type Step,
  type Value,
  type Workload,
  type WorkloadOptions,
  type WorkloadSession,
  type WorkloadSpec,
} from './workloads/workload.ts'
export {
  ACK_FIGURES,
  ACK_FIGURE_NAMES,
  type AckFigureName,
  type AckFigureValues,
  type ComparedPolicy,
} from './acks/figures.ts'
export {
  ACK_SCENARIO_NAMES,
  type AckOptions,
  type AckScenarioName,
  type AckSettings,
} from './acks/options.ts'
export { POLICY_NAMES, type PolicyName } from './acks/policies.ts'
export type { PolicyRates, RatesByPolicy } from './acks/rates.ts'
export { runAcks, type AckDetails, type AcksResult } from './acks/run.ts'
export { runCore, type CoreResult } from './core.ts'
export {
  FIGURES,
  FIGURE_NAMES,
  meets,
  targetText,
  type FigureName,
  type FigureRule,
  type FigureValues,
  type Target,
} from './figures.ts'
export { FORMAT_NAMES, type FormatName } from './formats.ts'
export type { Machine } from './machine.ts'
export {
  SCENARIOS,
  SCENARIO_NAMES,
  type CoreOptions,
  type CoreSettings,
  type ScenarioName,
} from './options.ts'
export type { Latency } from './processes/load.ts'
export {
  REJOIN_FIGURES,
  REJOIN_FIGURE_NAMES,
  TAIL_NAMES,
  type RejoinFigureName,
  type RejoinFigureValues,
  type TailName,
} from './rejoin/figures.ts'
export type { RejoinOptions, RejoinSettings } from './rejoin/options.ts'
export type { Rejoined } from './rejoin/duo.ts'
export { runRejoin, type RejoinDetails, type RejoinResult } from './rejoin/run.ts'
export type { Reporter } from './scenario.ts'
export type { DelayedRates } from './scenarios/ack-delays.ts'
export type { FormatFigures } from './scenarios/formats.ts'
export type { KindRates, ThroughputRates } from './scenarios/throughput.ts'
export { median, ratios, summarize, type Summary } from './statistics.ts'
export {
  TRANSPORT_FIGURES,
  TRANSPORT_FIGURE_NAMES,
  type TransportFigureName,
  type TransportFigureValues,
} from './transports/figures.ts'
export { TRANSPORT_NAMES, type KindName, type SizeName, type TransportName } from './transports/kinds.ts'
export {
  TRANSPORT_SCENARIO_NAMES,
  type TransportOptions,
  type TransportScenarioName,
  type TransportSettings,
} from './transports/options.ts'
export { runTransports, type TransportDetails, type TransportsResult } from './transports/run.ts'
