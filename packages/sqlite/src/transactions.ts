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
import type { RowCursor, StatementShape } from './cursor.ts'
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

/** What a read callback of this storage gets beside what every one gets. */
export interface SqliteRead extends ReadTransaction {
  /** The result in parts, for as long as the read. `bigints`: integers come as bigints, of whatever size. */
  cursor(sql: string, parameters?: Parameters, options?: { readonly bigints?: boolean }): RowCursor
  /** What is known of a statement, whatever it would do; it is not run. */
  describe(sql: string): StatementShape
}

/** A read's view of one reader. */
export class SqliteReadTransaction implements SqliteRead {
  readonly #connection: Connection
  readonly #cursors = new Set<RowCursor>()
  #open = true

  constructor(connection: Connection) {
    this.#connection = connection
  }

  all(sql: string, parameters?: Parameters): Row[] {
    return this.#guarded(() => this.#connection.statements.all(sql, parameters))
  }

  get(sql: string, parameters?: Parameters): Row | undefined {
    return this.#guarded(() => this.#connection.statements.get(sql, parameters))
  }

  table(sql: string, parameters?: Parameters, limits?: TableLimits): Table {
    return this.#guarded(() => this.#connection.statements.table(sql, parameters, limits))
  }

  cursor(sql: string, parameters?: Parameters, options?: { readonly bigints?: boolean }): RowCursor {
    const { statements } = this.#connection
    const cursor = this.#guarded(() => statements.cursor(sql, parameters, options))
    this.#cursors.add(cursor)
    const close = (): void => {
      this.#cursors.delete(cursor)
      cursor.close()
    }
    return {
      columns: cursor.columns,
      next: (limits) => {
        const part = this.#guarded(() => cursor.next(limits))
        if (part.isLast) close()
        return part
      },
      close,
    }
  }

  describe(sql: string): StatementShape {
    return this.#guarded(() => this.#connection.statements.describe(sql))
  }

  /** The callback is over. A statement that is open would keep its snapshot beyond COMMIT. */
  end(): void {
    this.#open = false
    for (const cursor of this.#cursors) cursor.close()
    this.#cursors.clear()
  }

  #guarded<R>(run: () => R): R {
    this.#check()
    try {
      return this.#connection.guard.enforce(run)
    } catch (error) {
      throw readError(error)
    }
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
