/**
 * One transfer, the leader's side.
 *
 * Decides: what is sent when. Leaves to others: which snapshot (`SnapshotPool`), bytes on the wire (`protocol`).
 *
 * 1. A chunk leaves only when fewer than `windowBytes` are unacknowledged, the channel takes more, and the rate allows.
 * 2. While chunk n waits and leaves, chunk n+1 is being read.
 * 3. In mode `hashes`, chunk n is answered once its hash came, or the last part of the hashes without it; an equal one
 *    travels as its CRC alone. Hashes are used up as they come, so that neither side keeps more than a few.
 * 4. The follower acknowledges the whole image only when it has verified and synced it: that ends the transfer.
 */
import { crc32 } from 'node:zlib'
import { UnderstudyError, type Clock, type Timer } from '@understudy/contracts'
import type { Message, SnapshotHashes, SnapshotRequest, SnapshotStart } from '@understudy/protocol'
import { BufferRing } from './buffer-ring.ts'
import { chunkHash, HASH_BYTES } from './checks.ts'
import { Doorbell } from './doorbell.ts'
import type { Pace } from './pace.ts'
import type { SharedSnapshot } from './shared-snapshot.ts'

export interface SnapshotSenderOptions {
  /** False: the peer is slow; `drained` is called when it takes more. */
  readonly send: (message: Message) => boolean
  readonly snapshot: SharedSnapshot
  readonly request: SnapshotRequest
  readonly pace: Pace
  readonly clock: Clock
  readonly windowBytes: number
}

const NOTHING = new Uint8Array(0)

export class SnapshotSender {
  readonly #options: SnapshotSenderOptions
  readonly #bell = new Doorbell()
  readonly #ring: BufferRing
  readonly #mode: SnapshotStart['mode']
  readonly #startOffset: number
  #writable = true
  #failure: UnderstudyError | undefined
  #ended = false
  /** The peer said after the end that it has everything. */
  #taken = false
  /** End of what was sent, and of what the peer took. */
  #sentOffset: number
  #ackedOffset: number
  /** Hashes of chunks `#hashFirst` and on that have come and were not used. */
  #hashes: Uint8Array = NOTHING
  #hashFirst: number
  #hashesDone: boolean
  /** Bytes of chunks that went over the wire. */
  sentBytes = 0

  constructor(options: SnapshotSenderOptions) {
    const { snapshot, request } = options
    this.#options = options
    this.#ring = new BufferRing(snapshot.chunkBytes)
    const same = request.resumeId === snapshot.id
    const claimed = same ? Math.min(request.resumeOffset, snapshot.knownBytes) : 0
    // A whole image can only be claimed by one who has all: nothing is left to send but the digest.
    this.#startOffset = claimed === snapshot.totalBytes ? claimed : claimed - (claimed % snapshot.chunkBytes)
    this.#mode = request.heldBytes > this.#startOffset ? 'hashes' : 'stream'
    this.#sentOffset = this.#startOffset
    this.#ackedOffset = this.#startOffset
    this.#hashFirst = Math.ceil(this.#startOffset / snapshot.chunkBytes)
    this.#hashesDone = this.#mode === 'stream'
  }

  /** How far the follower is, in bytes of the image. */
  get offset(): number {
    return this.#ackedOffset
  }

  /** SnapshotAck and SnapshotHashes; a throw is the peer's fault and ends the connection. */
  receive(message: Message): void {
    if (message.type === 'snapshotAck') this.#acknowledge(message.offset)
    else if (message.type === 'snapshotHashes') this.#takeHashes(message)
    else throw violation(`a message of type ${message.type} during a snapshot`)
    this.#bell.ring()
  }

  drained(): void {
    this.#writable = true
    this.#bell.ring()
  }

  /** The transfer cannot go on: the connection ended, or the server wants it to. */
  fail(error: UnderstudyError): void {
    this.#failure ??= error
    this.#bell.ring()
  }

  /** Sends the image; resolves when the follower has it for good. Rejects with the reason why it has not. */
  async run(): Promise<void> {
    const { snapshot } = this.#options
    this.#send(this.#start())
    const first = Math.ceil(this.#startOffset / snapshot.chunkBytes)
    let next = first < snapshot.chunks ? this.#read(first) : undefined
    for (let index = first; index < snapshot.chunks; index++) {
      const bytes = await (next as Promise<Uint8Array>)
      if (index + 1 < snapshot.chunks) next = this.#read(index + 1)
      await this.#until(() => this.#hashesDone || this.#hashes.length > 0)
      const crc = crc32(bytes)
      snapshot.note(index, crc)
      if (this.#isHeld(bytes)) this.#sendHeld(index, crc, bytes)
      else await this.#sendChunk(index, crc, bytes)
    }
    await this.#until(() => this.#writable)
    this.#ended = true
    this.#send({ type: 'snapshotEnd', digest: snapshot.digest() })
    await this.#until(() => this.#taken)
  }

  #start(): SnapshotStart {
    const { id, point, history, pageBytes, totalBytes, chunkBytes } = this.#options.snapshot
    const windowBytes = Math.max(this.#options.windowBytes, chunkBytes)
    return {
      type: 'snapshotStart',
      id,
      point,
      history,
      pageBytes,
      totalBytes,
      chunkBytes,
      mode: this.#mode,
      offset: this.#startOffset,
      windowBytes,
    }
  }

  #read(index: number): Promise<Uint8Array> {
    const { snapshot } = this.#options
    const buffer = this.#ring.take(snapshot.chunkLength(index))
    const reading = snapshot.read(index, buffer).then(() => buffer)
    // It may fail while the chunk before it still waits to be sent; `run` meets the error when it comes to this chunk.
    reading.catch(() => undefined)
    return reading
  }

  /** Uses up the hash of the chunk that `bytes` are. */
  #isHeld(bytes: Uint8Array): boolean {
    if (this.#hashes.length === 0) return false
    const held = this.#hashes.subarray(0, HASH_BYTES)
    this.#hashes = this.#hashes.subarray(HASH_BYTES)
    this.#hashFirst += 1
    return Buffer.compare(held, chunkHash(bytes)) === 0
  }

  #sendHeld(index: number, crc: number, bytes: Uint8Array): void {
    const offset = index * this.#options.snapshot.chunkBytes
    this.#send({ type: 'snapshotChunk', offset, crc, bytes: NOTHING })
    this.#sentOffset = offset + bytes.length
    this.#ring.giveBack(bytes)
  }

  async #sendChunk(index: number, crc: number, bytes: Uint8Array): Promise<void> {
    const { snapshot, windowBytes, pace, clock } = this.#options
    const room = Math.max(windowBytes, snapshot.chunkBytes) - bytes.length
    await this.#until(() => this.#writable && this.#ring.inFlightBytes <= room)
    for (let delayMs = pace.delayMs(); delayMs > 0; delayMs = pace.delayMs())
      await this.#sleep(clock, delayMs)
    pace.take(bytes.length)
    const offset = index * snapshot.chunkBytes
    this.#sentOffset = offset + bytes.length
    this.#ring.sent(bytes, this.#sentOffset)
    this.sentBytes += bytes.length
    this.#send({ type: 'snapshotChunk', offset, crc, bytes })
  }

  #send(message: Message): void {
    if (this.#failure !== undefined) throw this.#failure
    if (!this.#options.send(message)) this.#writable = false
  }

  async #until(reached: () => boolean): Promise<void> {
    while (this.#failure === undefined && !reached()) await this.#bell.wait()
    if (this.#failure !== undefined) throw this.#failure
  }

  async #sleep(clock: Clock, delayMs: number): Promise<void> {
    let due = false
    const timer: Timer = clock.schedule(delayMs, () => {
      due = true
      this.#bell.ring()
    })
    try {
      await this.#until(() => due)
    } finally {
      timer.cancel()
    }
  }

  #acknowledge(offset: number): void {
    const { totalBytes } = this.#options.snapshot
    if (offset < this.#ackedOffset || offset > this.#sentOffset || (offset === totalBytes && !this.#ended)) {
      throw violation(`an acknowledgement of ${offset} bytes where ${this.#sentOffset} were sent`)
    }
    this.#ackedOffset = offset
    this.#taken = offset === totalBytes
    this.#ring.acknowledge(offset)
  }

  #takeHashes(message: SnapshotHashes): void {
    const { chunks } = this.#options.snapshot
    const expected = this.#hashFirst + this.#hashes.length / HASH_BYTES
    const count = message.hashes.length / HASH_BYTES
    if (
      this.#hashesDone ||
      message.firstChunk !== expected ||
      !Number.isInteger(count) ||
      expected + count > chunks
    ) {
      throw violation(`hashes of chunks ${message.firstChunk} and on where those of ${expected} were due`)
    }
    this.#hashes = this.#hashes.length === 0 ? message.hashes : Buffer.concat([this.#hashes, message.hashes])
    this.#hashesDone = message.last
  }
}

function violation(reason: string): UnderstudyError {
  return new UnderstudyError(
    'PROTOCOL_VIOLATION',
    `The follower sent ${reason}. The transfer ended and the snapshot is kept for a while; check that both ends are Understudy nodes of matching versions.`,
  )
}
