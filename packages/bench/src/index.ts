/** Benchmarks of replication: the core figures beside bare SQLite. */
export { runCore, type CoreResult } from './core.ts'
export {
  FIGURES,
  FIGURE_NAMES,
  describeTarget,
  isMet,
  type FigureName,
  type FigureRule,
  type FigureValues,
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
export type { Reporter } from './scenario.ts'
export type { FormatFigures } from './scenarios/formats.ts'
export { median, ratios, summarize, type Summary } from './statistics.ts'
