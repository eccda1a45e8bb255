/**
 * One open snapshot, from which any number of followers read.
 *
 * Decides: what identifies it, who uses it, which CRCs of its chunks are known.
 * Leaves to others: when it is opened and closed (`SnapshotPool`), what is sent (`SnapshotSender`).
 *
 * 1. The image never changes while it is open: the CRC of a chunk is computed once and must come out the same each time.
 * 2. CRCs are known for a prefix of the chunks; a transfer begins inside that prefix, so at its end all are known.
 * 3. Reads are one at a time: a source need not cope with more.
 */
import { UnderstudyError, type EpochHistory, type LogPoint, type SnapshotSource } from '@understudy/contracts'
import { chunksOf, digestOf } from './checks.ts'

const BLOCK_BYTES = 128 * 1024

export interface SharedSnapshotOptions {
  readonly id: string
  readonly source: SnapshotSource
  readonly history: EpochHistory
  readonly chunkBytes: number
  /** Opened for a follower that holds an image already. Default false. */
  readonly delta?: boolean
  readonly openedAtMs: number
}

export class SharedSnapshot {
  readonly id: string
  readonly point: LogPoint
  readonly history: EpochHistory
  readonly pageBytes: number
  readonly totalBytes: number
  readonly chunkBytes: number
  readonly chunks: number
  readonly delta: boolean
  readonly openedAtMs: number
  /** Followers whose slot stands at this snapshot's position on its account. */
  readonly followers: Set<string> = new Set()
  /** Transfers in progress. */
  users = 0
  /** Why nothing can be read from it any more. */
  failure: UnderstudyError | undefined
  readonly #source: SnapshotSource
  readonly #crcs: Uint32Array
  #known = 0
  #reading: Promise<unknown> = Promise.resolve()
  /** What small chunks are cut from: a read costs about the same for one page and for many. */
  readonly #block: Uint8Array | undefined
  #blockStart = 0
  #blockEnd = 0

  constructor(options: SharedSnapshotOptions) {
    const { source, history, chunkBytes } = options
    this.id = options.id
    this.point = source.point
    this.history = history.filter((entry) => entry.firstLsn <= source.point.lsn)
    this.pageBytes = source.pageBytes
    this.totalBytes = source.totalBytes
    this.chunkBytes = Math.max(chunkBytes - (chunkBytes % source.pageBytes), source.pageBytes)
    this.chunks = chunksOf(this.totalBytes, this.chunkBytes)
    this.openedAtMs = options.openedAtMs
    this.delta = options.delta === true
    this.#source = source
    this.#crcs = new Uint32Array(this.chunks)
    const blockBytes = BLOCK_BYTES - (BLOCK_BYTES % this.chunkBytes)
    if (this.delta && blockBytes > this.chunkBytes) this.#block = new Uint8Array(blockBytes)
  }

  /** Bytes from the start whose CRCs are known: no transfer may begin above. */
  get knownBytes(): number {
    return Math.min(this.#known * this.chunkBytes, this.totalBytes)
  }

  chunkLength(index: number): number {
    return Math.min(this.chunkBytes, this.totalBytes - index * this.chunkBytes)
  }

  /** Fills `target`, whose length is that of chunk `index`. Rejects with the source's error, `SNAPSHOT_ENDED` above all. */
  read(index: number, target: Uint8Array): Promise<void> {
    const reading = this.#reading.then(() => this.#readChunk(index * this.chunkBytes, target))
    this.#reading = reading.catch(() => undefined)
    return reading
  }

  /** Takes note of a chunk's CRC. Throws `SNAPSHOT_CORRUPT` when it was another one before. */
  note(index: number, crc: number): void {
    if (index < this.#known) {
      if (this.#crcs[index] === crc) return
      this.failure = new UnderstudyError(
        'SNAPSHOT_CORRUPT',
        `Chunk ${index} of snapshot ${this.id} reads differently than before. The snapshot was closed and the transfer ended; the follower keeps what it has and compares it with a new snapshot. If it happens again, check the leader's disk and memory.`,
        { position: this.point },
      )
      throw this.failure
    }
    this.#crcs[index] = crc
    this.#known = index + 1
  }

  /** Digest of the whole image; every chunk has been noted. */
  digest(): Uint8Array {
    return digestOf(this.#crcs)
  }

  /** Closes the source after the read in progress. */
  async close(): Promise<void> {
    this.failure ??= new UnderstudyError(
      'SNAPSHOT_ENDED',
      `Snapshot ${this.id} was closed by the leader. The follower keeps what it has and compares it with a new snapshot.`,
      { position: this.point },
    )
    await this.#reading
    await this.#source.close()
  }

  async #readChunk(offset: number, target: Uint8Array): Promise<void> {
    const block = this.#block
    if (block === undefined) return this.#readNow(offset, target)
    if (this.failure !== undefined) throw this.failure
    if (offset < this.#blockStart || offset >= this.#blockEnd) {
      const start = offset - (offset % block.length)
      const bytes = block.subarray(0, Math.min(block.length, this.totalBytes - start))
      this.#blockEnd = 0
      await this.#readNow(start, bytes)
      this.#blockStart = start
      this.#blockEnd = start + bytes.length
    }
    const from = offset - this.#blockStart
    target.set(block.subarray(from, from + target.length))
  }

  async #readNow(offset: number, target: Uint8Array): Promise<void> {
    for (let filled = 0; filled < target.length;) {
      if (this.failure !== undefined) throw this.failure
      try {
        const came = await this.#source.read(filled === 0 ? target : target.subarray(filled), offset + filled)
        if (came <= 0)
          throw new UnderstudyError(
            'STORAGE_FAILED',
            `The snapshot ended at ${offset + filled} of ${this.totalBytes} bytes. The transfer ended and its follower keeps what it has; check the leader's database.`,
          )
        filled += came
      } catch (error) {
        this.failure ??= asError(error)
        throw this.failure
      }
    }
  }
}

function asError(error: unknown): UnderstudyError {
  if (error instanceof UnderstudyError) return error
  return new UnderstudyError(
    'STORAGE_FAILED',
    'The snapshot could not be read from the database. The transfer ended and its follower keeps what it has; check the disk of the leader.',
    { cause: error },
  )
}
