/**
 * Transactions, streams and prepared statements of a client of a cluster.
 *
 * Decides: which node each is of, and that none is begun twice. Leaves to others: finding nodes (router), the calls themselves (connect).
 *
 * 1. What has begun is never begun anew elsewhere: a callback has effects of its own, and a loop has used rows already.
 * 2. They see what the session has seen, and the session sees what they saw.
 */
import { UnderstudyError, isUnderstudyError, type Position, type PositionProof } from '@understudy/contracts'
import type { StatementShape, Value } from '@understudy/protocol'
import type { CallOptions } from './client.ts'
import {
  checkPreference,
  type ClusterIterateOptions,
  type ClusterReadOptions,
  type ClusterSettings,
  type ClusterTransactionOptions,
} from './cluster-options.ts'
import type { NodeClient } from './connect.ts'
import { isFromPeer, outcomeOfCommand } from './outcomes.ts'
import type { Router } from './router.ts'
import type { RowBatch, RowStream } from './row-stream.ts'
import { formatToken, lostToken, type Token } from './tokens.ts'
import type { ClientTransaction, TransactionReply } from './transaction.ts'

export interface ClusterSqlParts {
  readonly settings: ClusterSettings
  readonly router: Router
  /** The highest position that must be seen, of what the session has seen and what is asked for. */
  readonly highest: (after: ClusterReadOptions['after']) => Token | undefined
  readonly tokenOf: (seen: Seen) => Token | undefined
  readonly saw: (token: Token) => void
  /** Of a node that shows the highest position: whether it holds the others too. Rejects with `POSITION_LOST`. */
  readonly assertHeld: (node: NodeClient, after: ClusterReadOptions['after']) => Promise<void>
  /** The time and the signal of a call. */
  readonly call: (options: CallOptions) => {
    readonly timeoutMs: number
    readonly signal: AbortSignal | undefined
  }
}

/** What an answer says of its position. */
export interface Seen {
  readonly position: Position | undefined
  readonly proof?: PositionProof | undefined
}

export class ClusterSql {
  readonly #parts: ClusterSqlParts

  constructor(parts: ClusterSqlParts) {
    this.#parts = parts
  }

  async transaction<R>(
    body: (tx: ClientTransaction) => R | Promise<R>,
    options: ClusterTransactionOptions,
  ): Promise<TransactionReply<Awaited<R>> & { readonly node: string; readonly token: string | undefined }> {
    const { settings, router, highest, tokenOf, saw, call, assertHeld } = this.#parts
    const { prefer = settings.prefer, after, waitMs, signal, ...asks } = options
    checkPreference(prefer)
    const { timeoutMs: findMs } = call({
      ...(waitMs !== undefined && { timeoutMs: waitMs }),
      ...(signal && { signal }),
    })
    const token = asks.readOnly === true ? highest(after) : undefined
    let hasBegun = false
    const begin = async (
      node: NodeClient,
      leftMs: number,
    ): Promise<[TransactionReply<Awaited<R>>, string]> => {
      const run = async (tx: ClientTransaction): Promise<R> => {
        if (token !== undefined) await assertHeld(node, after)
        hasBegun = true
        return body(tx)
      }
      const of = { ...asks, waitMs: Math.max(0, Math.floor(leftMs)), ...(signal && { signal }) }
      return [await node.transaction(run, { ...of, ...(token && { after: token }) }), node.node]
    }
    const [reply, node] = await this.#unlessLost(token, () =>
      asks.readOnly === true
        ? router.read((found, { waitMs: leftMs }) => begin(found, leftMs), {
            timeoutMs: findMs,
            signal,
            prefer,
            hasBegun: () => hasBegun,
          })
        : router.onLeader((found, { timeoutMs }) => begin(found, timeoutMs), {
            timeoutMs: findMs,
            signal,
            what: 'transaction',
            outcomeOf: (error) => (hasBegun ? 'answer' : outcomeOfCommand(error)),
            isRepeatable: false,
            isForwardable: false,
          }),
    )
    const { receipt } = reply
    const seen = tokenOf({ position: reply.position, proof: receipt ?? reply.proof })
    if (seen !== undefined && seen.lsn > 0) saw(seen)
    return { ...reply, node, token: seen && formatToken(seen) }
  }

  stream(sql: string, params: readonly Value[], options: ClusterIterateOptions): RowStream<readonly Value[]> {
    return new RoutedStream((started) => this.#batches(sql, params, options, started))
  }

  /** What a node knows of a statement. */
  async describe(sql: string, options: CallOptions): Promise<StatementShape> {
    const { settings, router, call } = this.#parts
    const { timeoutMs, signal } = call(options)
    const ask = async (node: NodeClient): Promise<StatementShape> => {
      await using statement = await node.prepare(sql, { ...(signal && { signal }) })
      const { columns, parameters, readOnly } = statement
      return { columns, parameters, readOnly }
    }
    return router.read(ask, { timeoutMs, signal, prefer: settings.prefer })
  }

  async *#batches(
    sql: string,
    params: readonly Value[],
    options: ClusterIterateOptions,
    started: (seen: Seen) => void,
  ): AsyncGenerator<RowBatch<readonly Value[]>> {
    const { settings, highest, tokenOf, saw, call, assertHeld } = this.#parts
    const { prefer = settings.prefer, after, waitMs, signal, ...asks } = options
    checkPreference(prefer)
    const { timeoutMs } = call({
      ...(waitMs !== undefined && { timeoutMs: waitMs }),
      ...(signal && { signal }),
    })
    const token = highest(after)
    const of = { ...asks, ...(signal && { signal }), ...(token && { after: token }) }
    const open = async (node: NodeClient, leftMs: number): Promise<Opened> => {
      const stream = node.iterateArrays(sql, params, { ...of, waitMs: Math.floor(leftMs) })
      const batches = stream.batches()[Symbol.asyncIterator]()
      const first = await batches.next()
      try {
        if (token !== undefined) await assertHeld(node, after)
      } catch (error) {
        await batches.return?.(undefined)
        throw error
      }
      return { stream, batches, first }
    }
    const { router } = this.#parts
    const opened = await this.#unlessLost(token, () =>
      // A read that is refused did nothing: the next node may begin it.
      router.read((node, { waitMs: leftMs }) => open(node, leftMs), {
        timeoutMs,
        signal,
        prefer,
        hasBegun: () => false,
      }),
    )
    const { stream, batches } = opened
    try {
      started(stream)
      const seen = tokenOf(stream)
      if (seen !== undefined) saw(seen)
      for (let next = opened.first; next.done !== true; next = await batches.next()) yield next.value
    } finally {
      await batches.return?.(undefined)
    }
  }

  async #unlessLost<R>(token: Token | undefined, run: () => Promise<R>): Promise<R> {
    try {
      return await run()
    } catch (error) {
      if (token === undefined || !isUnderstudyError(error, 'POSITION_LOST') || !isFromPeer(error)) throw error
      throw lostToken(token, 'the history of the node holds something else there', error)
    }
  }
}

interface Opened {
  readonly stream: RowStream<readonly Value[]>
  readonly batches: AsyncIterator<RowBatch<readonly Value[]>>
  readonly first: IteratorResult<RowBatch<readonly Value[]>>
}

/** A stream whose node is found when its first row is asked for. */
class RoutedStream implements RowStream<readonly Value[]> {
  readonly #open: (started: (seen: Seen) => void) => AsyncGenerator<RowBatch<readonly Value[]>>
  #seen: Seen | undefined
  #isRead = false

  constructor(open: (started: (seen: Seen) => void) => AsyncGenerator<RowBatch<readonly Value[]>>) {
    this.#open = open
  }

  get position(): Position | undefined {
    return this.#seen?.position
  }

  get proof(): PositionProof | undefined {
    return this.#seen?.proof
  }

  batches(): AsyncGenerator<RowBatch<readonly Value[]>> {
    if (this.#isRead) throw readTwice()
    this.#isRead = true
    return this.#open((seen) => (this.#seen = seen))
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<readonly Value[]> {
    for await (const { rows } of this.batches()) yield* rows
  }
}

function readTwice(): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    'A stream of rows is read once, and this one was begun already. Nothing was sent; ask for the rows again.',
  )
}
