/** What a recorder of statements is given. */
import type { LogFormat, SqliteConnection } from '@understudy/contracts'
import type { Warnings } from './warnings.ts'

/** What to do with a statement that is not safe. */
export type UnsafePolicy = 'refuse' | 'row' | 'allow'

export interface RecorderOptions {
  readonly unsafe: UnsafePolicy
  readonly row: LogFormat<SqliteConnection> | undefined
  readonly declared: ReadonlySet<string>
  readonly allowsOtherSqlite: boolean
  readonly warnings: Warnings
  /** See the contract: payloads are only measured. */
  readonly unapplied: boolean
}
