/** The log format that replicates statements: the options, and what they make. */
import type { DatabaseSync } from 'node:sqlite'
import { UnderstudyError, type LogFormat, type SqliteConnection } from '@understudy/contracts'
import { StatementApplier } from './applier.ts'
import { describePayload } from './describe.ts'
import type { DivergenceReport } from './divergence.ts'
import { fingerprintOf, refusal } from './fingerprint.ts'
import { inspectDatabase } from './inspect.ts'
import { registeredOverrides } from './overrides.ts'
import { PAYLOAD_VERSION } from './payload.ts'
import type { Safety } from './reasons.ts'
import type { UnsafePolicy } from './recorder-options.ts'
import { StatementRecorder } from './recorder.ts'
import { Classifier } from './safety.ts'
import { Warnings, type UnsafeWarning } from './warnings.ts'

export interface StatementFormatOptions {
  /**
   * A statement that could do something else on a follower: `refuse` (default) throws `STATEMENT_UNSAFE`; `row` logs its
   * whole group as rows; `allow` logs it all the same, with a warning, and leaves the rest to the tripwire.
   */
  readonly unsafe?: UnsafePolicy
  /** For `row`: the format of rows. What it demands of tables then holds for every table. */
  readonly row?: LogFormat<SqliteConnection>
  /** Names of user functions that setup() registers on every node and that do the same there, always. Default none. */
  readonly functions?: readonly string[]
  /** Whether nodes with another version or build of SQLite may follow. Default `refuse`. */
  readonly otherSqlite?: 'refuse' | 'allow'
  /** For `allow`: the first warning for each reason, then one in a thousand. */
  readonly onWarning?: (warning: UnsafeWarning) => void
  /** Told before an applier throws `DIVERGED`: which tables differ, with this node's rows. */
  readonly onDivergence?: (report: DivergenceReport) => void
}

export interface StatementFormat extends LogFormat<SqliteConnection> {
  readonly id: 2
  readonly name: 'statement'
  /** As the function, with this format's `functions` and `otherSqlite`. */
  explainSafety(connection: SqliteConnection | DatabaseSync, sql: string): Safety
}

const OPTIONS: ReadonlySet<string> = new Set([
  'unsafe',
  'row',
  'functions',
  'otherSqlite',
  'onWarning',
  'onDivergence',
])

/** Replicates statements, with what makes them do the same elsewhere. */
export function statementFormat(options: StatementFormatOptions = {}): StatementFormat {
  check(options)
  const { unsafe = 'refuse', row, functions = [], otherSqlite = 'refuse', onWarning, onDivergence } = options
  const declared = new Set(functions.map((name) => name.toLowerCase()))
  const allowsOtherSqlite = otherSqlite === 'allow'
  return {
    id: 2,
    name: 'statement',
    version: PAYLOAD_VERSION,
    recorder: (connection, { unapplied = false } = {}) =>
      new StatementRecorder(connection, {
        unsafe,
        row,
        declared,
        allowsOtherSqlite,
        warnings: new Warnings(onWarning),
        unapplied,
      }),
    applier: (connection) => new StatementApplier(connection, onDivergence),
    describe: describePayload,
    inspect: (connection) => {
      inspectDatabase(connection)
      if (unsafe === 'row') row?.inspect?.(connection)
    },
    fingerprint: fingerprintOf,
    accepts: (own, theirs) => (allowsOtherSqlite ? undefined : refusal(own, theirs)),
    explainSafety: (connection, sql) => judge(connection, sql, declared, allowsOtherSqlite),
  }
}

/** What replaying one statement of this database would mean, and why. Runs nothing. */
export function explainSafety(connection: SqliteConnection | DatabaseSync, sql: string): Safety {
  return judge(connection, sql, new Set(), false)
}

function judge(
  connection: SqliteConnection | DatabaseSync,
  sql: string,
  declared: ReadonlySet<string>,
  allowsOtherSqlite: boolean,
): Safety {
  if (typeof sql !== 'string') throw invalid('explainSafety takes one statement as text. Nothing was run.')
  const isConnection = 'database' in connection
  const database = isConnection ? connection.database : connection
  const ownPrefix = isConnection ? connection.ownTablePrefix : '_understudy_'
  const run = (): Safety => {
    const overridden = registeredOverrides(database)
    const classifier = new Classifier(database, {
      ownPrefix,
      overridden: () => overridden,
      declared,
      allowsOtherSqlite,
    })
    const { verdict, reasons, functions } = classifier.judge(sql)
    return { verdict, reasons, functions }
  }
  return isConnection ? connection.internal(run) : run()
}

function check(options: StatementFormatOptions): void {
  const unknown = Object.keys(options).find((name) => !OPTIONS.has(name))
  if (unknown !== undefined)
    throw invalid(`statementFormat: there is no option "${unknown}". No format was made.`)
  const { unsafe = 'refuse', row, functions = [], otherSqlite = 'refuse' } = options
  if (unsafe !== 'refuse' && unsafe !== 'row' && unsafe !== 'allow') {
    throw invalid(
      `statementFormat: unsafe is "${String(unsafe)}"; it must be "refuse", "row" or "allow". No format was made.`,
    )
  }
  if (unsafe === 'row' && typeof row?.recorder !== 'function') {
    throw invalid(
      "statementFormat: unsafe: 'row' needs the format that such groups are logged in: row: rowFormat(). No format was made.",
    )
  }
  if (otherSqlite !== 'refuse' && otherSqlite !== 'allow') {
    throw invalid(
      `statementFormat: otherSqlite is "${String(otherSqlite)}"; it must be "refuse" or "allow". No format was made.`,
    )
  }
  if (!Array.isArray(functions) || !functions.every((name) => typeof name === 'string')) {
    throw invalid('statementFormat: functions must be a list of names. No format was made.')
  }
}

function invalid(message: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', message)
}
