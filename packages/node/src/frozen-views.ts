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
import type { TableDigest } from '@understudy/protocol'
import { FROZEN_VIEWS_MAX, FROZEN_VIEW_MS } from './options.ts'

interface Entry {
  readonly view: FrozenView
  readonly timer: Timer
  inUse: boolean
}

export class FrozenViews {
  readonly #clock: Clock
  readonly #entries = new Map<string, Entry>()

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
    const timer = this.#clock.schedule(FROZEN_VIEW_MS, () => this.#drop(key))
    this.#entries.set(key, { view, timer, inUse: false })
  }

  /** Digests the view at `at`, once, and lets it go. Throws `POSITION_LOST` when there is none. */
  async digest(at: Position, signal?: AbortSignal): Promise<TableDigest[]> {
    const key = formatPosition(at)
    const entry = this.#entries.get(key)
    if (entry === undefined || entry.inUse) {
      throw new UnderstudyError(
        'POSITION_LOST',
        `No view is frozen at ${key}: it was not a marker, was digested already, or waited longer than ${FROZEN_VIEW_MS / 1000} s. Write a new marker and ask again.`,
        { position: at },
      )
    }
    entry.inUse = true
    entry.timer.cancel()
    try {
      const tables = await entry.view.digest(signal === undefined ? {} : { signal })
      return tables.map(({ table, rows, sha256 }) => ({ table, rows, digest: sha256 }))
    } finally {
      this.#entries.delete(key)
      await entry.view.close()
    }
  }

  /** Lets go of every view that is not being digested; those end with the storage. */
  close(): void {
    for (const [key, entry] of this.#entries) if (!entry.inUse) this.#drop(key)
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
