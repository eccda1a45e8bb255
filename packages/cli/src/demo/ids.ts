/**
 * What some other system keeps by the ids that the database gave it, as a shop keeps invoices by order number.
 *
 * 1. An id is given once: to two writes, it is reused.
 * 2. The row with that id stays the one that it was given for: another row there means that the id was reused.
 * 3. Each write made one row: none is an acknowledged write that is lost; two mean that it was done twice.
 */

export interface IdReport {
  /** Ids that were given. */
  readonly given: number
  /** Ids that two writes were given, or that name another row now. */
  readonly reused: number
  /** Acknowledged writes whose row is not there. */
  readonly lost: number
  /** Rows of nobody, and second rows of a write. */
  readonly unexplained: number
  /** The first few of all of them, for people. */
  readonly examples: readonly string[]
}

/** A row of `ticket`: its id, and the write that it was given to. */
export type Ticket = readonly [id: number, holder: string]

const EXAMPLES_MAX = 5

export class IdLedger {
  readonly #holders = new Map<number, string>()
  /** Every acknowledged write; one done before, whose answer was not kept, has no id here. */
  readonly #writes = new Set<string>()
  /** Ids that were given to a second write. */
  readonly #twice = new Map<number, string>()

  /** A write was acknowledged, and its answer named this id. */
  give(id: number | undefined, holder: string): void {
    this.#writes.add(holder)
    if (id === undefined) return
    if (this.#holders.has(id)) this.#twice.set(id, holder)
    else this.#holders.set(id, holder)
  }

  /** Compares with all rows of a node. */
  check(found: readonly Ticket[]): IdReport {
    const examples: string[] = []
    const tell = (text: string): void => {
      if (examples.length < EXAMPLES_MAX) examples.push(text)
    }
    const reused = this.#reused(new Map(found), tell)
    const missing = new Set(this.#writes)
    let unexplained = 0
    for (const [id, holder] of found) {
      if (missing.delete(holder)) continue
      unexplained++
      tell(
        `id ${id} is a row of '${holder}', ${this.#writes.has(holder) ? 'which has one' : 'who wrote none'}`,
      )
    }
    for (const holder of missing) tell(`the row of '${holder}' is absent`)
    return { given: this.#holders.size, reused, lost: missing.size, unexplained, examples }
  }

  #reused(found: ReadonlyMap<number, string>, tell: (text: string) => void): number {
    let reused = 0
    for (const [id, holder] of this.#holders) {
      const now = found.get(id)
      const second = this.#twice.get(id)
      if (second === undefined && (now === undefined || now === holder)) continue
      reused++
      tell(
        `id ${id} was given to '${holder}' and ${second === undefined ? `is a row of '${now}'` : `to '${second}'`}`,
      )
    }
    return reused
  }
}
