/**
 * The database at one moment, for work that takes longer than a turn of the event loop.
 *
 * Decides: nothing but its own life. Valid until closed; holds back the restart of the log file, not its checkpoints.
 */
import type { LogPoint } from '@understudy/contracts'
import type { Connection } from './connection.ts'
import { digestTables, type DigestOptions, type TableDigest } from './digest.ts'
import { closedError } from './errors.ts'
import { readPosition } from './position.ts'
import { RowPager, type RowPage } from './row-pages.ts'

export class FrozenView implements AsyncDisposable {
  /** The position as of this view; of a physical storage that is ahead, the one before. */
  readonly point: LogPoint
  readonly #connection: Connection
  readonly #released: (view: FrozenView) => void
  readonly #abort = new AbortController()
  #pager: RowPager | undefined
  #working: Promise<unknown> | undefined
  #open = true

  /** `connection` is a reader of its own, without a transaction; it is closed with the view. `point`: unless the row says it. */
  constructor(connection: Connection, point: LogPoint | undefined, released: (view: FrozenView) => void) {
    this.#connection = connection
    this.#released = released
    connection.internal(() => connection.database.exec('begin'))
    const stored = readPosition(connection)
    this.point = point ?? stored.point
  }

  /** Digests every replicated table, in slices. One call at a time. Rejects with `ABORTED` or `CLOSED`. */
  async digest(options: DigestOptions = {}): Promise<TableDigest[]> {
    if (!this.#open || this.#working !== undefined)
      throw closedError(this.#open ? 'Another digest of this view is under way.' : 'The view is closed.')
    const signals = options.signal === undefined ? [] : [options.signal]
    const work = digestTables(this.#connection.database, {
      ...options,
      signal: AbortSignal.any([this.#abort.signal, ...signals]),
    })
    this.#working = work
    try {
      return await work
    } finally {
      this.#working = undefined
    }
  }

  /** The rows of a table that follow its first `offset` ones, in the order of the digest. Throws `INVALID_ARGUMENT` or `CLOSED`. */
  rows(table: string, offset: number): RowPage {
    if (!this.#open || this.#working !== undefined)
      throw closedError(this.#open ? 'A digest of this view is under way.' : 'The view is closed.')
    this.#pager ??= new RowPager(this.#connection.database)
    return this.#pager.page(table, offset)
  }

  /** Aborts a digest under way. */
  async close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    this.#abort.abort()
    await this.#working?.catch(() => {})
    this.#pager?.close()
    this.#connection.close()
    this.#released(this)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
