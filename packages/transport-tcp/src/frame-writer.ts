/**
 * Gathers the frames of one turn of the event loop into few buffers, for one write.
 *
 * A write of many small buffers costs far more than copying them together: parts up to `COPIED_BYTES_MAX` are copied into
 * a slab with the length prefixes, larger ones are passed on as they are.
 *
 * 1. A slab goes back to the pool only when the operating system has taken its bytes.
 */
const SLAB_BYTES = 64 * 1024
const COPIED_BYTES_MAX = 4 * 1024
/** Of all channels of a transport together: 4 MiB. */
const SLABS_KEPT = 64
const PREFIX_BYTES = 4

/** What one write takes. */
export interface Batch {
  readonly buffers: readonly Uint8Array[]
  readonly slabs: readonly Uint8Array[]
  readonly bytes: number
}

/** Slabs that wait to be used again; one for all channels of a transport. */
export class SlabPool {
  readonly #free: Uint8Array[] = []

  get(): Uint8Array {
    return this.#free.pop() ?? new Uint8Array(Buffer.allocUnsafeSlow(SLAB_BYTES).buffer)
  }

  /** Takes back the slabs of a batch whose bytes are out. */
  recycle(batch: Batch): void {
    for (const slab of batch.slabs) if (this.#free.length < SLABS_KEPT) this.#free.push(slab)
  }
}

export class FrameWriter {
  readonly #pool: SlabPool
  #buffers: Uint8Array[] = []
  #slabs: Uint8Array[] = []
  #slab: Uint8Array | undefined
  /** Of the slab, what is already in `#buffers`, and what is used. */
  #slabTaken = 0
  #slabUsed = 0
  #bytes = 0

  constructor(pool: SlabPool) {
    this.#pool = pool
  }

  /** Bytes gathered since the last `take`. */
  get bytes(): number {
    return this.#bytes
  }

  /** Adds one frame; returns its bytes with the prefix. */
  add(parts: readonly Uint8Array[], length: number): number {
    const slab = this.#room(PREFIX_BYTES)
    const at = this.#slabUsed
    slab[at] = length
    slab[at + 1] = length >>> 8
    slab[at + 2] = length >>> 16
    slab[at + 3] = length >>> 24
    this.#slabUsed = at + PREFIX_BYTES
    for (const part of parts) {
      if (part.length <= COPIED_BYTES_MAX) {
        this.#room(part.length).set(part, this.#slabUsed)
        this.#slabUsed += part.length
      } else {
        this.#seal()
        this.#buffers.push(part)
      }
    }
    this.#bytes += PREFIX_BYTES + length
    return PREFIX_BYTES + length
  }

  /** Everything gathered, in order. */
  take(): Batch {
    this.#seal()
    const batch: Batch = { buffers: this.#buffers, slabs: this.#slabs, bytes: this.#bytes }
    this.#buffers = []
    this.#slabs = []
    this.#slab = undefined
    this.#bytes = 0
    return batch
  }

  /** The slab, with room for `bytes` more. */
  #room(bytes: number): Uint8Array {
    if (this.#slab !== undefined && this.#slabUsed + bytes <= SLAB_BYTES) return this.#slab
    this.#seal()
    this.#slab = this.#pool.get()
    this.#slabs.push(this.#slab)
    this.#slabTaken = 0
    this.#slabUsed = 0
    return this.#slab
  }

  /** Moves what the slab holds into the list of buffers. */
  #seal(): void {
    if (this.#slab === undefined || this.#slabTaken === this.#slabUsed) return
    this.#buffers.push(this.#slab.subarray(this.#slabTaken, this.#slabUsed))
    this.#slabTaken = this.#slabUsed
  }
}
