/**
 * One simulated file: what reads see, what is durable, and the operations between the two.
 *
 * Decides: what a crash can leave of unsynced writes.
 * Leaves to others: names (name-space.ts), when syncs begin and end, injected failures (disk.ts).
 *
 * 1. A sector (512 bytes, aligned) is written whole or not at all; every unsynced sector survives or is lost on its own,
 *    in any combination. Of two unsynced writes to one sector the later one never loses to the earlier one.
 * 2. The size may grow without the bytes that made it grow: they read as zeros.
 * 3. A sync makes durable what was written before it began, not what came meanwhile.
 */
import type { SeededRandom } from '../random.ts'

export const SECTOR_BYTES = 512

type Operation =
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly size: number }

/** What becomes of unsynced operations: `random` draws one of many outcomes, the two extremes included. */
export type CrashOutcome = 'random' | 'lose-all' | 'keep-all'

export class Inode {
  readonly id: number
  #current: Content
  #durable: Content
  /** Unsynced, oldest first. The first one has the number `#syncedCount`. */
  #operations: Operation[] = []
  #syncedCount = 0

  constructor(id: number, current: Content = new Content(), durable: Content = new Content()) {
    this.id = id
    this.#current = current
    this.#durable = durable
  }

  get size(): number {
    return this.#current.size
  }

  get unsyncedOperations(): number {
    return this.#operations.length
  }

  read(target: Uint8Array, offset: number): number {
    return this.#current.read(target, offset)
  }

  write(bytes: Uint8Array, offset: number): void {
    if (bytes.byteLength === 0) return
    this.#current.write(bytes, offset)
    // Not `bytes.slice()`: that of a Buffer is a view, and its owner may write to it again.
    this.#operations.push({ kind: 'write', offset, bytes: Uint8Array.from(bytes) })
  }

  truncate(size: number): void {
    this.#current.truncate(size)
    this.#operations.push({ kind: 'truncate', size })
  }

  /** What a sync that begins now will make durable: hand it to `synced` or `syncFailed` when it ends. */
  syncMark(): number {
    return this.#syncedCount + this.#operations.length
  }

  synced(mark: number): void {
    for (const operation of this.#take(mark)) applyOperation(this.#durable, operation)
  }

  /**
   * Linux's way: the dirty pages are dropped from the books and count as clean, so that reads go on to show them and no
   * later sync writes them. Some of them may have reached the disk.
   */
  syncFailed(mark: number, random: SeededRandom): void {
    applySome(this.#durable, this.#take(mark), random)
  }

  crash(outcome: CrashOutcome, random: SeededRandom): void {
    const operations = this.#take(this.syncMark())
    if (outcome === 'keep-all') for (const operation of operations) applyOperation(this.#durable, operation)
    if (outcome === 'random') applySome(this.#durable, operations, random)
    this.#current = this.#durable.copy()
  }

  /** Changes a stored byte, in what reads see and in what is durable. */
  flip(offset: number, mask: number): void {
    this.#current.flip(offset, mask)
    this.#durable.flip(offset, mask)
  }

  copy(): Inode {
    const copy = new Inode(this.id, this.#current.copy(), this.#durable.copy())
    copy.#operations = [...this.#operations]
    copy.#syncedCount = this.#syncedCount
    return copy
  }

  #take(mark: number): Operation[] {
    const count = Math.max(0, mark - this.#syncedCount)
    this.#syncedCount += count
    return this.#operations.splice(0, count)
  }
}

function applyOperation(content: Content, operation: Operation): void {
  if (operation.kind === 'write') content.write(operation.bytes, operation.offset)
  else content.truncate(operation.size)
}

/** Applies a random part of the operations: a prefix with a torn end, or any sectors of any of them. */
function applySome(content: Content, operations: readonly Operation[], random: SeededRandom): void {
  if (operations.length === 0) return
  const style = random.pick(['nothing', 'everything', 'prefix', 'sectors', 'sectors'] as const)
  if (style === 'nothing') return
  const whole =
    style === 'everything' ? operations.length : style === 'prefix' ? random.below(operations.length) : 0
  for (const operation of operations.slice(0, whole)) applyOperation(content, operation)
  const torn = style === 'prefix' ? operations.slice(whole, whole + 1) : operations.slice(whole)
  const probability = random.pick([0.05, 0.5, 0.95])
  for (const operation of torn) {
    if (operation.kind === 'write') writeSomeSectors(content, operation, probability, random)
    else if (random.chance(probability)) content.truncate(operation.size)
  }
}

function writeSomeSectors(
  content: Content,
  write: { readonly offset: number; readonly bytes: Uint8Array },
  probability: number,
  random: SeededRandom,
): void {
  const end = write.offset + write.bytes.byteLength
  for (let from = write.offset; from < end;) {
    const upTo = Math.min(end, from - (from % SECTOR_BYTES) + SECTOR_BYTES)
    if (random.chance(probability)) {
      content.write(write.bytes.subarray(from - write.offset, upTo - write.offset), from)
    }
    from = upTo
  }
  if (end > content.size && random.chance(0.5)) content.truncate(end)
}

/** Growable bytes; what was never written, or was cut off, reads as zeros. */
export class Content {
  #bytes: Uint8Array = new Uint8Array(0)
  #size = 0

  get size(): number {
    return this.#size
  }

  read(target: Uint8Array, offset: number): number {
    const count = Math.max(0, Math.min(target.byteLength, this.#size - offset))
    if (count > 0) target.set(this.#bytes.subarray(offset, offset + count))
    return count
  }

  write(bytes: Uint8Array, offset: number): void {
    const end = offset + bytes.byteLength
    this.#reserve(end)
    this.#bytes.set(bytes, offset)
    this.#size = Math.max(this.#size, end)
  }

  truncate(size: number): void {
    this.#reserve(size)
    if (size < this.#size) this.#bytes.fill(0, size, this.#size)
    this.#size = size
  }

  flip(offset: number, mask: number): void {
    if (offset < this.#size) this.#bytes[offset] = (this.#bytes[offset] ?? 0) ^ mask
  }

  copy(): Content {
    const copy = new Content()
    copy.#bytes = this.#bytes.slice(0, this.#size)
    copy.#size = this.#size
    return copy
  }

  #reserve(capacity: number): void {
    if (capacity <= this.#bytes.byteLength) return
    const grown = new Uint8Array(Math.max(capacity, this.#bytes.byteLength * 2, 4096))
    grown.set(this.#bytes.subarray(0, this.#size))
    this.#bytes = grown
  }
}
