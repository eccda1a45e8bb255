/**
 * What the demo was promised: for each row that it wrote, what must be there now.
 *
 * 1. An acknowledged write must be found: an insert and an update with its own note, a delete as an absence.
 * 2. A row that nobody wrote must not be found. Every write is answered before this is looked into, so there is no third case.
 */

/** The note of a row, or `undefined` for no row. */
export type Note = string | undefined

export interface LedgerReport {
  /** Rows that something was promised of. */
  readonly promises: number
  /** Acknowledged writes whose effect is not there. */
  readonly lost: number
  /** Rows that no write explains. */
  readonly unexplained: number
  /** The first few of both, for people. */
  readonly examples: readonly string[]
}

const EXAMPLES_MAX = 5

export class Ledger {
  /** Last acknowledged state of each row. */
  readonly #promised = new Map<number, Note>()

  /** A write of this row was acknowledged. */
  acknowledge(id: number, note: Note): void {
    this.#promised.set(id, note)
  }

  /** Compares with all rows of a node. */
  check(found: ReadonlyMap<number, string>): LedgerReport {
    let lost = 0
    let unexplained = 0
    const examples: string[] = []
    const tell = (id: number, what: string): void => {
      if (examples.length < EXAMPLES_MAX) examples.push(`row ${id} ${what}`)
    }
    for (const [id, note] of this.#promised) {
      if (found.get(id) === note) continue
      lost++
      tell(id, `is ${describe(found.get(id))} instead of ${describe(note)}`)
    }
    for (const [id, note] of found) {
      if (this.#promised.has(id)) continue
      unexplained++
      tell(id, `is ${describe(note)} and was never written so`)
    }
    return { promises: this.#promised.size, lost, unexplained, examples }
  }
}

function describe(note: Note): string {
  return note === undefined ? 'absent' : `'${note}'`
}
