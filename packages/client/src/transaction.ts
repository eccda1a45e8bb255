/**
 * A transaction that stays open while its callback waits for answers.
 *
 * Decides: when it ends, and what its caller learns. Leaves to others: its limits (the node), the connection (requests).
 *
 * 1. A callback that fails rolls it back, and so does a begin whose answer did not come: the handle is the client's, so that it can
 *    be given up before it is known to be open.
 * 2. A commit that was sent and not answered is `OUTCOME_UNKNOWN`. Anything before it is `NOT_WRITTEN`'s kind: nothing is kept.
 */
import {
  ORIGIN,
  UnderstudyError,
  type AckLevel,
  type Position,
  type PositionProof,
  type Receipt,
} from '@understudy/contracts'
import type { FollowerSet, ResultSet, SqlStatement, Value } from '@understudy/protocol'
import type { Calls } from './calls.ts'
import { afterAsks, type After } from './after.ts'
import type { PreparedStatement } from './prepared.ts'
import { ArrayStream, ObjectStream, type RowStream } from './row-stream.ts'
import { checkIntegers, integersOf, toObjects, type Integers, type Row } from './rows.ts'
import { streamAsks, type IterateOptions } from './streams.ts'

export interface TransactionOptions {
  /** How long it may be open, in milliseconds. Default 5,000. The leader has a limit of its own. */
  readonly timeoutMs?: number
  /** How long it may wait for its turn among the writes, or for `after`, in milliseconds. Default: that of `connect`. */
  readonly waitMs?: number
  /** One view of any node instead of a write on the leader. Default false. */
  readonly readOnly?: boolean
  /** Read-only: as of a read. */
  readonly after?: After | undefined
  /** Of a write: see `WriteOptions`. */
  readonly ack?: AckLevel
  readonly of?: FollowerSet
  readonly ackTimeoutMs?: number
  /** What integers become. Default `auto`. */
  readonly bigint?: Integers
  /** Gives it up: rolled back, and `ABORTED`. */
  readonly signal?: AbortSignal
}

export interface TransactionReply<R> {
  readonly value: R
  /** Of the record that holds it; of one that only reads, what it saw. */
  readonly position: Position | undefined
  readonly receipt: Receipt | undefined
  /** Of one that only reads: what tells the record at `position` from another in its place. */
  readonly proof?: PositionProof
}

/** SQL, or a statement of the same client that was prepared. */
export type Sql = string | PreparedStatement

/** What the callback of a transaction gets; dead when the callback is over. */
export interface ClientTransaction {
  /** What it saw when it began. */
  readonly position: Position
  all(sql: Sql, params?: readonly Value[]): Promise<Row[]>
  get(sql: Sql, params?: readonly Value[]): Promise<Row | undefined>
  /** The result by place, and how many rows were changed. */
  run(sql: Sql, params?: readonly Value[]): Promise<ResultSet>
  /** Of a transaction that only reads. */
  iterate(sql: Sql, params?: readonly Value[], options?: IterateOptions): RowStream<Row>
}

const OPEN_MS = 5000

export async function runTransaction<R>(
  calls: Calls,
  body: (tx: ClientTransaction) => R | Promise<R>,
  options: TransactionOptions,
): Promise<TransactionReply<Awaited<R>>> {
  const transaction = calls.nextHandle()
  const integers = integersOf(options.bigint)
  const { position = ORIGIN, proof } = await begin(calls, transaction, options)
  const tx = new OpenTransaction(calls, { transaction, position, integers, signal: options.signal })
  let value: Awaited<R>
  try {
    value = await body(tx)
    // A callback that swallowed the abort must not be committed.
    if (options.signal?.aborted === true) throw aborted(options.signal)
  } catch (error) {
    tx.end()
    await giveUp(calls, transaction)
    throw error
  }
  tx.end()
  const { position: at, receipt } = await commit(calls, transaction, options)
  if (options.readOnly !== true) return { value, position: at, receipt }
  return { value, position, receipt: undefined, ...(proof && { proof }) }
}

async function commit(
  calls: Calls,
  transaction: number,
  { signal, ackTimeoutMs = 0 }: TransactionOptions,
): Promise<Pick<TransactionReply<unknown>, 'position' | 'receipt'>> {
  const waiting = { timeoutMs: calls.timeoutMs + ackTimeoutMs, signal }
  try {
    const body = { kind: 'end', transaction, commit: true } as const
    const { position, receipt } = await calls.ask('results', body, waiting)
    return { position, receipt }
  } catch (error) {
    // Where the node refused to commit it is open still, and others wait.
    void giveUp(calls, transaction)
    throw error
  }
}

async function begin(
  { ask, timeoutMs: defaultMs, travelMs, ...rest }: Calls,
  transaction: number,
  options: TransactionOptions,
): Promise<{ readonly position: Position | undefined; readonly proof?: PositionProof }> {
  const { timeoutMs = OPEN_MS, waitMs = defaultMs, readOnly = false, signal } = options
  const { after, ack, of, ackTimeoutMs } = options
  try {
    const { position, proof } = await ask(
      'results',
      {
        kind: 'begin',
        transaction,
        readOnly,
        timeoutMs,
        waitMs,
        ...afterAsks(after),
        ...(ack && { ack }),
        ...(of && { of }),
        ...(ackTimeoutMs !== undefined && { ackTimeoutMs }),
      },
      { timeoutMs: waitMs + travelMs, signal },
    )
    return { position, ...(proof && { proof }) }
  } catch (error) {
    void giveUp({ ask, timeoutMs: defaultMs, travelMs, ...rest }, transaction)
    throw error
  }
}

/** Rolls back. Where that cannot be said the node does it by itself. */
async function giveUp({ ask, timeoutMs }: Calls, transaction: number): Promise<void> {
  await ask('results', { kind: 'end', transaction, commit: false }, { timeoutMs }).catch(() => {})
}

class OpenTransaction implements ClientTransaction {
  readonly position: Position
  readonly #calls: Calls
  readonly #of: {
    readonly transaction: number
    readonly integers: Integers
    readonly signal: AbortSignal | undefined
  }
  #isOver = false

  constructor(
    calls: Calls,
    of: {
      readonly transaction: number
      readonly position: Position
      readonly integers: Integers
      readonly signal: AbortSignal | undefined
    },
  ) {
    this.#calls = calls
    this.#of = of
    this.position = of.position
  }

  async all(sql: Sql, params?: readonly Value[]): Promise<Row[]> {
    const { columns, rows } = await this.run(sql, params)
    return toObjects(columns, rows)
  }

  async get(sql: Sql, params?: readonly Value[]): Promise<Row | undefined> {
    return (await this.all(sql, params))[0]
  }

  async run(sql: Sql, params: readonly Value[] = []): Promise<ResultSet> {
    this.#check()
    const { transaction, integers, signal } = this.#of
    const { ask, timeoutMs } = this.#calls
    const bigints = integers === 'bigint' ? { bigints: true } : {}
    const { results } = await sent(sql, params, this.#calls, (statement) =>
      ask('results', { kind: 'run', transaction, statement, ...bigints }, { timeoutMs, signal }),
    )
    const [result = { columns: [], rows: [], changes: 0 }] = results
    checkIntegers(result.columns, result.rows, integers)
    return result
  }

  iterate(sql: Sql, params: readonly Value[] = [], options: IterateOptions = {}): RowStream<Row> {
    this.#check()
    const { transaction, integers, signal } = this.#of
    const asked = { bigint: integers, ...(signal && { signal }), ...options }
    const asks = streamAsks(this.#calls, asked, (use) => sent(sql, params, this.#calls, use))
    return new ObjectStream(new ArrayStream(this.#calls, { ...asks, transaction }))
  }

  end(): void {
    this.#isOver = true
  }

  #check(): void {
    if (this.#isOver)
      throw new UnderstudyError(
        'CLOSED',
        'This transaction is over: its callback has returned. Nothing was sent.',
      )
  }
}

/** Sends a statement as text, or as one that was prepared. */
function sent<R>(
  sql: Sql,
  parameters: readonly Value[],
  on: Calls,
  use: (statement: SqlStatement) => Promise<R>,
): Promise<R> {
  return typeof sql === 'string' ? use({ sql, parameters }) : sql.sent(parameters, on, use)
}

function aborted(signal: AbortSignal): UnderstudyError {
  return new UnderstudyError('ABORTED', 'The transaction was aborted and rolled back; it left no trace.', {
    cause: signal.reason,
  })
}
