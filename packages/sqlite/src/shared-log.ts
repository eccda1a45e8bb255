/**
 * The write-ahead log of a database that another, unmodified program writes too.
 *
 * Decides: when the log may begin anew, and whether the files are still those that were opened. Leaves to others: which
 * frames were taken (`pages.ts`).
 *
 * 1. A read transaction, the pin, is open at all times: the next one is open before the last one ends. Frames above the
 *    pin are not moved to the database file, so that no other program makes the log begin anew before they were taken:
 *    SQLite does that only when all frames are moved, and not at all while a reader looks at frames.
 * 2. A pin that begins when all is moved looks at no frame, and keeps everything from being moved: the log may begin anew
 *    once, and no further.
 * 3. So the pin moves on only when all frames up to its own were taken, which is after a walk over the pages.
 * 4. To let the log begin anew we take the write lock, see that all frames were taken and are moved, take a pin of the
 *    second kind, and touch. Should another program write first, its frames are the first of the new log.
 */
import { statSync } from 'node:fs'
import { isUnderstudyError, type UnderstudyError } from '@understudy/contracts'
import type { Connection } from './connection.ts'
import type { Descriptors } from './descriptors.ts'
import { storageFailed } from './errors.ts'
import type { Pages } from './pages.ts'
import type { Writer } from './writer.ts'

export class SharedLog {
  readonly #path: string
  readonly #writer: Writer
  readonly #pages: Pages
  readonly #descriptors: Descriptors
  #pin: Connection
  #spare: Connection

  /** `open` opens a connection that can checkpoint but not write. */
  constructor(path: string, writer: Writer, pages: Pages, descriptors: Descriptors, open: () => Connection) {
    this.#path = path
    this.#writer = writer
    this.#pages = pages
    this.#descriptors = descriptors
    this.#pin = open()
    try {
      look(this.#pin)
      this.#spare = open()
    } catch (error) {
      this.#pin.close()
      throw error
    }
  }

  /** Whether anybody has committed since the pages were taken last. One small read. */
  foreignChange(): boolean {
    this.checkFiles()
    return !this.#pages.isTaken
  }

  /** Moves the pin to now. Every frame up to the old pin's was taken. */
  renew(): void {
    look(this.#spare)
    this.#pin.database.exec('commit')
    ;[this.#pin, this.#spare] = [this.#spare, this.#pin]
  }

  /**
   * Lets the log begin anew, when every frame was taken and at most `framesMax` are not moved yet; says whether that was
   * all that is to do. Outside of a transaction.
   */
  restart(framesMax: number): boolean {
    try {
      if (!this.#moveAll(framesMax)) return false
      this.#writer.touch()
    } catch (error) {
      // The other program is at it.
      if (isUnderstudyError(error, 'TIMEOUT')) return false
      throw error
    }
    if (this.#pages.isTaken) this.renew()
    return true
  }

  /** Moves every frame to the database file, and takes a pin that looks at none. */
  #moveAll(framesMax: number): boolean {
    this.#writer.begin()
    try {
      const { mxFrame, nBackfill } = this.#descriptors.walIndex()
      if (!this.#pages.isTaken || mxFrame - nBackfill > framesMax) return false
      this.renew()
      this.#spare.database.exec('pragma wal_checkpoint(passive)')
      if (this.#descriptors.walIndex().nBackfill < mxFrame) return false
      this.renew()
      return true
    } finally {
      this.#writer.rollback()
    }
  }

  /** Throws when a file was replaced: what is written and read here is then no longer what its path names. */
  checkFiles(): void {
    for (const suffix of ['', '-wal'] as const) {
      const named = statSync(this.#path + suffix, { throwIfNoEntry: false })
      if (named !== undefined && this.#descriptors.isOpen(suffix, named)) continue
      const failure: UnderstudyError = storageFailed(
        `${this.#path}${suffix} is another file than the one that was opened, or gone`,
        'another program replaced it',
      )
      this.#writer.failure ??= failure
      throw failure
    }
  }

  close(): void {
    this.#pin.close()
    this.#spare.close()
  }
}

/** Opens the read transaction: SQLite begins one at the first statement that reads. */
function look({ database }: Connection): void {
  database.exec('begin; select 1 from sqlite_schema limit 1')
}
