/** Benchmarks of replication: the core figures beside bare SQLite, transports beside bare sockets, ack policies beside none, former leaders that rejoin. */
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
