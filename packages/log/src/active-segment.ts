/**
 * The segment that takes appends: writes and syncs it.
 *
 * It holds two descriptors. The system reports a failed write-back once per descriptor, to whichever sync comes first:
 * with one descriptor, a sync on this thread could succeed because one on the thread pool took the error of the very
 * same bytes. Writes and `syncNow` use one, `sync` the other.
 *
 * Validity: the second descriptor is closed only after its last sync returned.
 */
import type { FileHandle, Files } from '@understudy/contracts'
import type { Segment } from './segment.ts'

export class ActiveSegment {
  readonly segment: Segment
  readonly #writer: FileHandle
  readonly #syncer: FileHandle
  #pending = 0
  #closed = false

  constructor(files: Files, segment: Segment) {
    this.segment = segment
    this.#writer = files.open(segment.path, { write: true })
    this.#syncer = files.open(segment.path, { write: true })
  }

  get freeBytes(): number {
    return this.segment.size - this.segment.used
  }

  write(parts: readonly Uint8Array[]): void {
    this.#writer.write(parts, this.segment.used)
  }

  /** Makes sure that nothing of a failed write of `length` bytes can be taken for records later. */
  undo(length: number): void {
    const { used } = this.segment
    this.#writer.write([new Uint8Array(Math.min(length, this.freeBytes))], used)
    this.#writer.dataSyncNow()
  }

  syncNow(): void {
    this.#writer.dataSyncNow()
  }

  sync(): Promise<void> {
    this.#pending++
    return this.#syncer.dataSync().finally(() => {
      this.#pending--
      if (this.#closed && this.#pending === 0) this.#syncer.close()
    })
  }

  close(): void {
    this.#closed = true
    this.#writer.close()
    if (this.#pending === 0) this.#syncer.close()
  }
}
