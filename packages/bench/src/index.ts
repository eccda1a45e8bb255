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
export type { Machine } from './machine.ts'
export {
  SCENARIOS,
  SCENARIO_NAMES,
  type CoreOptions,
  type CoreSettings,
  type ScenarioName,
} from './options.ts'
export type { Reporter } from './scenario.ts'
export { median, ratios, summarize, type Summary } from './statistics.ts'
