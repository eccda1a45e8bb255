/**
 * The pool of connections that read.
 *
 * Decides: which callback gets which reader, and when. Leaves to others: what a reader may run (`guard.ts`).
 *
 * 1. Each callback has a reader of its own, in one read transaction, until it returns or its promise settles.
 * 2. With a free reader the callback runs at once, in the turn of the call; else callbacks wait in the order they came.
 * 3. Readers are opened when first needed, and never closed before the pool is.
 */
import type { StatementSync } from 'node:sqlite'
import type { Connection } from './connection.ts'
import { closedError } from './errors.ts'
import { SqliteReadTransaction, type SqliteRead } from './transactions.ts'

interface Reader {
  readonly connection: Connection
  readonly begin: StatementSync
  readonly end: StatementSync
  readonly era: number
}

export class ReaderPool {
  readonly #open: () => Connection
  readonly #readersMax: number
  readonly #free: Reader[] = []
  readonly #waiting: { take(reader: Reader): void; fail(error: Error): void }[] = []
  readonly #active = new Map<Reader, SqliteReadTransaction>()
  #opened = 0
  #era = 0
  #closed: (() => void) | undefined

  constructor(open: () => Connection, readersMax: number) {
    this.#open = open
    this.#readersMax = readersMax
  }

  /** Callbacks that have a reader, or wait for one. */
  get busy(): number {
    return this.#opened - this.#free.length + this.#waiting.length
  }

  async read<R>(body: (tx: SqliteRead) => R | Promise<R>): Promise<Awaited<R>> {
    const reader = this.#take() ?? (await this.#wait())
    const tx = new SqliteReadTransaction(reader.connection)
    this.#active.set(reader, tx)
    try {
      reader.connection.guard.internal(() => reader.begin.run())
      try {
        return await body(tx)
      } finally {
        tx.end()
        if (this.#active.has(reader)) reader.connection.guard.internal(() => reader.end.run())
      }
    } finally {
      if (this.#active.delete(reader)) this.#release(reader)
    }
  }

  /** Opens every connection anew: a schema that was undone may come again under the same number, as another one. */
  renew(): void {
    this.#era++
    for (const { connection } of this.#free.splice(0)) this.#shut(connection)
  }

  /** Ends the pool once every callback is over; those that wait fail with `CLOSED`. */
  async close(): Promise<void> {
    if (this.#closed !== undefined) return
    const over = new Promise<void>((resolve) => (this.#closed = resolve))
    for (const waiting of this.#waiting.splice(0))
      waiting.fail(closedError('The storage was closed before the read began.'))
    for (const { connection } of this.#free.splice(0)) this.#shut(connection)
    if (this.#opened > 0) await over
  }

  /** Ends the pool without waiting for callbacks, which find their transaction over. */
  async end(): Promise<void> {
    const closing = this.close()
    for (const [reader, tx] of this.#active) {
      this.#active.delete(reader)
      tx.end()
      this.#shut(reader.connection)
    }
    await closing
  }

  #take(): Reader | undefined {
    if (this.#closed !== undefined) throw closedError('The storage is closed.')
    const free = this.#free.pop()
    if (free !== undefined || this.#opened >= this.#readersMax) return free
    const connection = this.#open()
    this.#opened++
    const { database } = connection
    return { connection, begin: database.prepare('begin'), end: database.prepare('commit'), era: this.#era }
  }

  async #wait(): Promise<Reader> {
    return new Promise((take, fail) => this.#waiting.push({ take, fail }))
  }

  #release(reader: Reader): void {
    if (this.#closed !== undefined) return this.#shut(reader.connection)
    if (reader.era !== this.#era) return this.#replace(reader)
    const next = this.#waiting.shift()
    if (next === undefined) this.#free.push(reader)
    else next.take(reader)
  }

  #replace(reader: Reader): void {
    this.#shut(reader.connection)
    const next = this.#waiting.shift()
    if (next === undefined) return
    try {
      next.take(this.#take() as Reader)
    } catch (error) {
      next.fail(error as Error)
    }
  }

  #shut(connection: Connection): void {
    connection.close()
    this.#opened--
    if (this.#opened === 0) this.#closed?.()
  }
}
