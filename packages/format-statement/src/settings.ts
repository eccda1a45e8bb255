/**
 * Settings of a connection that change what statements do. setup() may choose them; leader and follower must choose alike,
 * so each payload says what the leader's were.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { arrays, first } from './connection.ts'

/** By bit, from the lowest; never reordered. `case_sensitive_like` cannot be read. */
const PINNED: readonly string[] = [
  'foreign_keys',
  'recursive_triggers',
  'ignore_check_constraints',
  'reverse_unordered_selects',
  'legacy_alter_table',
]

export const SETTINGS_MAX: number = 2 ** PINNED.length - 1

export class Settings {
  readonly #statements: readonly StatementSync[]

  constructor(database: DatabaseSync) {
    this.#statements = PINNED.map((name) => arrays(database, `pragma ${name}`))
  }

  /** As bits. */
  read(): number {
    let bits = 0
    for (let index = 0; index < this.#statements.length; index += 1) {
      if (first(this.#statements[index] as StatementSync) !== 0) bits |= 1 << index
    }
    return bits
  }
}

/** Names of the settings in which two differ. */
export function differingSettings(a: number, b: number): string[] {
  return PINNED.filter((_, index) => ((a ^ b) & (1 << index)) !== 0)
}
