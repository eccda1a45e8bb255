/**
 * Conditions of a list of statements: what a later statement asks of the outcome of earlier ones. Plain data, so that a list can
 * be sent, kept and sent again.
 *
 * Statements, and steps that only require something, are counted together from 0. A condition speaks of earlier ones alone.
 */

/** What came of the step of that number, which was skipped, ran or failed. */
export type Condition =
  /** It ran without an error. */
  | { readonly ok: number }
  /**
   * It ran and failed. A statement that some condition of the list asks this of may fail: SQLite undoes what it did, and the
   * list goes on. Any other that fails rolls everything back.
   */
  | { readonly error: number }
  /** It changed rows: exactly `rows` of them, or at least one. */
  | { readonly changed: number; readonly rows?: number }
  /** It returned rows: exactly `rows` of them, or at least one. */
  | { readonly returned: number; readonly rows?: number }
  | { readonly not: Condition }
  /** All of them. */
  | { readonly and: readonly Condition[] }
  /** One of them, or more. */
  | { readonly or: readonly Condition[] }

/** A step of a list that is no statement: unless it holds everything is rolled back, with `CONDITION_FAILED`. */
export interface Requirement {
  readonly require: Condition
}
