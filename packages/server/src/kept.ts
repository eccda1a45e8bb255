/**
 * What a node keeps for one client between two requests: prepared statements, transactions, streams of rows.
 *
 * Decides: how much is kept, what each request does to it. Leaves to others: statements and transactions themselves (`ClientHandlers`),
 * how long something is open (held), who may ask (access).
 *
 * 1. Everything kept ends with its connection: transactions are rolled back, views let go of.
 * 2. A prepared statement is a text, so that no change of the schema makes it wrong. Those used longest ago make room.
 * 3. A view is kept for the time that its client asked for, cut to `timeoutMsMax`, and for `heldIdleMs` without a request. A
 *    transaction that writes has the limits of the leader.
 * 4. Pages go in the order in which they were asked for. Each fetch is credit for one, so that a slow client holds back its stream,
 *    and no more than that many pages are ever in memory.
 */
import { UnderstudyError, type Clock } from '@understudy/contracts'
import type { ResponseBody, SqlRequestBody, SqlStatement } from '@understudy/protocol'
import { withoutRows } from './access.ts'
import type { ClientHandlers, OpenRead, OpenWrite, RowCursor } from './handlers.ts'
import { Handles, Held, handleUnknown } from './held.ts'
import type { ServerLimits } from './limits.ts'

export interface KeptOptions {
  readonly handlers: ClientHandlers
  readonly limits: ServerLimits
  readonly clock: Clock
  /** Whether the client may see rows. */
  readonly mayRead: boolean
}

type Of<K extends SqlRequestBody['kind']> = Extract<SqlRequestBody, { readonly kind: K }>
type Transaction =
  | { readonly kind: 'read'; readonly tx: OpenRead }
  | { readonly kind: 'write'; readonly tx: OpenWrite }
/** A stream has a view of its own, unless it is of a transaction. */
interface Stream {
  readonly cursor: RowCursor
  readonly seen: Pick<OpenRead, 'position' | 'proof'>
  readonly close: () => void
}

/** UTF-16 units of all prepared texts of a client. */
const PREPARED_LENGTH_MAX = 4 * 1024 * 1024
/** Rows of a page when the client does not say. */
const PAGE_ROWS = 256

const NOTHING: ResponseBody = Object.freeze({ kind: 'results', results: Object.freeze([]) })

const LAST: ResponseBody = Object.freeze({
  kind: 'page',
  columns: Object.freeze([]),
  rows: Object.freeze([]),
  isLast: true,
})

export class Kept {
  readonly #options: KeptOptions
  /** In the order of their last use. */
  readonly #prepared = new Map<number, string>()
  #preparedLength = 0
  readonly #transactions = new Handles<Transaction>('transaction')
  readonly #streams = new Handles<Stream>('stream')

  constructor(options: KeptOptions) {
    this.#options = options
  }

  async answer(body: SqlRequestBody): Promise<ResponseBody> {
    switch (body.kind) {
      case 'prepare':
        return this.#prepare(body)
      case 'unprepare':
        this.#forget(body.prepared)
        return NOTHING
      case 'begin':
        return this.#begin(body)
      case 'run':
        return this.#run(body)
      case 'end':
        return body.commit ? this.#commit(body) : this.#rollBack(body)
      case 'open':
        return this.#open(body)
      case 'fetch':
        return this.#page(this.#streams.known(body.stream), body)
      case 'cancel':
        await this.#streams.take(body.stream)?.end()
        return NOTHING
    }
  }

  /** The statement with its text, where it was prepared. Throws `HANDLE_UNKNOWN`. */
  resolved(statement: SqlStatement): SqlStatement {
    const { prepared, ...rest } = statement
    if (prepared === undefined) return statement
    const sql = this.#prepared.get(prepared)
    if (sql === undefined) throw handleUnknown('prepared statement', prepared)
    this.#prepared.delete(prepared)
    this.#prepared.set(prepared, sql)
    return { ...rest, sql }
  }

  /** The client is gone. */
  close(): void {
    this.#streams.endAll()
    this.#transactions.endAll()
    this.#prepared.clear()
  }

  async #prepare({ prepared, sql }: Of<'prepare'>): Promise<ResponseBody> {
    const { handlers, limits, mayRead } = this.#options
    if (sql.length > PREPARED_LENGTH_MAX)
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `The statement is longer than ${PREPARED_LENGTH_MAX} characters, too long to be kept. It was not prepared; run it as it is.`,
      )
    const { columns, parameters, readOnly } = await handlers.describe(sql)
    this.#forget(prepared)
    this.#prepared.set(prepared, sql)
    this.#preparedLength += sql.length
    for (const oldest of this.#prepared.keys()) {
      if (this.#prepared.size <= limits.preparedMax && this.#preparedLength <= PREPARED_LENGTH_MAX) break
      this.#forget(oldest)
    }
    return { kind: 'prepared', columns: mayRead ? columns : [], parameters, readOnly }
  }

  #forget(prepared: number): void {
    this.#preparedLength -= this.#prepared.get(prepared)?.length ?? 0
    this.#prepared.delete(prepared)
  }

  async #begin(body: Of<'begin'>): Promise<ResponseBody> {
    const { transaction, readOnly, ack, of, ackTimeoutMs } = body
    const after = body.after && { ...body.after, ...body.afterProof }
    const { handlers, limits, clock } = this.#options
    this.#transactions.assertFree(transaction)
    this.#assertRoom()
    const waitMs = Math.min(body.waitMs, limits.timeoutMsMax)
    const timeoutMs = Math.min(body.timeoutMs, limits.timeoutMsMax)
    const asks = {
      ...(ack && { ack }),
      ...(of && { of }),
      ...(ackTimeoutMs !== undefined && { ackTimeoutMs: Math.min(ackTimeoutMs, limits.timeoutMsMax) }),
    }
    const open = async (signal: AbortSignal): Promise<Transaction> =>
      readOnly
        ? { kind: 'read', tx: await handlers.openRead({ after, waitMs, signal }) }
        : { kind: 'write', tx: await handlers.openWrite({ ...asks, timeoutMs, waitMs, signal }) }
    const limited = readOnly ? { timeoutMs, idleMs: limits.heldIdleMs } : {}
    const held = new Held({ clock, what: 'transaction', open, close: closeTransaction, ...limited })
    this.#transactions.add(transaction, held)
    const opened = await held.opened
    const { position } = opened.tx
    const proof = opened.kind === 'read' ? opened.tx.proof : undefined
    return { kind: 'results', results: [], ...(position && { position }), ...(proof && { proof }) }
  }

  async #run({ transaction, statement, bigints }: Of<'run'>): Promise<ResponseBody> {
    const { limits, mayRead } = this.#options
    const held = this.#transactions.known(transaction)
    const { sql, parameters } = this.resolved(statement)
    const { tx } = await held.opened
    held.used()
    const result = tx.run(
      { sql, parameters },
      {
        rowsMax: limits.rowsMax,
        bytesMax: limits.resultBytesMax,
        ...(bigints === true && { bigints }),
      },
    )
    return { kind: 'results', results: [mayRead ? result : withoutRows(result)] }
  }

  async #commit({ transaction }: Of<'end'>): Promise<ResponseBody> {
    const held = this.#transactions.known(transaction)
    this.#transactions.take(transaction)
    const opened = await held.opened
    if (opened.kind === 'read') {
      await held.end()
      return NOTHING
    }
    held.release()
    const { results, position, ...says } = await opened.tx.commit()
    return { kind: 'results', results, ...(position && { position }), ...says }
  }

  /** Of one that is over already nothing is said: it left nothing. */
  async #rollBack({ transaction }: Of<'end'>): Promise<ResponseBody> {
    // What is answered is done: whoever writes next does not find it open.
    await this.#transactions.take(transaction)?.end()
    return NOTHING
  }

  async #open(body: Of<'open'>): Promise<ResponseBody> {
    const { limits, clock } = this.#options
    const { stream, transaction, bigints = false } = body
    this.#streams.assertFree(stream)
    this.#assertRoom()
    const within = transaction === undefined ? undefined : this.#transactions.known(transaction)
    const { sql, parameters } = this.resolved(body.statement)
    const waitMs = Math.min(body.waitMs, limits.timeoutMsMax)
    const open = async (signal: AbortSignal): Promise<Stream> => {
      const view = await this.#view(within, body, waitMs, signal)
      const close = (): void => (within === undefined ? view.close() : undefined)
      try {
        const cursor = view.cursor({ sql, parameters }, { bigints })
        return { cursor, seen: view, close: () => (cursor.close(), close()) }
      } catch (error) {
        close()
        throw error
      }
    }
    const held = new Held({
      clock,
      what: 'stream',
      open,
      close: ({ close }) => close(),
      timeoutMs: Math.min(body.timeoutMs, limits.timeoutMsMax),
      idleMs: limits.heldIdleMs,
    })
    this.#streams.add(stream, held)
    const { seen } = await held.opened
    return this.#page(held, body, seen)
  }

  /** The view of a transaction, or one of its own. */
  async #view(
    within: Held<Transaction> | undefined,
    body: Of<'open'>,
    waitMs: number,
    signal: AbortSignal,
  ): Promise<OpenRead> {
    const after = body.after && { ...body.after, ...body.afterProof }
    if (within === undefined) return this.#options.handlers.openRead({ after, waitMs, signal })
    const opened = await within.opened
    within.used()
    if (opened.kind === 'read') return opened.tx
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      'A transaction that writes has no streams: other writes would wait for whoever reads it. Nothing was read; run the statement in it, or stream outside of it.',
    )
  }

  async #page(
    held: Held<Stream>,
    { stream, ...asked }: Of<'open'> | Of<'fetch'>,
    { position, proof }: Stream['seen'] = { position: undefined },
  ): Promise<ResponseBody> {
    const { limits } = this.#options
    const { cursor } = await held.opened
    // Credit that was given before its last page came.
    if (held.isEnded && held.over === undefined) return LAST
    try {
      if (held.over !== undefined) throw held.over
      held.used()
      const page = cursor.next({
        rowsMax: Math.min(asked.rowsMax || PAGE_ROWS, limits.rowsMax),
        bytesMax: Math.min(asked.bytesMax || limits.resultBytesMax, limits.resultBytesMax),
      })
      if (page.isLast) void this.#streams.take(stream)?.end()
      return { kind: 'page', ...page, ...(position && { position }), ...(proof && { proof }) }
    } catch (error) {
      void this.#streams.take(stream)?.end()
      throw error
    }
  }

  #assertRoom(): void {
    const { heldMax } = this.#options.limits
    if (this.#transactions.open + this.#streams.open < heldMax) return
    throw new UnderstudyError(
      'OVERLOADED',
      `This client has ${heldMax} streams and transactions open; this one was not opened. End one of them first.`,
      { heldMax },
    )
  }
}

function closeTransaction(opened: Transaction): void | Promise<void> {
  return opened.kind === 'read' ? opened.tx.close() : opened.tx.rollback()
}
