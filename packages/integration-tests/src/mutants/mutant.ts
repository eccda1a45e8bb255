/** What a mutant is: texts of source files that are replaced while they are loaded. */
import type { InvariantId } from '../simulation/breach.ts'
import type { ScenarioName } from './scenarios.ts'

export interface Edit {
  /** From the root of the repository. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

export interface Mutant {
  readonly name: string
  /** What is wrong with it. */
  readonly what: string
  readonly scenario: ScenarioName
  /** The invariant that the scenario reports as broken: one of these. */
  readonly breaks: readonly InvariantId[]
  readonly edits: readonly Edit[]
}
