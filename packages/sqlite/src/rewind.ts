/**
 * The way back to an older point of the database, whatever changed since: rows, schema, pages.
 *
 * SQLite's own files hold what is needed. Frames that were not moved to the database file are laid over it, and below
 * them stands what was before; so pages are moved only up to a mark that a read transaction holds, the pin. Where the
 * log must begin anew, the pages that would be overwritten are kept in a file first: those since the point, which are few.
 *
 * Decides: how old the point is, when it moves, what is kept. Leaves to others: the bytes of the file (`rewind-file.ts`),
 * when pages are moved (`storage.ts`), to which point anybody wants to go.
 *
 * 1. Of the state in the file holds: the database file has no frame above the mark; every page that changed between the point
 *    and the mark has its image as of the point in the file. So a page as of the point is that image, else its last frame up to
 *    the mark, else what the database file says.
 * 2. The state is durable before the pin that keeps it true is let go: a crash at any time leaves a true one.
 * 3. A pin that begins when everything is moved looks at no frame, and keeps the database file from being touched: the log
 *    may begin anew once, and all frames of the new one are above the mark.
 * 4. The point moves on when the next one is `safe`, which means that nobody will want to go back beyond it, or when it is
 *    too far behind: then disk space goes before the way back.
 * 5. The way back is one transaction: readers see all of it or nothing, and a crash leaves what was before.
 * 6. After a crash the mark moves to the end of the log, because nothing pinned it meanwhile: what is between is kept in the file.
 */
import type { LogPoint, Lsn } from '@understudy/contracts'
import { lockPage, sameSalts, WAL_FRAME_HEADER_BYTES, type WalIndexHeader } from '@understudy/sqlite-files'
import type { Connection } from './connection.ts'
import type { Descriptors } from './descriptors.ts'
import { LogFile } from './log-file.ts'
import type { Pages } from './pages.ts'
import { readPositionImage, type StoredPosition } from './position.ts'
import {
  readRewindFile,
  removeRewindFile,
  writeRewindFile,
  writeRewindFileAside,
  type RewindState,
} from './rewind-file.ts'
import type { Writer } from './writer.ts'

/** Of the most bytes that may change since the point, after so large a part of them a later point takes its place if that is safe. */
const SPAN_PART = 1 / 4

export interface RewindParts {
  readonly path: string
  readonly descriptors: Descriptors
  readonly writer: Writer
  readonly pages: Pages
  /** Opens a connection that can only read. */
  readonly open: () => Connection
  /** Nobody will want to go back beyond this; `undefined` when that is not known. */
  readonly safe: () => Lsn | undefined
  /** After so many bytes of frames above the point a later one takes its place in any case. No more is kept in the file either. */
  readonly bytesMax: number
}

/** A connection with an open read transaction, or ready for one. */
interface Pin {
  readonly connection: Connection
  isOpen: boolean
}

export class Rewind {
  readonly #parts: RewindParts
  readonly #log: LogFile
  #state: RewindState | undefined
  #pin: Pin
  /** The point after this one, with its pin. */
  #next: RewindState | undefined
  #nextPin: Pin

  /** There was no name for the point when the database was opened. */
  #isNameless: boolean

  /** The writer's connection is open, and nothing was moved since. */
  constructor(parts: RewindParts) {
    this.#parts = parts
    this.#log = new LogFile(parts.descriptors)
    const opened: Connection[] = []
    const open = (): Pin => {
      const connection = parts.open()
      opened.push(connection)
      return { connection, isOpen: false }
    }
    try {
      this.#pin = open()
      this.#nextPin = open()
      const header = this.#log.header()
      const found = readRewindFile(parts.path, parts.pages.pageBytes)
      const isTrue = found !== undefined && this.#isTrue(found, header)
      this.#keepOrGiveUp(isTrue ? this.#extended(found, header) : this.#now(header))
      this.holdAgain()
      this.#isNameless = this.#state === undefined
    } catch (error) {
      for (const connection of opened) connection.close()
      throw error
    }
  }

  /** The point that `run` leads to; `undefined` when there is none. */
  get point(): LogPoint | undefined {
    return this.#state?.point
  }

  /** Before pages are moved. The log is to begin anew from `restartBytes` on, so that as much as possible must move; `logBytes` is what it has. */
  async beforeCheckpoint(logBytes: number, restartBytes: number): Promise<void> {
    const isLarge = logBytes >= restartBytes
    const spanMax = this.#parts.bytesMax * SPAN_PART
    const header = this.#log.header()
    const span = this.#bytesAbove(this.#state, header)
    const isOld = isLarge || span >= spanMax || (this.#state?.images.size ?? 0) > 0
    if (this.#next === undefined && (isOld || span >= spanMax / 2)) this.#takeNext(header)
    const next = this.#next
    if (next === undefined) return
    const safe = this.#parts.safe()
    const isSafe = safe === undefined ? isLarge : next.point.lsn <= safe || logBytes >= 2 * restartBytes
    if (span < this.#parts.bytesMax && !(isSafe && isOld)) return
    try {
      await writeRewindFileAside(this.#parts.path, this.#parts.pages.pageBytes, next)
    } catch {
      // A disk that is full: better no way back than a log that grows.
      this.#giveUp()
      return
    }
    // Somebody went back meanwhile, to where this point is not.
    if (this.#next !== next) return this.#keepOrGiveUp(this.#state)
    this.#state = next
    this.#next = undefined
    ;[this.#pin, this.#nextPin] = [this.#nextPin, this.#pin]
    release(this.#nextPin)
    if (isLarge) this.#takeNext(this.#log.header())
  }

  /**
   * The position was settled. The first one of a database that has become physical is where a log of pages begins: from an
   * older point nobody could go on. So is the first one of a database that was opened without a name for where it stands.
   */
  settled(): void {
    const { writer } = this.#parts
    if (writer.ahead || !(this.#isNameless || (this.#state?.stored.ahead === false && writer.physical)))
      return
    this.#isNameless = false
    this.#dropNext()
    hold(this.#nextPin)
    this.#keepOrGiveUp(this.#now(this.#log.header()))
    ;[this.#pin, this.#nextPin] = [this.#nextPin, this.#pin]
    release(this.#nextPin)
  }

  /**
   * Before every frame is moved: keeps what the frames above the mark would overwrite, and lets go. On this thread, between
   * groups: `framesMax` is how much may be kept.
   */
  letGo(framesMax: number): void {
    const header = this.#log.header()
    const state = this.#state
    // What is safe in any case needs no images.
    const isSafe = this.#parts.writer.applied.lsn <= (this.#parts.safe() ?? 0)
    const isKept =
      state !== undefined && !isSafe && state.images.size + this.#framesAbove(state, header) <= framesMax
    this.#dropNext()
    this.#keepOrGiveUp(isKept ? this.#extended(state, header) : this.#now(header))
    release(this.#pin)
  }

  /** After `letGo`: whatever was moved, no more is. */
  holdAgain(): void {
    if (this.#state !== undefined) hold(this.#pin)
  }

  /** Makes the database what it was at `point`, in one transaction. False when that turns out to be impossible: then nothing was done. */
  run(): boolean {
    const state = this.#state
    if (state === undefined) return false
    const { writer, pages } = this.#parts
    const header = this.#log.header()
    writer.begin()
    try {
      const lock = lockPage(pages.pageBytes)
      for (const page of this.#changed(state, header)) {
        if (page === lock) continue
        pages.stage(page, this.#image(state, header, page))
      }
      pages.resize(state.pageCount)
      const image = pages.stagedImage(writer.positionPage())
      // A row that did not change says that nothing did.
      const row = image === undefined ? this.#stored() : readPositionImage(image)
      if (!sameRow(row, state.stored)) {
        writer.rollback()
        return false
      }
      writer.commit()
    } catch (error) {
      writer.rollback()
      throw error
    }
    // It was of what is undone.
    this.#dropNext()
    return true
  }

  /** Every other connection but the writer's is closed; SQLite moves all frames when that one closes. */
  close(): void {
    try {
      if (this.#parts.writer.failure === undefined) this.letGo(Number.MAX_SAFE_INTEGER)
    } finally {
      this.#pin.connection.close()
      this.#nextPin.connection.close()
    }
  }

  /** What the file says is true of the database as it stands. */
  #isTrue(state: RewindState, header: WalIndexHeader): boolean {
    if (sameSalts(state.salts, header.salts)) return header.mxFrame >= state.frame
    // The log began anew, so all of the old one was moved. Whoever moved more than up to the mark moved the position row with it.
    const { pages, writer } = this.#parts
    const image = new Uint8Array(pages.pageBytes)
    this.#log.readDatabasePage(image, writer.positionPage())
    return sameRow(readPositionImage(image), state.marked)
  }

  /** The database as it stands is the point. `undefined` while nobody can name it. */
  #now(header: WalIndexHeader): RewindState | undefined {
    const { writer } = this.#parts
    if (writer.ahead) return undefined
    return {
      point: writer.applied,
      stored: this.#stored(),
      pageCount: header.pageCount,
      salts: header.salts,
      frame: header.mxFrame,
      marked: this.#stored(),
      images: new Map(),
    }
  }

  /** The same point with the mark at the end of the log; `undefined` when too much changed. */
  #extended(state: RewindState, header: WalIndexHeader): RewindState | undefined {
    const { pages } = this.#parts
    const images = new Map(state.images)
    const imagesMax = this.#parts.bytesMax / pages.pageBytes
    for (const page of this.#changed(state, header)) {
      if (images.has(page)) continue
      if (images.size >= imagesMax) return this.#now(header)
      images.set(page, this.#image(state, header, page).slice())
    }
    return { ...state, salts: header.salts, frame: header.mxFrame, marked: this.#stored(), images }
  }

  /** Pages that may differ from what they were at the point, and were there. */
  #changed(state: RewindState, header: WalIndexHeader): Set<number> {
    const changed = new Set(state.images.keys())
    const first = sameSalts(state.salts, header.salts) ? state.frame + 1 : 1
    for (let frame = first; frame <= header.mxFrame; frame++) {
      const page = this.#log.pageOf(frame, header)
      if (page <= state.pageCount) changed.add(page)
    }
    // A file that shrank has no frames of what it lost.
    for (let page = header.pageCount + 1; page <= state.pageCount; page++) changed.add(page)
    return changed
  }

  /** A page as of the point. A view, valid until the next call, or of the state itself. */
  #image(state: RewindState, header: WalIndexHeader, page: number): Uint8Array {
    const kept = state.images.get(page)
    if (kept !== undefined) return kept
    const image = this.#scratch()
    const frame = sameSalts(state.salts, header.salts) ? this.#log.find(page, state.frame, header) : 0
    if (frame > 0) this.#log.readImage(image, frame)
    else this.#log.readDatabasePage(image, page)
    return image
  }

  #scratchPage: Uint8Array | undefined

  #scratch(): Uint8Array {
    return (this.#scratchPage ??= new Uint8Array(this.#parts.pages.pageBytes))
  }

  /** What the position row says. */
  #stored(): StoredPosition {
    const { stored, physical } = this.#parts.writer
    return { point: stored, ahead: physical }
  }

  #keepOrGiveUp(state: RewindState | undefined): void {
    try {
      this.#keep(state)
    } catch {
      this.#giveUp()
    }
  }

  #giveUp(): void {
    this.#dropNext()
    this.#keep(undefined)
    release(this.#pin)
  }

  #keep(state: RewindState | undefined): void {
    const { path, pages } = this.#parts
    this.#state = state
    if (state === undefined) removeRewindFile(path)
    else writeRewindFile(path, pages.pageBytes, state)
  }

  #takeNext(header: WalIndexHeader): void {
    const next = this.#now(header)
    if (next === undefined) return
    this.#next = next
    hold(this.#nextPin)
  }

  #dropNext(): void {
    this.#next = undefined
    release(this.#nextPin)
  }

  #bytesAbove(state: RewindState | undefined, header: WalIndexHeader): number {
    if (state === undefined) return this.#parts.bytesMax
    return this.#framesAbove(state, header) * (header.pageBytes + WAL_FRAME_HEADER_BYTES)
  }

  #framesAbove(state: RewindState, header: WalIndexHeader): number {
    return header.mxFrame - (sameSalts(state.salts, header.salts) ? state.frame : 0)
  }
}

/** Opens the read transaction: SQLite begins one at the first statement that reads. */
function hold(pin: Pin): void {
  if (pin.isOpen) return
  pin.connection.internal(() => pin.connection.database.exec('begin; select 1 from sqlite_schema limit 1'))
  pin.isOpen = true
}

function release(pin: Pin): void {
  if (!pin.isOpen) return
  pin.connection.internal(() => pin.connection.database.exec('commit'))
  pin.isOpen = false
}

function sameRow(row: StoredPosition | undefined, other: StoredPosition): boolean {
  if (row === undefined || row.ahead !== other.ahead) return false
  const { epoch, lsn, crc } = other.point
  return row.point.epoch === epoch && row.point.lsn === lsn && row.point.crc === crc
}
