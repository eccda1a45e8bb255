/**
 * SQLite's own nondeterministic functions, computed on a connection of our own where nothing overrides them.
 *
 * So an override answers with exactly what the function that it hides would have answered: ranges, lengths, texts,
 * NULLs and errors are SQLite's. Time and randomness are SQLite's too.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import type { PlainValue } from './bytes.ts'

export class Builtins {
  readonly #database = new DatabaseSync(':memory:')
  readonly #now: StatementSync
  readonly #calls = new Map<string, StatementSync[]>()

  constructor() {
    // The form that SQLite reads back to the same millisecond, known to be UTC as 'now' is.
    this.#now = this.#prepare(`select strftime('%Y-%m-%d %H:%M:%fZ', 'now')`)
  }

  now(): string {
    return (this.#now.get() as unknown as [string])[0]
  }

  call(name: string, values: readonly PlainValue[]): PlainValue {
    let statements = this.#calls.get(name)
    if (statements === undefined) {
      statements = []
      this.#calls.set(name, statements)
    }
    let statement = statements[values.length]
    if (statement === undefined) {
      statement = this.#prepare(`select ${name}(${values.map(() => '?').join(', ')})`)
      statements[values.length] = statement
    }
    return (statement.get(...(values as readonly SQLInputValue[])) as unknown as [PlainValue])[0]
  }

  close(): void {
    this.#database.close()
  }

  #prepare(sql: string): StatementSync {
    const statement = this.#database.prepare(sql)
    statement.setReadBigInts(true)
    statement.setReturnArrays(true)
    return statement
  }
}
