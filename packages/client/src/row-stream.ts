/**
 * A result of any size, page by page.
 *
 * Decides: how many pages are asked for ahead, when a stream ends. Leaves to others: the view that it is of (the node).
 *
 * 1. At most `PAGES_AHEAD` pages are asked for before the one in hand is used up: that much is in memory, whatever the result.
 * 2. Its view at the node is let go of at the last page, when the loop is left, and when anything fails.
 * 3. Nothing is sent before the first row is asked for, and a stream is read once.
 */
import { UnderstudyError, type Position, type PositionProof } from '@understudy/contracts'
import type { SqlStatement, Value } from '@understudy/protocol'
import type { Calls } from './calls.ts'
import { afterAsks, type After } from './after.ts'
import { checkIntegers, toObjects, type Integers, type Row } from './rows.ts'

/** A part of a result. */
export interface RowBatch<R> {
  readonly columns: readonly string[]
  readonly rows: readonly R[]
}

/** Rows one by one with `for await`, or some at a time with `batches()`, which costs no promise for each. */
export interface RowStream<R> extends AsyncIterable<R> {
  batches(): AsyncIterable<RowBatch<R>>
  /** What the node had applied when the stream began, and what tells that record from another; `undefined` before. */
  readonly position: Position | undefined
  readonly proof: PositionProof | undefined
}

export interface StreamAsks {
  /** Runs with the statement as it is to be sent; again where the node had forgotten that it was prepared. */
  readonly statement: <R>(use: (statement: SqlStatement) => Promise<R>) => Promise<R>
  readonly after: After | undefined
  readonly waitMs: number
  readonly openMs: number
  readonly batchRows: number
  readonly batchBytes: number
  readonly integers: Integers
  readonly transaction?: number
  readonly signal?: AbortSignal | undefined
}

const PAGES_AHEAD = 1

interface Page {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly Value[])[]
  readonly isLast: boolean
}

/** Rows of a stream as arrays. */
export class ArrayStream implements RowStream<readonly Value[]> {
  position: Position | undefined
  proof: PositionProof | undefined
  readonly #calls: Calls
  readonly #asks: StreamAsks
  #isRead = false

  constructor(calls: Calls, asks: StreamAsks) {
    this.#calls = calls
    this.#asks = asks
  }

  async *batches(): AsyncGenerator<RowBatch<readonly Value[]>> {
    if (this.#isRead) throw readTwice()
    this.#isRead = true
    const stream = this.#calls.nextHandle()
    const { integers } = this.#asks
    const ahead: Promise<Page>[] = []
    let isOver = false
    try {
      let page = await this.#open(stream)
      for (;;) {
        isOver = page.isLast
        checkIntegers(page.columns, page.rows, integers)
        if (!isOver) while (ahead.length < PAGES_AHEAD) ahead.push(this.#fetch(stream))
        yield { columns: page.columns, rows: page.rows }
        const next = ahead.shift()
        if (isOver || next === undefined) return
        page = await next
      }
    } finally {
      // The node frees the handle at the last page by itself.
      if (!isOver) await this.#cancel(stream)
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<readonly Value[]> {
    for await (const { rows } of this.batches()) yield* rows
  }

  async #open(stream: number): Promise<Page> {
    const { statement, after, waitMs, openMs, batchRows, batchBytes, integers, transaction, signal } =
      this.#asks
    const { ask, travelMs } = this.#calls
    const page = await statement((sent) =>
      ask(
        'page',
        {
          kind: 'open',
          stream,
          statement: sent,
          waitMs,
          timeoutMs: openMs,
          rowsMax: batchRows,
          bytesMax: batchBytes,
          ...afterAsks(after),
          ...(integers === 'bigint' && { bigints: true }),
          ...(transaction !== undefined && { transaction }),
        },
        { timeoutMs: waitMs + travelMs, signal },
      ),
    )
    this.position = page.position
    this.proof = page.proof
    return page
  }

  #fetch(stream: number): Promise<Page> {
    const { batchRows, batchBytes, signal } = this.#asks
    const { ask, timeoutMs } = this.#calls
    const body = { kind: 'fetch', stream, rowsMax: batchRows, bytesMax: batchBytes } as const
    const page = ask('page', body, { timeoutMs, signal })
    // Whoever leaves the loop does not wait for it.
    page.catch(() => {})
    return page
  }

  async #cancel(stream: number): Promise<void> {
    const { ask, timeoutMs } = this.#calls
    await ask('results', { kind: 'cancel', stream }, { timeoutMs }).catch(() => {})
  }
}

/** The same with rows as objects. */
export class ObjectStream implements RowStream<Row> {
  readonly #arrays: RowStream<readonly Value[]>

  constructor(arrays: RowStream<readonly Value[]>) {
    this.#arrays = arrays
  }

  get position(): Position | undefined {
    return this.#arrays.position
  }

  get proof(): PositionProof | undefined {
    return this.#arrays.proof
  }

  async *batches(): AsyncGenerator<RowBatch<Row>> {
    for await (const { columns, rows } of this.#arrays.batches())
      yield { columns, rows: toObjects(columns, rows) }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Row> {
    for await (const { rows } of this.batches()) yield* rows
  }
}

function readTwice(): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    'A stream of rows is read once, and this one was begun already. Nothing was sent; ask for the rows again.',
  )
}
