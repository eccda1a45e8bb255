/**
 * A statement that the node knows by a number: its text is sent once, and its columns and parameters are known before it runs.
 *
 * Decides: when it is prepared anew. Leaves to others: how many the node keeps, and what it forgets.
 *
 * 1. A node that has forgotten it ran nothing. Then it is prepared anew, once, and where that does not last its text is sent.
 * 2. When the columns of a result are others than those known, the schema has changed: it is prepared anew, so that what is known is
 *    right again.
 */
import { UnderstudyError, isUnderstudyError } from '@understudy/contracts'
import type { ColumnShape, ResultSet, SqlStatement, StatementShape, Value } from '@understudy/protocol'
import type { Calls } from './calls.ts'
import type { ReadOptions, ReadReply, WriteOptions, WriteReply } from './client.ts'
import { ObjectStream, type RowStream } from './row-stream.ts'
import { toObjects, type Row } from './rows.ts'
import type { IterateOptions } from './streams.ts'

/** A statement prepared at a node. Its calls are those of the client, without the text. */
export interface PreparedStatement extends AsyncDisposable {
  readonly sql: string
  /** None for a statement that returns no rows, and for a client that may not read. */
  readonly columns: readonly ColumnShape[]
  /** Values that it takes. */
  readonly parameters: number
  /** It changes nothing, so that any node can run it. */
  readonly readOnly: boolean
  /** On the node as `read`. */
  table(params?: readonly Value[], options?: ReadOptions): Promise<ReadReply>
  all(params?: readonly Value[], options?: ReadOptions): Promise<Row[]>
  get(params?: readonly Value[], options?: ReadOptions): Promise<Row | undefined>
  iterate(params?: readonly Value[], options?: IterateOptions): RowStream<Row>
  /** As `iterate`, with rows as arrays. */
  iterateArrays(params?: readonly Value[], options?: IterateOptions): RowStream<readonly Value[]>
  /** On the leader as `write`. */
  run(params?: readonly Value[], options?: WriteOptions): Promise<WriteReply>
  /** Runs `use` with the statement as it is to be sent over `on`: on another connection than its own that is its text. */
  sent<R>(params: readonly Value[], on: Calls, use: (statement: SqlStatement) => Promise<R>): Promise<R>
  /** The node may forget it. Calls that come later reject with `CLOSED`. */
  close(): Promise<void>
}

/** The calls of a client that a prepared statement stands in for. */
export interface PreparedCalls {
  read(statement: SqlStatement, options: ReadOptions): Promise<ReadReply>
  write(statement: SqlStatement, options: WriteOptions): Promise<WriteReply>
  iterateArrays(
    params: readonly Value[],
    options: IterateOptions,
    statement: <R>(use: (sent: SqlStatement) => Promise<R>) => Promise<R>,
  ): RowStream<readonly Value[]>
}

/** Prepares `sql`. Rejects with `SQL_FAILED` when it cannot be compiled, and as every call does. */
export async function prepare(
  calls: Calls,
  through: PreparedCalls,
  sql: string,
  signal: AbortSignal | undefined,
): Promise<PreparedStatement> {
  const prepared = calls.nextHandle()
  const ask = async (given?: AbortSignal): Promise<StatementShape> => {
    const { columns, parameters, readOnly } = await calls.ask(
      'prepared',
      { kind: 'prepare', prepared, sql },
      { timeoutMs: calls.timeoutMs, signal: given },
    )
    return { columns, parameters, readOnly }
  }
  const forget = async (): Promise<void> => {
    await calls.ask('results', { kind: 'unprepare', prepared }, { timeoutMs: calls.timeoutMs })
  }
  return new Prepared(calls, { sql, prepared, shape: await ask(signal) }, through, ask, forget)
}

/** A statement without a handle: its text travels with each call, which may go to any node. `describe` asks one what it is. */
export async function prepareText(
  calls: PreparedCalls,
  sql: string,
  describe: () => Promise<StatementShape>,
): Promise<PreparedStatement> {
  return new Prepared(
    undefined,
    { sql, prepared: 0, shape: await describe() },
    calls,
    describe,
    async () => {},
  )
}

class Prepared implements PreparedStatement {
  readonly sql: string
  readonly #calls: Calls | undefined
  readonly #prepared: number
  readonly #through: PreparedCalls
  readonly #prepare: () => Promise<StatementShape>
  readonly #forget: () => Promise<void>
  #shape: StatementShape
  #again: Promise<void> | undefined
  #isClosed = false

  constructor(
    calls: Calls | undefined,
    of: { readonly sql: string; readonly prepared: number; readonly shape: StatementShape },
    through: PreparedCalls,
    again: () => Promise<StatementShape>,
    forget: () => Promise<void>,
  ) {
    this.#calls = calls
    this.sql = of.sql
    this.#prepared = of.prepared
    this.#shape = of.shape
    this.#through = through
    this.#prepare = again
    this.#forget = forget
  }

  get columns(): readonly ColumnShape[] {
    return this.#shape.columns
  }

  get parameters(): number {
    return this.#shape.parameters
  }

  get readOnly(): boolean {
    return this.#shape.readOnly
  }

  async table(params: readonly Value[] = [], options: ReadOptions = {}): Promise<ReadReply> {
    const reply = await this.#sent(params, (statement) => this.#through.read(statement, options))
    await this.#compare(reply)
    return reply
  }

  async all(params?: readonly Value[], options?: ReadOptions): Promise<Row[]> {
    const { columns, rows } = await this.table(params, options)
    return toObjects(columns, rows)
  }

  async get(params?: readonly Value[], options?: ReadOptions): Promise<Row | undefined> {
    return (await this.all(params, options))[0]
  }

  iterate(params?: readonly Value[], options?: IterateOptions): RowStream<Row> {
    return new ObjectStream(this.iterateArrays(params, options))
  }

  iterateArrays(params: readonly Value[] = [], options: IterateOptions = {}): RowStream<readonly Value[]> {
    this.#check()
    return this.#through.iterateArrays(params, options, (use) => this.#sent(params, use))
  }

  async run(params: readonly Value[] = [], options: WriteOptions = {}): Promise<WriteReply> {
    const reply = await this.#sent(params, (statement) => this.#through.write(statement, options))
    const [result] = reply.results
    if (result !== undefined) await this.#compare(result)
    return reply
  }

  sent<R>(parameters: readonly Value[], on: Calls, use: (statement: SqlStatement) => Promise<R>): Promise<R> {
    // The same number may be another statement there.
    return on === this.#calls ? this.#sent(parameters, use) : use({ sql: this.sql, parameters })
  }

  async #sent<R>(parameters: readonly Value[], use: (statement: SqlStatement) => Promise<R>): Promise<R> {
    this.#check()
    if (this.#prepared === 0) return use({ sql: this.sql, parameters })
    const known: SqlStatement = { sql: '', parameters, prepared: this.#prepared }
    try {
      return await use(known)
    } catch (error) {
      if (!isUnderstudyError(error, 'HANDLE_UNKNOWN')) throw error
      await this.#renew()
    }
    try {
      return await use(known)
    } catch (error) {
      if (!isUnderstudyError(error, 'HANDLE_UNKNOWN')) throw error
      // More statements are in use than the node keeps.
      return use({ sql: this.sql, parameters })
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    // A connection that is over has forgotten it already.
    await this.#forget().catch(() => {})
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #check(): void {
    if (this.#isClosed)
      throw new UnderstudyError(
        'CLOSED',
        'This prepared statement was closed. Nothing was sent; prepare it again.',
      )
  }

  /** Those that find it forgotten at the same time share one request. */
  async #renew(): Promise<void> {
    this.#again ??= this.#prepare()
      .then((shape) => void (this.#shape = shape))
      .finally(() => (this.#again = undefined))
    await this.#again
  }

  async #compare({ columns }: Pick<ResultSet, 'columns'>): Promise<void> {
    const known = this.#shape.columns
    const isSame = known.length === columns.length && known.every(({ name }, at) => name === columns[at])
    if (!isSame && columns.length > 0) await this.#renew()
  }
}
