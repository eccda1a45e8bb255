/**
 * Chunk buffers of one transfer: a buffer is written again only after the peer has said that it took the chunk, because
 * a channel does not say when it is done with a buffer, and only then is it certain.
 */
export class BufferRing {
  readonly #chunkBytes: number
  readonly #free: Uint8Array[] = []
  readonly #sent: { readonly end: number; readonly bytes: Uint8Array }[] = []
  /** Bytes sent that the peer has not acknowledged. */
  inFlightBytes = 0

  constructor(chunkBytes: number) {
    this.#chunkBytes = chunkBytes
  }

  take(length: number): Uint8Array {
    const buffer = this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#chunkBytes)
    return length === buffer.length ? buffer : buffer.subarray(0, length)
  }

  /** The buffer was not sent. */
  giveBack(buffer: Uint8Array): void {
    if (buffer.length === this.#chunkBytes) this.#free.push(buffer)
  }

  /** The chunk that ends at `end` was sent in `bytes`. */
  sent(bytes: Uint8Array, end: number): void {
    this.#sent.push({ end, bytes })
    this.inFlightBytes += bytes.length
  }

  /** Everything below `offset` was taken by the peer. */
  acknowledge(offset: number): void {
    let count = 0
    for (const { end, bytes } of this.#sent) {
      if (end > offset) break
      count += 1
      this.inFlightBytes -= bytes.length
      this.giveBack(bytes)
    }
    this.#sent.splice(0, count)
  }
}
