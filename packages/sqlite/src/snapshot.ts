/**
 * A frozen image of the database file, page by page, while writes go on.
 *
 * Decides: which bytes each page of the image has, when the image ends early. Leaves to others: that no checkpoint of
 * ours moves a page while it is open, and what is done with the bytes.
 *
 * 1. A reader with an open read transaction fixes what is seen. Its position row, the wal-index header and nBackfill are
 *    read in one synchronous step, in this order, while no checkpoint runs.
 * 2. Pages come from the database file, overlaid by their last frame above nBackfill and up to mxFrame of that header.
 * 3. With nBackfill = mxFrame the overlay is empty, because such a reader does not keep the log from beginning anew. It
 *    keeps every checkpoint from touching the database file instead (SQLite's lock WAL_READ_LOCK(0)).
 * 4. Each frame that is used says again which page of which life of the log it is (number and salts).
 * 5. A page that is neither in the file nor in a frame is zero: SQLite reads it so too.
 */
import type { LogPoint, SnapshotSource } from '@understudy/contracts'
import { UnderstudyError } from '@understudy/contracts'
import {
  readWalFrameHeader,
  readWalIndexPages,
  sameSalts,
  WAL_FRAME_HEADER_BYTES,
  walFrameOffset,
  type WalIndexHeader,
} from '@understudy/sqlite-files'
import type { Connection } from './connection.ts'
import type { Descriptors } from './descriptors.ts'
import { closedError, invalidArgument } from './errors.ts'
import { readPosition } from './position.ts'

/** Pages that lie one after another both in the image and in the log. */
interface Run {
  readonly firstPage: number
  readonly firstFrame: number
  count: number
}

export class Snapshot implements SnapshotSource {
  readonly point: LogPoint
  readonly pageBytes: number
  readonly totalBytes: number
  readonly heldBytesMax: number
  readonly #connection: Connection
  readonly #descriptors: Descriptors
  readonly #released: (snapshot: Snapshot) => void
  readonly #header: WalIndexHeader
  /** Page → last frame that holds it. */
  readonly #overlay: ReadonlyMap<number, number>
  #state: 'open' | 'ended' | 'closed' = 'open'
  #reading = 0
  #idle: (() => void) | undefined

  /**
   * `connection` is a reader of its own, without a transaction; it is closed with the snapshot. `point`: of a physical
   * storage, whose row says the position before.
   */
  constructor(
    connection: Connection,
    descriptors: Descriptors,
    heldBytesMax: number,
    point: LogPoint | undefined,
    released: (snapshot: Snapshot) => void,
  ) {
    this.#connection = connection
    this.#descriptors = descriptors
    this.heldBytesMax = heldBytesMax
    this.#released = released
    connection.internal(() => connection.database.exec('begin'))
    // Read in any case: this is what fixes what the connection sees.
    const stored = readPosition(connection)
    this.point = point ?? stored.point
    this.#header = descriptors.walIndex()
    this.#overlay = overlayOf(this.#header, descriptors)
    this.pageBytes = this.#header.pageBytes
    this.totalBytes = this.#header.pageCount * this.#header.pageBytes
  }

  async read(target: Uint8Array, offset: number): Promise<number> {
    this.#check(target, offset)
    const bytes = target.subarray(0, Math.max(0, Math.min(target.length, this.totalBytes - offset)))
    this.#reading++
    try {
      const got = await this.#readDatabase(bytes, offset)
      if (got < bytes.length) bytes.fill(0, got)
      await Promise.all(this.#runs(bytes.length, offset).map((run) => this.#readRun(run, bytes, offset)))
      if (this.#overlay.size > 0 && !sameSalts(this.#descriptors.walIndex().salts, this.#header.salts))
        throw this.#moved('the write-ahead log began anew')
      return bytes.length
    } finally {
      this.#reading--
      if (this.#reading === 0) this.#idle?.()
    }
  }

  /** Ends the snapshot when `heldBytes` is over its cap; says whether it did. */
  endWhenOver(heldBytes: number): boolean {
    if (this.#state !== 'open' || heldBytes <= this.heldBytesMax) return false
    this.#state = 'ended'
    this.#release()
    return true
  }

  /** Waits for reads under way. */
  async close(): Promise<void> {
    if (this.#state === 'open') this.#release()
    this.#state = 'closed'
    if (this.#reading > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #release(): void {
    this.#connection.close()
    this.#released(this)
  }

  #check(target: Uint8Array, offset: number): void {
    if (this.#state === 'closed') throw closedError('The snapshot is closed.')
    if (this.#state === 'ended') throw this.#overCap()
    const { uncheckpointedBytes } = this.#descriptors
    if (this.endWhenOver(uncheckpointedBytes)) throw this.#overCap()
    if (target.length % this.pageBytes !== 0 || offset % this.pageBytes !== 0 || offset < 0)
      throw invalidArgument(
        `A snapshot is read in whole pages of ${this.pageBytes} bytes; got ${target.length} at ${offset}. Nothing was read.`,
      )
  }

  async #readDatabase(bytes: Uint8Array, offset: number): Promise<number> {
    let got = 0
    while (got < bytes.length) {
      const count = await this.#descriptors.readDatabase(bytes.subarray(got), offset + got)
      if (count === 0) break
      got += count
    }
    return got
  }

  #runs(length: number, offset: number): Run[] {
    const runs: Run[] = []
    if (this.#overlay.size === 0) return runs
    const first = offset / this.pageBytes + 1
    for (let page = first; page < first + length / this.pageBytes; page++) {
      const frame = this.#overlay.get(page)
      if (frame === undefined) continue
      const last = runs.at(-1)
      const continues =
        last !== undefined && last.firstPage + last.count === page && last.firstFrame + last.count === frame
      if (continues) last.count++
      else runs.push({ firstPage: page, firstFrame: frame, count: 1 })
    }
    return runs
  }

  async #readRun(run: Run, image: Uint8Array, offset: number): Promise<void> {
    const { pageBytes } = this
    const frameBytes = WAL_FRAME_HEADER_BYTES + pageBytes
    const frames = new Uint8Array(run.count * frameBytes)
    const got = await this.#descriptors.readWal(frames, walFrameOffset(run.firstFrame, pageBytes))
    if (got < frames.length) throw this.#moved('the write-ahead log became shorter')
    for (let index = 0; index < run.count; index++) {
      const header = readWalFrameHeader(frames, index * frameBytes)
      if (header.page !== run.firstPage + index || !sameSalts(header.salts, this.#header.salts))
        throw this.#moved('a frame of the write-ahead log was overwritten')
      const start = index * frameBytes + WAL_FRAME_HEADER_BYTES
      const place = (run.firstPage - 1 + index) * pageBytes - offset
      image.set(frames.subarray(start, start + pageBytes), place)
    }
  }

  #overCap(): UnderstudyError {
    return new UnderstudyError(
      'SNAPSHOT_ENDED',
      `The snapshot at ${this.point.epoch}/${this.point.lsn} held back more than ${this.heldBytesMax} bytes of ` +
        `checkpoints and was ended. The database is unharmed, and what was read of the snapshot is right. Take a new ` +
        `one: pages that are equal need not be read again.`,
      { position: this.point, heldBytesMax: this.heldBytesMax },
    )
  }

  #moved(why: string): UnderstudyError {
    return new UnderstudyError(
      'SNAPSHOT_ENDED',
      `The snapshot at ${this.point.epoch}/${this.point.lsn} can no longer be read: ${why}, which only another ` +
        `program can cause. The database is unharmed. Drop the bytes read last and take a new snapshot.`,
      { position: this.point },
    )
  }
}

function overlayOf(header: WalIndexHeader, descriptors: Descriptors): ReadonlyMap<number, number> {
  const overlay = new Map<number, number>()
  if (header.nBackfill === header.mxFrame) return overlay
  const pages = readWalIndexPages(
    (target, offset) => descriptors.readWalIndexSync(target, offset),
    header.mxFrame,
  )
  // What is moved already comes from the database file; a page above the last one of the image is of a larger past.
  for (let frame = header.nBackfill + 1; frame <= header.mxFrame; frame++) {
    const page = pages[frame - 1] as number
    if (page <= header.pageCount) overlay.set(page, frame)
  }
  return overlay
}
