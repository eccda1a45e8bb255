/**
 * A cache of page images, bounded in bytes: the longest unused one goes.
 *
 * Decides: which images stay. Leaves to others: of which commit they are. Images are copied in; what comes out is a view
 * of the cache's own bytes, valid until the next `put`.
 */

/** Images that get their memory at once. */
const CHUNK_BYTES = 256 * 1024

export class PageCache {
  readonly #pageBytes: number
  readonly #imagesMax: number
  /** In the order of their use. */
  readonly #images = new Map<number, Uint8Array>()
  readonly #free: Uint8Array[] = []
  #allocated = 0

  constructor(pageBytes: number, bytesMax: number) {
    this.#pageBytes = pageBytes
    this.#imagesMax = Math.floor(bytesMax / pageBytes)
  }

  get(page: number): Uint8Array | undefined {
    const image = this.#images.get(page)
    if (image === undefined) return undefined
    this.#images.delete(page)
    this.#images.set(page, image)
    return image
  }

  put(page: number, image: Uint8Array): void {
    const slot = this.#images.get(page) ?? this.#slot()
    if (slot === undefined) return
    slot.set(image)
    this.#images.delete(page)
    this.#images.set(page, slot)
  }

  delete(page: number): void {
    const slot = this.#images.get(page)
    if (slot === undefined) return
    this.#images.delete(page)
    this.#free.push(slot)
  }

  clear(): void {
    this.#free.push(...this.#images.values())
    this.#images.clear()
  }

  #slot(): Uint8Array | undefined {
    const free = this.#free.pop()
    if (free !== undefined) return free
    if (this.#allocated < this.#imagesMax) return this.#allocate()
    for (const [page, slot] of this.#images) {
      this.#images.delete(page)
      return slot
    }
    return undefined
  }

  #allocate(): Uint8Array {
    const wanted = Math.max(1, Math.floor(CHUNK_BYTES / this.#pageBytes))
    const count = Math.min(wanted, this.#imagesMax - this.#allocated)
    const bytes = new Uint8Array(count * this.#pageBytes)
    this.#allocated += count
    for (let index = 1; index < count; index++)
      this.#free.push(bytes.subarray(index * this.#pageBytes, (index + 1) * this.#pageBytes))
    return bytes.subarray(0, this.#pageBytes)
  }
}
