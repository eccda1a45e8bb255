/**
 * Views frozen at markers, for digests of all nodes at one position.
 *
 * Decides: how long a view waits to be asked for, and how many there are. A marker is applied at the same position on
 * every node, and the view is frozen in the turn of its COMMIT, so what two nodes digest is the same moment of history
 * although writes go on.
 */
import {
  UnderstudyError,
  formatPosition,
  type Clock,
  type LogPoint,
  type Position,
  type Timer,
} from '@understudy/contracts'
import type { FrozenView } from '@understudy/sqlite'
import type { TableDigest, TableRows } from '@understudy/protocol'
import { FROZEN_VIEWS_MAX, FROZEN_VIEW_MS } from './options.ts'

interface Entry {
  readonly view: FrozenView
  timer: Timer
  isKept: boolean
  inUse: boolean
}

export class FrozenViews {
  readonly #clock: Clock
  readonly #entries = new Map<string, Entry>()

  #isClosed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Keeps a view that was frozen at a marker; the oldest one that nobody uses makes room. */
  keep(point: LogPoint, freeze: () => FrozenView): void {
    if (this.#entries.size >= FROZEN_VIEWS_MAX) {
      const oldest = [...this.#entries].find(([, entry]) => !entry.inUse)
      if (oldest === undefined) return
      this.#drop(oldest[0])
    }
    const key = formatPosition(point)
    // Redo comes by the same marker again.
    this.#drop(key)
    if (this.#entries.has(key)) return
    const view = freeze()
    const timer = this.#expiry(key)
    this.#entries.set(key, { view, timer, inUse: false, isKept: false })
  }

  /** Digests the view at `at`, once, and lets it go unless it shall stay for `rows`. Throws `POSITION_LOST` when there is none. */
  async digest(
    at: Position,
    { signal, keep = false }: { readonly signal?: AbortSignal; readonly keep?: boolean } = {},
  ): Promise<TableDigest[]> {
    const key = formatPosition(at)
    const entry = this.#entries.get(key)
    if (entry === undefined || entry.inUse || entry.isKept) throw lost(at)
    entry.inUse = true
    entry.timer.cancel()
    try {
      const tables = await entry.view.digest(signal === undefined ? {} : { signal })
      // Closed meanwhile: nobody can ask any more.
      entry.isKept = keep && signal?.aborted !== true && !this.#isClosed
      return tables.map(({ table, rows, sha256 }) => ({ table, rows, digest: sha256 }))
    } finally {
      entry.inUse = false
      if (entry.isKept) entry.timer = this.#expiry(key)
      else {
        this.#entries.delete(key)
        await entry.view.close()
      }
    }
  }

  /** Rows of a table in a view that `digest` kept; its time begins anew. Throws `POSITION_LOST` when there is none. */
  rows(at: Position, table: string, offset: number): TableRows {
    const key = formatPosition(at)
    const entry = this.#entries.get(key)
    if (entry?.isKept !== true) throw lost(at)
    entry.timer.cancel()
    entry.timer = this.#expiry(key)
    return entry.view.rows(table, offset)
  }

  /** Lets go of a view that `digest` kept. */
  release(at: Position): void {
    const key = formatPosition(at)
    if (this.#entries.get(key)?.isKept === true) this.#drop(key)
  }

  /** Lets go of every view that is not being digested; those end with the storage. */
  close(): void {
    this.#isClosed = true
    for (const [key, entry] of this.#entries) if (!entry.inUse) this.#drop(key)
  }

  #expiry(key: string): Timer {
    return this.#clock.schedule(FROZEN_VIEW_MS, () => this.#drop(key))
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined || entry.inUse) return
    this.#entries.delete(key)
    entry.timer.cancel()
    // The storage closes what is left of it with its own connections.
    entry.view.close().catch(() => {})
  }
}

function lost(at: Position): UnderstudyError {
  return new UnderstudyError(
    'POSITION_LOST',
    `No view is frozen at ${formatPosition(at)}: it was not a marker, was digested already, or waited longer than ${FROZEN_VIEW_MS / 1000} s. Write a new marker and ask again.`,
    { position: at },
  )
}
