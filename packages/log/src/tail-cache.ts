/**
 * The most recent records in memory, in the very bytes that were written, so that reading at the tail costs no file
 * read and no copy.
 *
 * Leader's appends are laid one behind another in arenas, so that many small appends can be read as one run. A
 * follower's appends are the buffers that came from the wire. Nothing in here is ever written to again; evicting
 * forgets references only.
 *
 * Validity: entries are in LSN order without gaps; the last one ends at the end of the log.
 */
import type { EncodedRecords, Lsn } from '@understudy/contracts'
import { viewOf } from './bytes.ts'
import { recordBytesAt, recordLsnAt } from './record.ts'

const ARENA_BYTES = 1024 * 1024

/** Room for records that are about to be written. */
export interface Room {
  readonly bytes: Uint8Array
  readonly view: DataView
}

interface Entry {
  readonly first: Lsn
  readonly last: Lsn
  readonly bytes: Uint8Array
  /** Bytes of all that was pushed through this entry. */
  readonly pushedBytes: number
}

export class TailCache {
  readonly #bytesMax: number
  #entries: Entry[] = []
  #bytes = 0
  #pushedBytes = 0
  #arena: ArrayBuffer = new ArrayBuffer(0)
  #arenaUsed = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Memory for `length` bytes, behind that of the append before where it fits. */
  room(length: number): Room {
    if (length > ARENA_BYTES / 4) {
      const bytes = new Uint8Array(new ArrayBuffer(length))
      return { bytes, view: viewOf(bytes) }
    }
    if (this.#arenaUsed + length > this.#arena.byteLength) {
      this.#arena = new ArrayBuffer(ARENA_BYTES)
      this.#arenaUsed = 0
    }
    const bytes = new Uint8Array(this.#arena, this.#arenaUsed, length)
    this.#arenaUsed += length
    return { bytes, view: viewOf(bytes) }
  }

  /** Adds the newest append. */
  push(first: Lsn, last: Lsn, bytes: Uint8Array): void {
    this.#pushedBytes += bytes.length
    this.#entries.push({ first, last, bytes, pushedBytes: this.#pushedBytes })
    this.#bytes += bytes.length
    if (this.#bytes > this.#bytesMax) this.#evict()
  }

  /** Forgets everything. */
  clear(): void {
    this.#entries = []
    this.#bytes = 0
  }

  /** Evicts down to three quarters, so that moving the array costs little for each append. */
  #evict(): void {
    let gone = 0
    while (this.#bytes > this.#bytesMax * 0.75 && gone < this.#entries.length) {
      this.#bytes -= this.#entries[gone++]!.bytes.length
    }
    this.#entries.splice(0, gone)
  }

  /** Records from `from` through at most `upTo`, in one run of memory; `undefined` when `from` is not cached. */
  read(from: Lsn, upTo: Lsn, bytesMax: number): EncodedRecords | undefined {
    let index = this.#indexOf(from)
    if (index === undefined) return undefined
    let entry = this.#entries[index]!
    const start = offsetOf(entry, from)
    const run = entry.bytes
    let end = start
    let last = from - 1
    for (;;) {
      const base = entry.bytes.byteOffset - run.byteOffset
      const whole = entry.last <= upTo && base + entry.bytes.length - start <= bytesMax
      if (!whole) {
        const part = partOf(entry, Math.max(from, entry.first), upTo, start + bytesMax - base, last < from)
        if (part !== undefined) {
          end = base + part.end
          last = part.last
        }
        break
      }
      end = base + entry.bytes.length
      last = entry.last
      const next = this.#entries[++index]
      if (next === undefined || next.bytes.buffer !== run.buffer) break
      if (next.bytes.byteOffset !== entry.bytes.byteOffset + entry.bytes.length) break
      entry = next
    }
    const bytes = new Uint8Array(run.buffer, run.byteOffset + start, end - start)
    return { bytes, first: from, last }
  }

  /** CRC of a cached record. */
  crcAt(lsn: Lsn): number | undefined {
    const index = this.#indexOf(lsn)
    if (index === undefined) return undefined
    const entry = this.#entries[index]!
    return viewOf(entry.bytes).getUint32(offsetOf(entry, lsn), true)
  }

  /** Bytes of the records from `lsn` through the newest; `undefined` when `lsn` is not cached. */
  bytesFrom(lsn: Lsn): number | undefined {
    const index = this.#indexOf(lsn)
    if (index === undefined) return undefined
    const entry = this.#entries[index]!
    return this.#pushedBytes - entry.pushedBytes + entry.bytes.length - offsetOf(entry, lsn)
  }

  #indexOf(lsn: Lsn): number | undefined {
    const entries = this.#entries
    if (entries.length === 0 || lsn < entries[0]!.first || lsn > entries.at(-1)!.last) return undefined
    let low = 0
    let high = entries.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (entries[middle]!.first <= lsn) low = middle
      else high = middle - 1
    }
    return low
  }
}

function offsetOf(entry: Entry, lsn: Lsn): number {
  const view = viewOf(entry.bytes)
  let offset = 0
  for (let at = entry.first; at < lsn; at++) offset += recordBytesAt(view, offset)!
  return offset
}

/** The records of an entry from `from` that fit below `endMax` and `upTo`; at least one when `force`. */
function partOf(
  entry: Entry,
  from: Lsn,
  upTo: Lsn,
  endMax: number,
  force: boolean,
): { readonly end: number; readonly last: Lsn } | undefined {
  const view = viewOf(entry.bytes)
  let end = offsetOf(entry, from)
  let last: Lsn | undefined
  while (end < entry.bytes.length) {
    const lsn = recordLsnAt(view, end)
    const next = end + recordBytesAt(view, end)!
    if (lsn > upTo || (next > endMax && !(force && last === undefined))) break
    end = next
    last = lsn
  }
  return last === undefined ? undefined : { end, last }
}
