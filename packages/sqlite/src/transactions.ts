/**
 * What callbacks get: one object for each write or read, dead when the callback is over.
 *
 * Decides: whether the object may still be used. Leaves to others: the transaction itself.
 */
import type { DatabaseSync } from 'node:sqlite'
import {
  UnderstudyError,
  type Parameters,
  type ReadTransaction,
  type Row,
  type RunResult,
  type Table,
  type TableLimits,
  type WriteTransaction,
} from '@understudy/contracts'
import type { Connection } from './connection.ts'
import {
  closedError,
  isFailedSync,
  isSqlite,
  isUnsafeSchema,
  SQLITE_CODES,
  sqliteCode,
  unsafeSchema,
} from './errors.ts'

/** A write's view of the writer. */
export class SqliteWriteTransaction implements WriteTransaction {
  readonly #connection: Connection
  readonly #database: DatabaseSync
  #open = true
  /** The error that ended the group's transaction. */
  lost: UnderstudyError | undefined

  constructor(connection: Connection) {
    this.#connection = connection
    this.#database = connection.database
  }

  all(sql: string, parameters?: Parameters): Row[] {
    this.#check()
    try {
      return this.#connection.statements.all(sql, parameters)
    } catch (error) {
      throw this.#judge(error)
    }
  }

  get(sql: string, parameters?: Parameters): Row | undefined {
    this.#check()
    try {
      return this.#connection.statements.get(sql, parameters)
    } catch (error) {
      throw this.#judge(error)
    }
  }

  table(sql: string, parameters?: Parameters, limits?: TableLimits): Table {
    this.#check()
    try {
      return this.#connection.statements.table(sql, parameters, limits)
    } catch (error) {
      throw this.#judge(error)
    }
  }

  run(sql: string, parameters?: Parameters): RunResult {
    this.#check()
    try {
      return this.#connection.statements.run(sql, parameters)
    } catch (error) {
      throw this.#judge(error)
    }
  }

  exec(sql: string): void {
    this.#check()
    try {
      this.#connection.statements.exec(sql)
    } catch (error) {
      throw this.#judge(error)
    }
  }

  /** The callback is over. */
  end(): void {
    this.#open = false
  }

  #check(): void {
    if (!this.#open) throw closedError('This write is over: its callback has returned.')
    // SQLite would run the next statement in a transaction of its own, unrecorded.
    if (this.lost !== undefined) throw this.lost
  }

  #judge(error: unknown): unknown {
    if (this.#database.isTransaction) return error
    this.lost ??= transactionLost(error)
    return this.lost
  }
}

/** A read's view of one reader. */
export class SqliteReadTransaction implements ReadTransaction {
  readonly #connection: Connection
  #open = true

  constructor(connection: Connection) {
    this.#connection = connection
  }

  all(sql: string, parameters?: Parameters): Row[] {
    this.#check()
    const { guard, statements } = this.#connection
    try {
      return guard.enforce(() => statements.all(sql, parameters))
    } catch (error) {
      throw readError(error)
    }
  }

  get(sql: string, parameters?: Parameters): Row | undefined {
    this.#check()
    const { guard, statements } = this.#connection
    try {
      return guard.enforce(() => statements.get(sql, parameters))
    } catch (error) {
      throw readError(error)
    }
  }

  table(sql: string, parameters?: Parameters, limits?: TableLimits): Table {
    this.#check()
    const { guard, statements } = this.#connection
    try {
      return guard.enforce(() => statements.table(sql, parameters, limits))
    } catch (error) {
      throw readError(error)
    }
  }

  /** The callback is over. */
  end(): void {
    this.#open = false
  }

  #check(): void {
    if (!this.#open) throw closedError('This read is over: its callback has returned.')
  }
}

/** `TRANSACTION_LOST`: SQLite rolled the whole group back by itself. */
export function transactionLost(cause: unknown): UnderstudyError {
  const text = cause instanceof Error ? cause.message : String(cause)
  const advice = isSqlite(cause, SQLITE_CODES.FULL)
    ? 'Free some space, then write again.'
    : isFailedSync(cause) || isSqlite(cause, SQLITE_CODES.IOERR)
      ? 'Check the disk, then write again.'
      : 'Do not use INSERT OR ROLLBACK or RAISE(ROLLBACK): they undo the writes of others too. ABORT or FAIL undo only their own.'
  return new UnderstudyError(
    'TRANSACTION_LOST',
    `SQLite ended the transaction of the group by itself: ${text}. None of the group's writes happened, and nothing was logged. ${advice}`,
    { cause, sqliteCode: sqliteCode(cause) },
  )
}

function readError(error: unknown): unknown {
  if (isUnsafeSchema(error)) return unsafeSchema(error)
  if (!isSqlite(error, SQLITE_CODES.READONLY)) return error
  return new UnderstudyError(
    'WRITE_FORBIDDEN',
    'A read callback ran a statement that writes. It was not run. Use write() on the leader.',
    { cause: error },
  )
}
