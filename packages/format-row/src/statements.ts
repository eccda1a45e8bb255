/**
 * Which statements of a write the row format cannot carry.
 */
import { UnderstudyError, type StatementInfo } from '@understudy/contracts'
import type { Schema } from './schema.ts'

/** PRAGMAs whose value is data, and travels. */
const CARRIED: ReadonlySet<string> = new Set(['user_version', 'application_id'])

/** PRAGMAs that change what statements do or how the file is built, in a way that followers would not share. */
const REFUSED: ReadonlySet<string> = new Set([
  'auto_vacuum',
  'case_sensitive_like',
  'encoding',
  'ignore_check_constraints',
  'legacy_alter_table',
  'page_size',
  'schema_version',
  'writable_schema',
])

/** Judges sets of written tables, each once: statements share their sets between runs. */
export class Verdicts {
  readonly #schema: Schema | undefined
  readonly #seen = new WeakMap<ReadonlySet<string>, boolean>()

  constructor(schema: Schema | undefined) {
    this.#schema = schema
  }

  /** Throws for a table that cannot be replicated; true when an AUTOINCREMENT counter may change. */
  judge(writes: ReadonlySet<string>): boolean {
    const seen = this.#seen.get(writes)
    if (seen !== undefined) return seen
    let counted = false
    for (const table of writes) {
      if (this.#schema?.keyless.has(table) === true) refuseKeyless(new Set([table]))
      if (this.#schema?.counted.has(table) === true) counted = true
    }
    this.#seen.set(writes, counted)
    return counted
  }
}

/** Throws when there is a table without PRIMARY KEY. */
export function refuseKeyless(keyless: ReadonlySet<string>): void {
  const [table] = keyless
  if (table === undefined) return
  throw new UnderstudyError(
    'TABLE_WITHOUT_PRIMARY_KEY',
    `Table ${table} has no PRIMARY KEY, so its rows have no identity and cannot be replicated. The write was refused and ` +
      `left no trace. ${KEYLESS_ADVICE}`,
    { table, tables: [...keyless] },
  )
}

export const KEYLESS_ADVICE: string =
  'Give the table a key, such as "id integer primary key"; instead of CREATE TABLE ... AS SELECT write CREATE TABLE ' +
  'with a key, then INSERT ... SELECT.'

/** Whether a PRAGMA writes a value that travels. Throws for one that no payload can carry. */
export function refusePragma(statement: StatementInfo): boolean {
  const { pragma } = statement
  if (pragma === undefined || pragma.argument === undefined) return false
  if (REFUSED.has(pragma.name)) {
    throw new UnderstudyError(
      'STATEMENT_UNSUPPORTED',
      `PRAGMA ${pragma.name} would change this node in a way that the row format cannot carry to the others. It was not ` +
        'run. Set it in setup(), alike on every node, if it is needed.',
      { pragma: pragma.name },
    )
  }
  return CARRIED.has(pragma.name)
}
