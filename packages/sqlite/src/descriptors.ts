/**
 * The raw descriptors of one open database: the only place that opens its files besides SQLite.
 *
 * POSIX drops every lock that a process holds on a file when it closes any descriptor of that file, SQLite's own locks
 * included. So:
 * 1. The database and the `-shm` file are opened here once, after the writer's connection.
 * 2. They are closed after every connection of this process is closed, the writer's last. `close` is called by the
 *    storage alone, at that moment.
 * 3. Nobody else gets the numbers except to read or sync through them.
 * 4. The log and the wal-index are open for writing too, for pages that are appended beneath SQL; who writes holds
 *    SQLite's write lock. The database file is only read.
 * The `-wal` file carries no locks; it is opened here too, once.
 */
import { closeSync, fdatasyncSync, fstatSync, openSync, read, readSync, writeSync, type Stats } from 'node:fs'
import {
  readWalIndexHeader,
  WAL_FRAME_HEADER_BYTES,
  WAL_INDEX_BLOCK_BYTES,
  WAL_INDEX_COPY_BYTES,
  WAL_INDEX_HEADER_BYTES,
  type WalIndexHeader,
} from '@understudy/sqlite-files'
import { closedError, openFailure, storageFailed } from './errors.ts'

/** Copies differ only while a writer is between them: a few tries are plenty. */
const HEADER_TRIES_MAX = 1000

export class Descriptors {
  readonly #path: string
  readonly #database: number
  readonly #wal: number
  readonly #shm: number
  readonly #header = new Uint8Array(WAL_INDEX_HEADER_BYTES)
  /** The wal-index file has at least so many bytes. */
  #shmBytes = 0
  #open = true
  #reading = 0
  #idle: (() => void) | undefined

  /** The writer's connection must be open and have read or written, so that all three files exist. */
  constructor(path: string) {
    this.#path = path
    const opened: number[] = []
    try {
      for (const suffix of ['', '-wal', '-shm'])
        opened.push(openSync(path + suffix, suffix === '' ? 'r' : 'r+'))
    } catch (error) {
      // Closing them drops the locks of a writer that is open but idle; it is closed next, and nothing was written.
      for (const descriptor of opened) closeSync(descriptor)
      throw openFailure(path, error)
    }
    ;[this.#database, this.#wal, this.#shm] = opened as [number, number, number]
  }

  /** Number of the database's descriptor, for a sync in another thread. */
  get database(): number {
    return this.#database
  }

  /** Whether `named`, what a path names now, is the file that is open here. */
  isOpen(suffix: '' | '-wal', named: Pick<Stats, 'dev' | 'ino'>): boolean {
    const open = fstatSync(suffix === '' ? this.#database : this.#wal)
    return open.ino === named.ino && open.dev === named.dev
  }

  readDatabase(target: Uint8Array, offset: number): Promise<number> {
    return this.#read(this.#database, target, offset)
  }

  readWal(target: Uint8Array, offset: number): Promise<number> {
    return this.#read(this.#wal, target, offset)
  }

  readDatabaseSync(target: Uint8Array, offset: number): number {
    return readSync(this.#database, target, 0, target.length, offset)
  }

  readWalSync(target: Uint8Array, offset: number): number {
    return readSync(this.#wal, target, 0, target.length, offset)
  }

  writeWal(bytes: Uint8Array, offset: number): void {
    writeAll(this.#wal, bytes, offset)
  }

  syncWal(): void {
    fdatasyncSync(this.#wal)
  }

  /** Makes the file as long as SQLite must find it to map the block that `offset` is in, then writes. */
  writeWalIndex(bytes: Uint8Array, offset: number): void {
    if (offset >= this.#shmBytes) this.#growWalIndex(offset)
    writeAll(this.#shm, bytes, offset)
  }

  /** One copy of the header, as it stands. The bytes are the caller's. */
  walIndexCopy(): Uint8Array {
    const copy = new Uint8Array(WAL_INDEX_COPY_BYTES)
    readSync(this.#shm, copy, 0, WAL_INDEX_COPY_BYTES, 0)
    return copy
  }

  /** Whether frames are in the log, in a wal-index that may not say its page size yet. */
  get hasFrames(): boolean {
    const number = new Uint32Array(1)
    readSync(this.#shm, number, 0, 4, 16)
    return number[0] !== 0
  }

  readWalIndexSync(target: Uint8Array, offset: number): number {
    return readSync(this.#shm, target, 0, target.length, offset)
  }

  /** The header of the wal-index as it stands. */
  walIndex(): WalIndexHeader {
    for (let tries = 0; tries < HEADER_TRIES_MAX; tries++) {
      readSync(this.#shm, this.#header, 0, WAL_INDEX_HEADER_BYTES, 0)
      const header = readWalIndexHeader(this.#header)
      if (header !== undefined) return header
    }
    throw storageFailed(`The wal-index of ${this.#path} stays half written`, 'its two header copies differ')
  }

  /** Bytes of frames in the log file that are not in the database file yet. */
  get uncheckpointedBytes(): number {
    const { mxFrame, nBackfill, pageBytes } = this.walIndex()
    return (mxFrame - nBackfill) * (pageBytes + WAL_FRAME_HEADER_BYTES)
  }

  /** Only after every connection of this process to the database is closed. Waits for reads under way. */
  async close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    // A number that is closed under a read may name another file by the time the read begins.
    if (this.#reading > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
    for (const descriptor of [this.#database, this.#wal, this.#shm]) closeSync(descriptor)
  }

  /** Two blocks at a time: with memory pages of 64 KiB, SQLite maps two. */
  #growWalIndex(offset: number): void {
    const wanted = (Math.floor(offset / WAL_INDEX_BLOCK_BYTES / 2) + 1) * 2 * WAL_INDEX_BLOCK_BYTES
    const { size } = fstatSync(this.#shm)
    // Written, not only sized: a mapped page that the disk has no room for would kill the process that touches it.
    if (size < wanted) writeAll(this.#shm, new Uint8Array(wanted - size), size)
    this.#shmBytes = Math.max(size, wanted)
  }

  #read(descriptor: number, target: Uint8Array, offset: number): Promise<number> {
    if (!this.#open) throw closedError('The storage is closed.')
    this.#reading++
    return new Promise((resolve, reject) => {
      read(descriptor, target, 0, target.length, offset, (error, count) => {
        this.#reading--
        if (this.#reading === 0) this.#idle?.()
        if (error === null) resolve(count)
        else reject(storageFailed('A read of the database failed', error))
      })
    })
  }
}

function writeAll(descriptor: number, bytes: Uint8Array, offset: number): void {
  for (let done = 0; done < bytes.length;)
    done += writeSync(descriptor, bytes, done, bytes.length - done, offset + done)
}
