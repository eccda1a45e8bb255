/**
 * Which rows of one table are on one side only.
 *
 * Decides: when two rows are the same, and what is remembered of those that have no counterpart yet. Leaves to others:
 * where rows come from.
 *
 * 1. Two rows are the same when types and values are. Both sides come in the same order, so that a row meets its
 *    counterpart soon, and only those without one stay: no order of keys need be known here, and a table without a key
 *    is compared as a multiset.
 * 2. Of a row that waits only a hash is kept once `KEPT_BYTES_MAX` of rows are; it counts, and is not shown.
 * 3. Beyond `WAITING_MAX` rows that wait the comparison ends, and the counts are what was found so far.
 */
import { createHash } from 'node:crypto'
import type { Value } from '@understudy/protocol'

export interface DifferingRow {
  /** A letter for the type of each value: n, i, r, t, b. */
  readonly types: string
  /** A text that is no UTF-8 is shown as well as it can be. */
  readonly values: readonly Value[]
}

export interface OneSide {
  /** How many rows only this side has. */
  readonly count: number
  /** The first of them, in the order of the key. */
  readonly rows: readonly DifferingRow[]
}

export type Side = 'leader' | 'node'

interface Waiting {
  count: number
  /** `undefined`: only the hash is known. */
  readonly row: readonly Value[] | undefined
  readonly bytes: number
}

/** Of rows that wait for their counterparts, on each side. */
export const KEPT_BYTES_MAX: number = 16 * 1024 * 1024
/** Rows that wait, on both sides together. */
export const WAITING_MAX = 500_000

export class RowDifference {
  readonly #waiting = { leader: new Map<string, Waiting>(), node: new Map<string, Waiting>() }
  readonly #keptBytes = { leader: 0, node: 0 }

  /** A row of one side: letters of types, then values. */
  add(side: Side, row: readonly Value[]): void {
    const key = hashOf(row)
    const other = side === 'leader' ? 'node' : 'leader'
    const counterpart = this.#waiting[other].get(key)
    if (counterpart !== undefined) {
      counterpart.count -= 1
      if (counterpart.count > 0) return
      this.#waiting[other].delete(key)
      this.#keptBytes[other] -= counterpart.bytes
      return
    }
    const own = this.#waiting[side].get(key)
    if (own !== undefined) {
      own.count += 1
      return
    }
    const bytes = bytesOf(row)
    const fits = this.#keptBytes[side] + bytes <= KEPT_BYTES_MAX
    if (fits) this.#keptBytes[side] += bytes
    this.#waiting[side].set(key, { count: 1, row: fits ? row : undefined, bytes: fits ? bytes : 0 })
  }

  /** More rows would be too many to remember. */
  get isFull(): boolean {
    return this.#waiting.leader.size + this.#waiting.node.size >= WAITING_MAX
  }

  /** What only that side has, with at most `max` rows. */
  only(side: Side, max: number): OneSide {
    let total = 0
    const rows: DifferingRow[] = []
    for (const { count, row } of this.#waiting[side].values()) {
      total += count
      if (row === undefined) continue
      for (let i = 0; i < count && rows.length < max; i++) rows.push(differing(row))
    }
    return { count: total, rows }
  }
}

function differing([types, ...values]: readonly Value[]): DifferingRow {
  const letters = String(types)
  return {
    types: letters,
    values: values.map((value, i) =>
      letters[i] === 't' && value instanceof Uint8Array ? Buffer.from(value).toString() : value,
    ),
  }
}

/** Numbers as the shortest text that reads back as the same; the types in front tell 1 and 1.0 apart. */
function hashOf(row: readonly Value[]): string {
  const hash = createHash('sha256')
  for (const value of row) {
    if (value instanceof Uint8Array) hash.update(`${value.length}:`).update(value)
    else if (typeof value === 'string') hash.update(`${Buffer.byteLength(value)}:`).update(value)
    else hash.update(Object.is(value, -0) ? '-0;' : `${value};`)
  }
  return hash.digest('base64')
}

function bytesOf(row: readonly Value[]): number {
  let bytes = 64
  for (const value of row)
    bytes +=
      value instanceof Uint8Array ? value.length + 64 : typeof value === 'string' ? value.length * 2 : 16
  return bytes
}
