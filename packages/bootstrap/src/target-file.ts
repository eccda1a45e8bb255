/**
 * The file that a bootstrap builds.
 *
 * Decides: where bytes go, what is on the disk, whether the image is right. Leaves to others: what to ask the leader for
 * (`ReceiveSession`), what to do after a failure (`receiveSnapshot`).
 *
 * 1. Chunks arrive in order: everything below `offset` is in place, with its CRC known; nothing above counts.
 * 2. Bytes above `offset`, and those of the seed, are a held image: used where a hash proves them equal, else overwritten.
 * 3. A held chunk is hashed before its place can be overwritten, because hashes run ahead of `offset`.
 * 4. The disk is kept busy while bytes arrive: a sync off the thread each `flushBytes`, so that the last one is short.
 *    The progress file claims only what such a sync covered.
 * 5. After a failed sync nothing of the file is trusted: it is emptied with its progress file.
 */
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import { UnderstudyError, type FileHandle, type Files } from '@understudy/contracts'
import type { SnapshotStart } from '@understudy/protocol'
import { chunkHash, chunksOf, digestOf, HASH_BYTES } from './checks.ts'
import { ProgressFile, type Progress } from './progress-file.ts'

export interface TargetFileOptions {
  readonly files: Files
  readonly path: string
  /** An older image of the same database that may be read, of any quality. */
  readonly seed: string | undefined
  readonly flushBytes: number
}

const CRCS_MIN = 1024

/** Name of the progress file of a target. */
export function progressPath(target: string): string {
  return `${target}.progress`
}

export class TargetFile {
  readonly #options: TargetFileOptions
  readonly #file: FileHandle
  readonly #progressFile: ProgressFile
  readonly #seed: FileHandle | undefined
  readonly #seedBytes: number
  /** What is being received; `undefined` when nothing in the file belongs to a known snapshot. */
  #image: Progress | undefined
  /** Of the chunks in place. Grows as they come: what a leader announces takes no memory. */
  #crcs = new Uint32Array(0)
  #offset = 0
  /** Bytes of the target that counted as held when this session began. */
  #heldBytes = 0
  #flushedTo = 0
  #flushing: Promise<void> | undefined
  #finishing: Promise<void> | undefined
  #failure: UnderstudyError | undefined
  #scratch: Uint8Array = new Uint8Array(0)

  constructor(options: TargetFileOptions) {
    const { files, path, seed } = options
    this.#options = options
    const opened: FileHandle[] = []
    const open = (name: string, write: boolean): FileHandle => {
      const handle = files.open(name, write ? { create: true, write: true } : {})
      opened.push(handle)
      return handle
    }
    try {
      this.#seed = seed === undefined ? undefined : open(seed, false)
      this.#seedBytes = this.#seed?.size() ?? 0
      this.#file = open(path, true)
      this.#progressFile = new ProgressFile(open(progressPath(path), true))
      files.syncDirectory(dirname(path))
    } catch (error) {
      for (const handle of opened) handle.close()
      throw error
    }
  }

  /** Bytes of the image, from the start, that are in place. */
  get offset(): number {
    return this.#offset
  }

  /** Id of the snapshot that they are of; empty when there is none. */
  get id(): string {
    return this.#image?.id ?? ''
  }

  /** Size of the larger held image. */
  get heldBytes(): number {
    return Math.max(this.#file.size(), this.#seedBytes)
  }

  /** Takes up what an earlier process left: its claimed bytes are read again for their CRCs. `turn` is awaited now and then. */
  async restore(turn: () => Promise<void>): Promise<void> {
    const progress = this.#progressFile.read()
    if (progress === undefined || progress.offset === 0 || this.#file.size() < progress.offset) return
    this.#adopt(progress)
    const chunks = chunksOf(progress.offset, progress.chunkBytes)
    for (let index = 0; index < chunks; index++) {
      this.#note(index, crc32(this.#readHeld(this.#file, index)))
      if (index % 8 === 7) await turn()
    }
    this.#offset = progress.offset
    this.#flushedTo = progress.offset
  }

  /** The leader sends this snapshot from `start.offset`. True when that goes on with the one in the file. Throws `PROTOCOL_VIOLATION`. */
  begin(start: SnapshotStart): boolean {
    const { id, point, pageBytes, chunkBytes, totalBytes, offset } = start
    const image: Progress = { id, point, pageBytes, chunkBytes, totalBytes, offset: 0 }
    this.#heldBytes = this.#file.size()
    const resumed = this.#image?.id === id
    if (resumed ? !sameImage(this.#image, image) || offset > this.#offset : offset > 0) {
      throw violation(
        `snapshot ${id} goes on at ${offset} where ${resumed ? this.#offset : 0} bytes of it are here`,
      )
    }
    if (resumed) {
      this.#offset = offset
      this.#flushedTo = Math.min(this.#flushedTo, offset)
      return true
    }
    this.#progressFile.begin(image)
    this.#adopt(image)
    return false
  }

  /** Nothing in the file is known to be right any more; all of it is a held image. */
  distrust(): void {
    this.#image = undefined
    this.#offset = 0
    this.#flushedTo = 0
  }

  /** Bytes of the chunk that is due. */
  get chunkLength(): number {
    return this.#lengthOf(this.#offset / this.#known.chunkBytes)
  }

  /** The chunk at `offset`, whose CRC was checked. */
  write(bytes: Uint8Array, crc: number): void {
    if (this.#failure !== undefined) throw this.#failure
    this.#file.write([bytes], this.#offset)
    this.#advance(bytes.length, crc)
  }

  /** The held chunk at `offset` is right, and `crc` is its CRC. Throws `SNAPSHOT_CORRUPT` when it is not. */
  keep(crc: number): void {
    const index = this.#offset / this.#known.chunkBytes
    const source = this.#heldFile(index)
    const bytes = source === undefined ? undefined : this.#readHeld(source, index)
    if (bytes === undefined || crc32(bytes) !== crc) {
      throw new UnderstudyError(
        'SNAPSHOT_CORRUPT',
        `The chunk at ${this.#offset} of ${this.#options.path} was confirmed by the leader but reads differently now. It is asked for again; if that repeats, check this node's disk and memory.`,
      )
    }
    if (source === this.#file) this.#advance(bytes.length, crc)
    else this.write(bytes, crc)
  }

  /** Hashes of the held chunks from `first` on, at most `countMax`; fewer when no more are held. */
  hashes(first: number, countMax: number): Uint8Array {
    const { chunkBytes, totalBytes } = this.#known
    const last = Math.min(first + countMax, chunksOf(totalBytes, chunkBytes))
    const hashes = Buffer.allocUnsafe(Math.max(0, last - first) * HASH_BYTES)
    for (let index = first; index < last; index++) {
      const source = this.#heldFile(index)
      if (source === undefined) return hashes.subarray(0, (index - first) * HASH_BYTES)
      hashes.set(chunkHash(this.#readHeld(source, index)), (index - first) * HASH_BYTES)
    }
    return hashes
  }

  /** Whether the image in place has this digest. All chunks are in place. */
  hasDigest(digest: Uint8Array): boolean {
    const { totalBytes, chunkBytes } = this.#known
    return Buffer.compare(digestOf(this.#crcs.subarray(0, chunksOf(totalBytes, chunkBytes))), digest) === 0
  }

  /** Makes the image durable under its name, at its exact size, and removes the progress file. Closes everything. */
  finish(): Promise<void> {
    this.#finishing = this.#finish()
    return this.#finishing
  }

  /** Waits for syncs in progress and closes. What was received stays for the next time. */
  async leave(): Promise<void> {
    await this.#flushing
    await this.#finishing?.catch(() => undefined)
    this.#close()
  }

  #close(): void {
    this.#file.close()
    this.#progressFile.close()
    this.#seed?.close()
  }

  get #known(): Progress {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#image === undefined) throw violation('a chunk came before the snapshot was announced')
    return this.#image
  }

  #adopt(image: Progress): void {
    this.#image = image
    this.#crcs = new Uint32Array(0)
    this.#offset = 0
    this.#flushedTo = 0
  }

  #lengthOf(index: number): number {
    const { chunkBytes, totalBytes } = this.#known
    return Math.min(chunkBytes, totalBytes - index * chunkBytes)
  }

  #advance(length: number, crc: number): void {
    this.#note(this.#offset / this.#known.chunkBytes, crc)
    this.#offset += length
    if (this.#flushing === undefined && this.#offset - this.#flushedTo >= this.#options.flushBytes)
      this.#flush()
  }

  #note(index: number, crc: number): void {
    if (index >= this.#crcs.length) {
      const grown = new Uint32Array(Math.max(CRCS_MIN, 2 * this.#crcs.length))
      grown.set(this.#crcs)
      this.#crcs = grown
    }
    this.#crcs[index] = crc
  }

  #flush(): void {
    const image = this.#known
    const offset = this.#offset
    this.#flushing = this.#sync().then(() => {
      this.#flushing = undefined
      if (this.#failure !== undefined || this.#image !== image) return
      this.#flushedTo = offset
      this.#claim({ ...image, offset })
    })
  }

  /** A progress record that cannot be written costs a restart some hashing, no more. */
  #claim(progress: Progress): void {
    try {
      this.#progressFile.advance(progress)
    } catch {
      // The disk is full or failing: the next chunk meets the same and reports it.
    }
  }

  async #sync(): Promise<void> {
    try {
      await this.#file.dataSync()
    } catch (error) {
      this.#failure = new UnderstudyError(
        'STORAGE_FAILED',
        `${this.#options.path} could not be synced, so nothing of it is trusted: it was emptied. The data that the node had before is untouched. Check the disk, then start the bootstrap again.`,
        { cause: error },
      )
      this.#image = undefined
      this.#file.truncate(0)
    }
  }

  async #finish(): Promise<void> {
    const { files, path } = this.#options
    await this.#flushing
    if (this.#failure !== undefined) throw this.#failure
    if (this.#file.size() > this.#known.totalBytes) this.#file.truncate(this.#known.totalBytes)
    await this.#sync()
    if (this.#failure !== undefined) throw this.#failure
    this.#close()
    files.remove(progressPath(path))
    files.syncDirectory(dirname(path))
  }

  #heldFile(index: number): FileHandle | undefined {
    const end = index * this.#known.chunkBytes + this.#lengthOf(index)
    if (end <= this.#heldBytes) return this.#file
    return end <= this.#seedBytes ? this.#seed : undefined
  }

  /** A view that is valid until the next read. */
  #readHeld(source: FileHandle, index: number): Uint8Array {
    const { chunkBytes } = this.#known
    if (this.#scratch.length < chunkBytes) this.#scratch = Buffer.allocUnsafeSlow(chunkBytes)
    const bytes = this.#scratch.subarray(0, this.#lengthOf(index))
    const came = source.read(bytes, index * chunkBytes)
    return came === bytes.length ? bytes : bytes.subarray(0, came)
  }
}

function sameImage(a: Progress | undefined, b: Progress): boolean {
  return (
    a?.totalBytes === b.totalBytes &&
    a.chunkBytes === b.chunkBytes &&
    a.pageBytes === b.pageBytes &&
    a.point.epoch === b.point.epoch &&
    a.point.lsn === b.point.lsn &&
    a.point.crc === b.point.crc
  )
}

function violation(reason: string): UnderstudyError {
  return new UnderstudyError(
    'PROTOCOL_VIOLATION',
    `The leader broke the order of a snapshot: ${reason}. Nothing of it was used; check that both ends are Understudy nodes of matching versions.`,
  )
}
