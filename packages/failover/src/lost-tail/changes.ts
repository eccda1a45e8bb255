/**
 * What formats tell of a payload, as row changes: the shape that the row format's `describe` gives, and the SQL of the
 * statement format's.
 *
 * 1. What has another shape than is known here is unclear, never guessed.
 * 2. A text that is not UTF-8 shows U+FFFD in a description: such a change is unclear, because its bytes are not known.
 */

/** A value of SQLite: bigint is INTEGER, number is REAL. */
export type SqlValue = null | bigint | number | string | Uint8Array

export type LostRow = Readonly<Record<string, SqlValue>>

/** One row, before and after. */
export interface LostChange {
  readonly operation: 'insert' | 'update' | 'delete'
  readonly table: string
  /** Names of the key columns. */
  readonly key: readonly string[]
  /** Delete: the row. Update: its key and the old values of the columns that changed. */
  readonly before: LostRow | undefined
  /** Insert: the row. Update: its key and the new values of the columns that changed. */
  readonly after: LostRow | undefined
}

export interface RowsOfPayload {
  readonly writes: number | undefined
  readonly changes: readonly LostChange[]
  readonly sql: readonly string[]
  readonly unclear: string | undefined
  /** It holds nothing but what the node keeps for itself: keys of writes, ceilings of ids. */
  readonly isOwn?: boolean
}

/** Tables of the node's own that are replicated. No user can write to them, and the new history has its own. */
const OWN_TABLE = /^_understudy/i
const OWN_SQL = /^(?:update|insert into|delete from|create table|create index) _understudy/i

/** Reads what `describe` returned. */
export function rowsOf(described: unknown): RowsOfPayload {
  if (!isObject(described)) return unclear('its description has no shape that is known')
  const { writes, steps } = described
  if (Array.isArray(steps))
    return rowsOfSteps(described, steps, typeof writes === 'number' ? writes : undefined)
  if (Array.isArray(writes)) return statementsOf(writes)
  return unclear('its description has no shape that is known')
}

function rowsOfSteps(
  described: Readonly<Record<string, unknown>>,
  steps: readonly unknown[],
  writes: number | undefined,
): RowsOfPayload {
  const changes: LostChange[] = []
  const sql: string[] = []
  const reasons: string[] = []
  let others = 0
  for (const step of steps) {
    if (!isObject(step)) return unclear('its description has no shape that is known')
    if (isOwnStep(step)) continue
    others += 1
    if (typeof step['sql'] === 'string') {
      sql.push(step['sql'])
      reasons.push('it changes the schema')
    } else if (!takeTable(step, changes)) {
      return unclear('its description has no shape that is known')
    }
  }
  for (const name of ['triggers', 'userVersion', 'applicationId', 'statistics'])
    if (described[name] !== undefined) reasons.push(`it changes ${NAMES[name]}`)
  if (changes.some(hasLostBytes)) reasons.push('it holds a text that is not UTF-8')
  return {
    writes,
    changes,
    sql,
    unclear: reasons.length === 0 ? undefined : [...new Set(reasons)].join(', '),
    ...(others === 0 && steps.length > 0 && reasons.length === 0 && { isOwn: true }),
  }
}

function isOwnStep({ table, sql }: Readonly<Record<string, unknown>>): boolean {
  return (
    (typeof table === 'string' && OWN_TABLE.test(table)) || (typeof sql === 'string' && OWN_SQL.test(sql))
  )
}

const NAMES: Readonly<Record<string, string>> = {
  triggers: 'triggers',
  userVersion: 'user_version',
  applicationId: 'application_id',
  statistics: 'statistics of the query planner',
}

function takeTable(step: Readonly<Record<string, unknown>>, changes: LostChange[]): boolean {
  const { table, key, deletes, updates, inserts } = step
  const isTable =
    typeof table === 'string' &&
    Array.isArray(key) &&
    key.every((name) => typeof name === 'string') &&
    Array.isArray(deletes) &&
    Array.isArray(updates) &&
    Array.isArray(inserts)
  if (!isTable) return false
  for (const row of deletes)
    changes.push({ operation: 'delete', table, key, before: rowOf(row), after: undefined })
  for (const update of updates) {
    if (!isObject(update)) return false
    const identity = rowOf(update['key'])
    changes.push({
      operation: 'update',
      table,
      key,
      before: { ...identity, ...rowOf(update['old']) },
      after: { ...identity, ...rowOf(update['new']) },
    })
  }
  for (const row of inserts)
    changes.push({ operation: 'insert', table, key, before: undefined, after: rowOf(row) })
  return true
}

function statementsOf(writes: readonly unknown[]): RowsOfPayload {
  const all = writes.flatMap((write) =>
    (Array.isArray(write) ? write : []).map((statement: unknown) =>
      isObject(statement) && typeof statement['sql'] === 'string'
        ? statement['sql']
        : 'a statement whose text stands in an earlier record',
    ),
  )
  const sql = all.filter((text) => !OWN_SQL.test(text))
  const isOwn = sql.length === 0 && all.length > 0
  const unclear = 'it holds statements, not rows'
  return { writes: writes.length, changes: [], sql, unclear, ...(isOwn && { isOwn }) }
}

function unclear(why: string): RowsOfPayload {
  return { writes: undefined, changes: [], sql: [], unclear: why }
}

function hasLostBytes({ before, after }: LostChange): boolean {
  return [before, after].some(
    (row) =>
      row !== undefined &&
      Object.values(row).some((value) => typeof value === 'string' && value.includes('\ufffd')),
  )
}

function rowOf(described: unknown): LostRow {
  const row: Record<string, SqlValue> = {}
  if (isObject(described)) for (const [name, value] of Object.entries(described)) row[name] = valueOf(value)
  return row
}

function valueOf(value: unknown): SqlValue {
  if (value === null || typeof value === 'string') return value
  if (typeof value === 'number') return BigInt(value)
  if (isObject(value)) {
    if (typeof value['integer'] === 'string') return BigInt(value['integer'])
    if (typeof value['real'] === 'string') return Number(value['real'])
    if (typeof value['blob'] === 'string') return new Uint8Array(Buffer.from(value['blob'], 'hex'))
  }
  // No value is described like this: it can equal nothing.
  return '\ufffd'
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
