/**
 * One connection of a bootstrap, the follower's side: from the request to the verified file, or to the reason why not.
 *
 * Decides: what is asked, checked, answered. Leaves to others: the file (`TargetFile`), another attempt
 * (`receiveSnapshot`).
 *
 * 1. A chunk is written only when it is the one due, of the right length, and its CRC holds.
 * 2. Hashes run at most `AHEAD_BYTES` ahead of what is in place, a part at a time, so that neither side waits for the
 *    other and neither keeps many.
 * 3. The whole image is acknowledged only after its digest was verified, `check` found nothing and the file was synced,
 *    in this order: nobody opens a file whose digest is wrong. An end of the connection after the leader's last message
 *    changes nothing: the image is complete.
 */
import { crc32 } from 'node:zlib'
import { isUnderstudyError, UnderstudyError, type Clock, type Timer } from '@understudy/contracts'
import type { Connection, Message, SnapshotChunk, SnapshotStart } from '@understudy/protocol'
import { assertCredible, chunksOf, HASH_BYTES } from './checks.ts'
import type { KeepAlive } from './keep-alive.ts'
import type { TargetFile } from './target-file.ts'

export interface ReceiveSessionOptions {
  readonly connection: Connection
  readonly keepAlive: KeepAlive
  readonly target: TargetFile
  readonly clock: Clock
  readonly bytesPerSecondMax: number
  /** Acknowledgements are no further apart than this while chunks come. */
  readonly ackMs: number
  /** Looks into the image, whose digest is right. */
  readonly check: ((start: SnapshotStart, signal: AbortSignal) => Promise<void>) | undefined
  onStart(start: SnapshotStart, resumed: boolean): void
  /** A chunk is in place. `came`: it travelled; otherwise it was held. */
  onChunk(bytes: number, came: boolean): void
}

const AHEAD_BYTES = 64 * 1024 * 1024
const HASH_PART_BYTES = 4 * 1024 * 1024

export class ReceiveSession {
  readonly #options: ReceiveSessionOptions
  readonly #done = Promise.withResolvers<SnapshotStart>()
  #start: SnapshotStart | undefined
  #state: 'receiving' | 'finishing' | 'over' = 'receiving'
  #ackedOffset = 0
  #ackedAtMs = 0
  /** Chunk whose hash is sent next, while `#hashing`. */
  #hashNext = 0
  #hashing = false
  #hashTimer: Timer | undefined
  readonly #failed = new AbortController()
  #checking: Promise<void> | undefined

  constructor(options: ReceiveSessionOptions) {
    this.#options = options
  }

  /** Resolves when the image is verified and durable. Runs once. */
  async run(): Promise<SnapshotStart> {
    const { connection, keepAlive, target, bytesPerSecondMax } = this.#options
    const { id, offset, heldBytes } = target
    keepAlive.send({
      type: 'snapshotRequest',
      resumeId: id,
      resumeOffset: offset,
      heldBytes,
      bytesPerSecondMax,
    })
    connection.start({
      message: (message) => {
        keepAlive.heard()
        this.#guarded(() => this.#receive(message))
      },
      drained: () => undefined,
      closed: (error) => {
        if (this.#state === 'receiving') this.fail(error ?? lost(connection))
      },
    })
    try {
      return await this.#done.promise
    } finally {
      this.#state = 'over'
      this.#hashTimer?.cancel()
      // Whoever looks into the file has let it go before anything else is done with it.
      await this.#checking?.catch(() => {})
    }
  }

  /** Ends the connection and the session. */
  fail(error: unknown): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#failed.abort()
    this.#options.connection.close(isUnderstudyError(error) ? error : undefined)
    this.#done.reject(error)
  }

  #guarded(run: () => void): void {
    if (this.#state === 'over') return
    try {
      run()
    } catch (error) {
      this.fail(error)
    }
  }

  #receive(message: Message): void {
    if (message.type === 'heartbeat') return
    if (this.#state === 'finishing') throw violation(`a message of type ${message.type} came after the end`)
    if (message.type === 'snapshotStart') this.#begin(message)
    else if (message.type === 'snapshotChunk') this.#take(message, this.#started)
    else if (message.type === 'snapshotEnd') this.#end(message.digest, this.#started)
    else throw violation(`a message of type ${message.type} came during a snapshot`)
  }

  get #started(): SnapshotStart {
    if (this.#start === undefined) throw violation('it sent data before it announced a snapshot')
    return this.#start
  }

  #begin(start: SnapshotStart): void {
    if (this.#start !== undefined) throw violation('it announced a second snapshot')
    assertCredible(start)
    const resumed = this.#options.target.begin(start)
    this.#start = start
    this.#ackedOffset = start.offset
    this.#ackedAtMs = this.#options.clock.monotonic()
    this.#options.onStart(start, resumed)
    this.#hashNext = Math.ceil(start.offset / start.chunkBytes)
    this.#hashing = start.mode === 'hashes'
    this.#hash()
  }

  #take(chunk: SnapshotChunk, start: SnapshotStart): void {
    const { target } = this.#options
    const { offset, crc, bytes } = chunk
    if (offset !== target.offset || offset === start.totalBytes) {
      throw violation(`a chunk at ${offset} came where ${target.offset} was due`)
    }
    const length = target.chunkLength
    if (bytes.length === 0) {
      if (offset / start.chunkBytes >= this.#hashNext)
        throw violation(`it confirmed the chunk at ${offset} without its hash`)
      target.keep(crc)
    } else {
      if (bytes.length !== length)
        throw violation(`the chunk at ${offset} has ${bytes.length} bytes, not ${length}`)
      if (crc32(bytes) !== crc) throw corruptChunk(offset, start)
      target.write(bytes, crc)
    }
    this.#options.onChunk(length, bytes.length > 0)
    this.#acknowledge(target.offset, start)
    this.#hash()
  }

  #acknowledge(offset: number, start: SnapshotStart): void {
    const { clock, ackMs, keepAlive } = this.#options
    if (offset === start.totalBytes) return
    const now = clock.monotonic()
    if (offset - this.#ackedOffset < start.windowBytes / 4 && now - this.#ackedAtMs < ackMs) return
    this.#ackedOffset = offset
    this.#ackedAtMs = now
    keepAlive.send({ type: 'snapshotAck', offset })
  }

  /** Sends the next part of the hashes in a turn of its own, unless they are far enough ahead. */
  #hash(): void {
    if (!this.#hashing || this.#hashTimer !== undefined) return
    const { chunkBytes } = this.#started
    if (this.#hashNext * chunkBytes - this.#options.target.offset >= AHEAD_BYTES) return
    this.#hashTimer = this.#options.clock.schedule(0, () => {
      this.#hashTimer = undefined
      this.#guarded(() => this.#sendHashes(this.#started))
    })
  }

  #sendHashes({ chunkBytes, totalBytes }: SnapshotStart): void {
    const { target, keepAlive } = this.#options
    const countMax = Math.max(1, Math.floor(HASH_PART_BYTES / chunkBytes))
    const firstChunk = this.#hashNext
    const hashes = target.hashes(firstChunk, countMax)
    const count = hashes.length / HASH_BYTES
    this.#hashNext += count
    this.#hashing = count === countMax && this.#hashNext < chunksOf(totalBytes, chunkBytes)
    keepAlive.send({ type: 'snapshotHashes', firstChunk, hashes, last: !this.#hashing })
    this.#hash()
  }

  #end(digest: Uint8Array, start: SnapshotStart): void {
    const { target, keepAlive, connection } = this.#options
    if (target.offset !== start.totalBytes)
      throw violation(`it ended at ${target.offset} of ${start.totalBytes} bytes`)
    if (!target.hasDigest(digest)) {
      target.distrust()
      throw new UnderstudyError(
        'SNAPSHOT_CORRUPT',
        `The image of snapshot ${start.id} does not have the digest that the leader computed, so it was not used. It is kept and compared with the leader's chunk by chunk; if that repeats, check this node's disk and memory.`,
        { digest: true, position: start.point },
      )
    }
    this.#state = 'finishing'
    this.#finish(start).then(
      () => {
        keepAlive.send({ type: 'snapshotAck', offset: start.totalBytes })
        connection.close()
        this.#done.resolve(start)
      },
      (error: unknown) => this.fail(error),
    )
  }

  async #finish(start: SnapshotStart): Promise<void> {
    const { target, check } = this.#options
    this.#checking = check?.(start, this.#failed.signal)
    try {
      await this.#checking
    } catch (cause) {
      if (this.#failed.signal.aborted) throw cause
      target.distrust()
      throw unusable(start, cause)
    }
    this.#failed.signal.throwIfAborted()
    await target.finish()
  }
}

function corruptChunk(offset: number, start: SnapshotStart): UnderstudyError {
  return new UnderstudyError(
    'SNAPSHOT_CORRUPT',
    `The chunk at ${offset} of snapshot ${start.id} failed its checksum and was not written. What came before it is kept, and it is asked for again; if that repeats, check the network and the leader's memory.`,
    { offset, position: start.point },
  )
}

function unusable(start: SnapshotStart, cause: unknown): UnderstudyError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new UnderstudyError(
    'SNAPSHOT_CORRUPT',
    `The image of snapshot ${start.id} came as the leader sent it, and is no database to use: ${reason}`,
    { cause, digest: true, position: start.point },
  )
}

function violation(reason: string): UnderstudyError {
  return new UnderstudyError(
    'PROTOCOL_VIOLATION',
    `The leader broke the order of a snapshot: ${reason}. That message was not used, what came before is kept; check that both ends are Understudy nodes of matching versions.`,
  )
}

function lost(connection: Connection): UnderstudyError {
  return new UnderstudyError(
    'CONNECTION_LOST',
    `The connection with ${connection.remote} ended during a snapshot. What was received is kept; the transfer goes on with the next connection.`,
  )
}
