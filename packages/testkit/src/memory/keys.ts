/**
 * Keys of writes in a `MemoryStorage`: rows among the user's own, so that formats carry them as they are.
 *
 * Decides: how they are written down. The rules are those of `KeyTable`.
 */
import type { KeyedWrite, KeyLimits, KeyTable, LogPoint, Lsn, Position } from '@understudy/contracts'
import type { MemoryConnection } from './connection.ts'

/** Every row of keys begins with it. */
export const MEMORY_KEY_PREFIX = '_key/'

const ENDS = `${MEMORY_KEY_PREFIX}ends`
const byKey = (key: string): string => `${MEMORY_KEY_PREFIX}of/${key}`
const byId = (id: number): string => `${MEMORY_KEY_PREFIX}id/${id}`
const byGroup = (after: Lsn): string => `${MEMORY_KEY_PREFIX}group/${after}`

interface StoredKey {
  readonly at: number
  readonly epoch: number
  readonly after: Lsn
  readonly index: number
  readonly digest?: string
  readonly value?: string
}

export class MemoryKeys implements KeyTable {
  readonly #connection: MemoryConnection

  constructor(connection: MemoryConnection) {
    this.#connection = connection
  }

  find(key: string): KeyedWrite | undefined {
    const row = this.#row(key)
    if (row === undefined) return undefined
    const { epoch, after, index, digest, value } = row
    return {
      epoch,
      after,
      index,
      digest: digest === undefined ? undefined : new Uint8Array(Buffer.from(digest, 'hex')),
      value,
    }
  }

  put(key: string, write: KeyedWrite, atMs: number, { keepMs, keysMax, droppedMax }: KeyLimits): void {
    let [first, last] = this.#ends()
    const { epoch, after, index, digest, value } = write
    const row: StoredKey = {
      at: atMs,
      epoch,
      after,
      index,
      ...(digest && { digest: Buffer.from(digest).toString('hex') }),
      ...(value !== undefined && { value }),
    }
    last += 1
    this.#connection.set(byKey(key), JSON.stringify(row))
    this.#connection.set(byId(last), key)
    for (let dropped = 0; dropped < droppedMax && first < last; dropped++, first++) {
      const oldest = this.#connection.get(byId(first)) ?? ''
      const old = this.#row(oldest)
      if (old === undefined || (last - first < keysMax && old.at >= atMs - keepMs)) break
      this.#connection.delete(byKey(oldest))
      this.#connection.delete(byId(first))
      const next = this.#row(this.#connection.get(byId(first + 1)) ?? '')
      if (next?.after !== old.after) this.#connection.delete(byGroup(old.after))
    }
    this.#connection.set(ENDS, `${first} ${last}`)
  }

  settle(after: Lsn, { epoch, lsn, crc }: LogPoint): void {
    this.#connection.set(byGroup(after), JSON.stringify({ epoch, lsn, crc }))
  }

  settled(after: Lsn): LogPoint | undefined {
    const text = this.#connection.get(byGroup(after))
    return text === undefined ? undefined : (JSON.parse(text) as LogPoint)
  }

  unsettled(): Position | undefined {
    const [, last] = this.#ends()
    const row = this.#row(this.#connection.get(byId(last)) ?? '')
    if (row === undefined || this.settled(row.after) !== undefined) return undefined
    return { epoch: row.epoch, lsn: row.after }
  }

  #row(key: string): StoredKey | undefined {
    const text = this.#connection.get(byKey(key))
    return text === undefined ? undefined : (JSON.parse(text) as StoredKey)
  }

  /** Numbers of the oldest and the newest key. */
  #ends(): [number, number] {
    const [first = 1, last = 0] = (this.#connection.get(ENDS) ?? '1 0').split(' ').map(Number)
    return [first, last]
  }
}
