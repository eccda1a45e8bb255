/** What a scenario gets and gives. */
import type { FigureName } from './figures.ts'
import type { Machine } from './machine.ts'
import type { CoreSettings } from './options.ts'

/** Told while a benchmark runs, for people. */
export interface Reporter {
  /** A scenario begins, with so many steps. */
  begin(scenario: string, steps: number): void
  /** A step is done; `note` says what came out. */
  step(note: string): void
  /** The scenario is over. */
  end(): void
}

export interface ScenarioContext<S = CoreSettings> {
  readonly settings: S
  /** An empty folder of this scenario; the caller removes it. */
  readonly directory: string
  readonly reporter: Reporter
  /** What the run is measured on. */
  readonly machine: Machine
}

export interface ScenarioResult<F extends string = FigureName> {
  readonly figures: Partial<Record<F, number>>
  /** Everything behind the figures: values of each round, rates, latencies. Plain data. */
  readonly details: Readonly<Record<string, unknown>>
}

export type Scenario<S = CoreSettings, F extends string = FigureName> = (
  context: ScenarioContext<S>,
) => Promise<ScenarioResult<F>>
