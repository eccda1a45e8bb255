/**
 * Compares a lost tail with the database of the new history, change by change.
 *
 * Decides: what can be applied, what is there already, what cannot. Leaves to others: reading rows, writing (`statements.ts`).
 *
 * 1. Changes are taken in their order, each against what the ones before it would have made of the row: so a row that was
 *    inserted and then changed in the tail is clean twice.
 * 2. A transaction is applied as a whole or not at all. Once it is not, later changes of its rows depend on it, and are conflicts too.
 * 3. What is unclear is never applied, and nothing is that depends on it: after a change of the schema nothing is.
 */
import { formatPosition } from '@understudy/contracts'
import type { LostChange, LostRow, SqlValue } from './changes.ts'
import type { LostTail, LostTransaction } from './transactions.ts'

/**
 * `clean`: the row is as it was before the change. `alreadyThere`: as after it. `idTaken`: another row has the key of an insert.
 * `conflict`: anything else.
 */
export type Verdict = 'clean' | 'alreadyThere' | 'idTaken' | 'conflict'

export interface ClassifiedChange {
  readonly change: LostChange
  readonly verdict: Verdict
  /** Why it is no clean one, in a few words. */
  readonly reason: string | undefined
  /** The row of the new history as the changes before it would have left it; `undefined` when there is none. */
  readonly found: LostRow | undefined
}

export interface ClassifiedTransaction {
  readonly transaction: LostTransaction
  readonly changes: readonly ClassifiedChange[]
  /** `apply`: all clean or there already. `nothing`: all there already. `skip`: not to be applied; `reason` says why. */
  readonly decision: 'apply' | 'nothing' | 'skip'
  readonly reason: string | undefined
}

export interface Classification {
  readonly transactions: readonly ClassifiedTransaction[]
  readonly counts: Readonly<Record<Verdict, number>>
}

/** Rows of one statement that only reads, as of now. Throws what the database throws. */
export type ReadRows = (
  sql: string,
  parameters: readonly SqlValue[],
) => Promise<readonly (readonly SqlValue[])[]>

/** A row of the new history, as far as the tail has got with it. */
interface Known {
  readonly row: LostRow | undefined
  /** Position of a transaction that is not applied and would have changed it. */
  readonly spoiltBy?: string
}

export async function classify(tail: LostTail, read: ReadRows): Promise<Classification> {
  const rows = new RowsOfDatabase(read)
  const known = new Map<string, Known>()
  const transactions: ClassifiedTransaction[] = []
  let broken: string | undefined
  for (const transaction of tail.transactions) {
    const changed = new Map<string, Known>()
    const changes: ClassifiedChange[] = []
    for (const change of transaction.changes) {
      const id = identityOf(change)
      const at = changed.get(id) ?? known.get(id) ?? { row: await rows.find(change) }
      const judged = judge(change, at, rows.problem(change))
      changes.push(judged)
      changed.set(id, { ...at, row: rowAfter(change, at.row) })
    }
    const reason = broken ?? reasonOf(transaction, changes) ?? triggeredBy(changes, rows)
    const decision =
      reason !== undefined
        ? 'skip'
        : changes.every(({ verdict }) => verdict === 'alreadyThere')
          ? 'nothing'
          : 'apply'
    transactions.push({ transaction, changes, decision, reason })
    const position = formatPosition(transaction.position)
    for (const [id, state] of changed)
      known.set(id, reason === undefined ? state : { row: known.get(id)?.row, spoiltBy: position })
    if (reason !== undefined && transaction.unclear !== undefined)
      broken ??= `${position} before it is not applied: ${transaction.unclear}`
  }
  return { transactions, counts: countsOf(transactions) }
}

/** Reads rows by key, and looks once at each table. */
class RowsOfDatabase {
  readonly #read: ReadRows
  readonly #triggered = new Set<string>()
  readonly #columns = new Map<string, ReadonlySet<string>>()

  constructor(read: ReadRows) {
    this.#read = read
  }

  async find(change: LostChange): Promise<LostRow | undefined> {
    const { table, key } = change
    let columns = this.#columns.get(table)
    if (columns === undefined) {
      const names = await this.#read('select name from pragma_table_xinfo(?) where hidden = 0', [table])
      columns = new Set(names.map(([name]) => String(name)))
      const triggers = await this.#read(
        `select 1 from sqlite_schema where type = 'trigger' and lower(tbl_name) = lower(?)`,
        [table],
      )
      if (triggers.length > 0) this.#triggered.add(table)
      this.#columns.set(table, columns)
    }
    if (this.problem(change) !== undefined) return undefined
    const wanted = [...columns]
    const where = key.map((column) => `${quote(column)} is ?`).join(' and ')
    const identity = (change.before ?? change.after) as LostRow
    const [row] = await this.#read(
      `select ${wanted.map((column) => `typeof(${quote(column)}), ${quote(column)}`).join(', ')} from ${quote(table)} where ${where}`,
      key.map((column) => identity[column] ?? null),
    )
    if (row === undefined) return undefined
    const values = wanted.map((column, index) => [column, typed(row[2 * index], row[2 * index + 1])])
    return Object.fromEntries(values) as LostRow
  }

  /** What a trigger did is in the tail as rows of its own: it must not run again. */
  hasTriggers(table: string): boolean {
    return this.#triggered.has(table)
  }

  /** What keeps a change from being compared at all. */
  problem(change: LostChange): string | undefined {
    const columns = this.#columns.get(change.table)
    if (columns === undefined) return undefined
    if (columns.size === 0) return `there is no table ${change.table}`
    const missing = columnsOf(change).find((column) => !columns.has(column))
    return missing === undefined ? undefined : `table ${change.table} has no column ${missing}`
  }
}

function judge(change: LostChange, { row, spoiltBy }: Known, problem: string | undefined): ClassifiedChange {
  const verdict = (kind: Verdict, reason?: string): ClassifiedChange => ({
    change,
    verdict: kind,
    reason,
    found: row,
  })
  const { operation, before, after } = change
  if (problem !== undefined) return verdict('conflict', problem)
  if (spoiltBy !== undefined) return verdict('conflict', `it goes on from ${spoiltBy}, which is not applied`)
  if (operation === 'insert') {
    if (row === undefined) return verdict('clean')
    if (holds(row, after)) return verdict('alreadyThere')
    return verdict('idTaken', 'another row has its key')
  }
  if (operation === 'delete') {
    if (row === undefined) return verdict('alreadyThere')
    return holds(row, before) ? verdict('clean') : verdict('conflict', 'the row has other values now')
  }
  if (row === undefined) return verdict('conflict', 'the row is gone')
  if (holds(row, after)) return verdict('alreadyThere')
  return holds(row, before) ? verdict('clean') : verdict('conflict', 'the row has other values now')
}

function rowAfter({ operation, after }: LostChange, row: LostRow | undefined): LostRow | undefined {
  if (operation === 'delete') return undefined
  return { ...row, ...after }
}

function reasonOf(transaction: LostTransaction, changes: readonly ClassifiedChange[]): string | undefined {
  if (transaction.unclear !== undefined) return transaction.unclear
  const worst = changes.find(({ verdict }) => verdict === 'conflict' || verdict === 'idTaken')
  return worst === undefined
    ? undefined
    : `${worst.change.operation} in ${worst.change.table}: ${worst.reason ?? worst.verdict}`
}

function triggeredBy(changes: readonly ClassifiedChange[], rows: RowsOfDatabase): string | undefined {
  const clean = changes.find(({ change, verdict }) => verdict === 'clean' && rows.hasTriggers(change.table))
  return clean === undefined
    ? undefined
    : `triggers of table ${clean.change.table} would run again; what they did is in the tail`
}

/** Clients differ in how they return a number: its type in SQLite decides. */
function typed(type: SqlValue | undefined, value: SqlValue | undefined): SqlValue {
  if (type === 'integer') return BigInt(value as number | bigint)
  if (type === 'real') return Number(value)
  return value ?? null
}

function countsOf(transactions: readonly ClassifiedTransaction[]): Record<Verdict, number> {
  const counts = { clean: 0, alreadyThere: 0, idTaken: 0, conflict: 0 }
  for (const { changes } of transactions) for (const { verdict } of changes) counts[verdict] += 1
  return counts
}

/** Whether a row has all the values of another, with their types. */
function holds(row: LostRow, values: LostRow | undefined): boolean {
  return Object.entries(values ?? {}).every(([name, value]) => sameValue(row[name], value))
}

function sameValue(a: SqlValue | undefined, b: SqlValue): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0
  return Object.is(a, b)
}

function columnsOf({ before, after }: LostChange): string[] {
  return [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])]
}

/** A row of a table by its key, as text. */
function identityOf({ table, key, before, after }: LostChange): string {
  const row = (before ?? after) as LostRow
  return JSON.stringify([table, ...key.map((column) => shown(row[column] ?? null))])
}

function shown(value: SqlValue): string {
  return value instanceof Uint8Array
    ? `x${Buffer.from(value).toString('hex')}`
    : `${typeof value} ${String(value)}`
}

/** An identifier, quoted. */
export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
