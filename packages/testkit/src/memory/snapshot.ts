/** A frozen image of a `MemoryStorage`. */
import { UnderstudyError, type LogPoint, type SnapshotSource } from '@understudy/contracts'
import { MEMORY_PAGE_BYTES } from './image.ts'

export class MemorySnapshot implements SnapshotSource {
  readonly point: LogPoint
  readonly pageBytes: number = MEMORY_PAGE_BYTES
  readonly totalBytes: number
  readonly #image: Uint8Array
  readonly #released: () => void
  #open = true

  constructor(point: LogPoint, image: Uint8Array, released: () => void) {
    this.point = point
    this.#image = image
    this.totalBytes = image.byteLength
    this.#released = released
  }

  async read(target: Uint8Array, offset: number): Promise<number> {
    if (!this.#open) throw new UnderstudyError('CLOSED', 'The snapshot was closed.')
    if (offset % this.pageBytes !== 0 || target.byteLength % this.pageBytes !== 0) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `Snapshots are read in multiples of ${this.pageBytes} bytes.`,
      )
    }
    const piece = this.#image.subarray(offset, offset + target.byteLength)
    target.set(piece)
    return piece.byteLength
  }

  async close(): Promise<void> {
    this.#open = false
    this.#released()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
