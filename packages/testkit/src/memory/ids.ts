/**
 * Ids in a `MemoryStorage`: counters as AUTOINCREMENT keeps them, and their ceilings, as rows among the user's own, so that formats carry
 * them as they are.
 *
 * Decides: how they are written down. The rules are those of `IdTable`.
 */
import type { IdCeiling, IdTable, IdWatch, StoredIds } from '@understudy/contracts'
import type { MemoryConnection } from './connection.ts'

/** Every row of ids begins with it. */
export const MEMORY_ID_PREFIX = '_id/'

const COUNTERS = `${MEMORY_ID_PREFIX}counters`
const STORED = `${MEMORY_ID_PREFIX}stored`

interface StoredText {
  readonly ceilings: Readonly<Record<string, readonly [ceiling: string, inForce: string]>>
  readonly members: readonly string[]
  readonly floor?: string
}

export class MemoryIds implements IdTable {
  readonly #connection: MemoryConnection
  readonly #watches = new Set<{ isTouched: boolean }>()

  constructor(connection: MemoryConnection) {
    this.#connection = connection
  }

  /** In a write: the id of a new row of a table with AUTOINCREMENT, which need not exist. */
  next(table: string): bigint {
    const id = (this.counters().get(table) ?? this.stored().floor) + 1n
    this.give(table, id)
    return id
  }

  /** In a write: a row whose id its user chose. */
  give(table: string, id: bigint): void {
    for (const watch of this.#watches) watch.isTouched = true
    if (id > (this.counters().get(table) ?? -1n)) this.setCounter(table, id)
  }

  stored(): StoredIds {
    const { ceilings, members, floor = '0' } = this.#stored()
    const entries = Object.entries(ceilings).map(([table, [ceiling, inForce]]): [string, IdCeiling] => [
      table,
      { ceiling: BigInt(ceiling), inForce: BigInt(inForce) },
    ])
    return { ceilings: new Map(entries), members, floor: BigInt(floor) }
  }

  counters(): ReadonlyMap<string, bigint> {
    const text = this.#connection.get(COUNTERS) ?? '{}'
    const values = Object.entries(JSON.parse(text) as Record<string, string>)
    return new Map(values.map(([table, value]) => [table, BigInt(value)]))
  }

  watch(): IdWatch {
    const watch = { isTouched: true }
    this.#watches.add(watch)
    return {
      touched: () => {
        const was = watch.isTouched
        watch.isTouched = false
        return was
      },
      close: () => void this.#watches.delete(watch),
    }
  }

  putCeiling(table: string, { ceiling, inForce }: IdCeiling): void {
    const stored = this.#stored()
    const ceilings = { ...stored.ceilings, [table]: [ceiling.toString(), inForce.toString()] as const }
    this.#store({ ...stored, ceilings })
  }

  putMember(name: string, isMember: boolean): void {
    const stored = this.#stored()
    const others = stored.members.filter((other) => other !== name)
    this.#store({ ...stored, members: isMember ? [...others, name] : others })
  }

  putFloor(floor: bigint): void {
    this.#store({ ...this.#stored(), floor: floor.toString() })
  }

  setCounter(table: string, value: bigint): void {
    const counters = Object.fromEntries([...this.counters()].map(([name, each]) => [name, each.toString()]))
    this.#connection.set(COUNTERS, JSON.stringify({ ...counters, [table]: value.toString() }))
  }

  #stored(): StoredText {
    return JSON.parse(this.#connection.get(STORED) ?? '{"ceilings":{},"members":[]}') as StoredText
  }

  #store(stored: StoredText): void {
    this.#connection.set(STORED, JSON.stringify(stored))
  }
}
