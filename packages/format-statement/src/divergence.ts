/** What stops a follower: it did not do what the leader did, or its machine cannot. */
import { decodeChangeset, type Change, type Value } from '@understudy/changeset'
import { UnderstudyError, type ErrorDetails } from '@understudy/contracts'
import { describeValue, type DescribedValue } from './values.ts'
import type { TableDigest } from './payload.ts'

/** Rows that a report holds for a table. */
export const REPORTED_ROWS_MAX = 100

/** One row as this node changed it. */
export interface ReportedChange {
  readonly operation: 'delete' | 'insert' | 'update'
  /** Old values of the columns by position; `undefined` where nothing was recorded. */
  readonly before: readonly (DescribedValue | undefined)[]
  readonly after: readonly (DescribedValue | undefined)[]
}

export interface DivergedTable {
  readonly table: string
  /** How many rows the leader changed. */
  readonly leaderRows: number
  readonly ownRows: number
  /** The first of this node's own changes. What the leader's were is in the leader's database. */
  readonly changes: readonly ReportedChange[]
}

/** What a follower did where it should have done what the leader did. Holds row data: keep it out of logs. */
export interface DivergenceReport {
  /** The statements of the record, as `describe` has them. */
  readonly statements: readonly string[]
  /** Tables that differ; empty when a statement failed or changed another number of rows. */
  readonly tables: readonly DivergedTable[]
  /** The message of the error that follows. */
  readonly message: string
}

/** SQLite's primary result codes that speak of this machine, not of the data (https://sqlite.org/rescode.html). */
const MACHINE_CODES: ReadonlySet<number> = new Set([
  7, // NOMEM
  8, // READONLY
  10, // IOERR
  13, // FULL
  14, // CANTOPEN
])
const FULL = 13
const CONSTRAINT = 19

const ADVICE =
  'The caller rolls the record back, so the database stays at the position before it, and must stop applying. Find out what ' +
  'is different here (the data, a function of setup(), the time zone or C library where SQLite was told to ignore them), ' +
  'then bootstrap the node anew.'

/** `DIVERGED`: `what` happened, in a few words. */
export function diverged(what: string, details: ErrorDetails = {}): UnderstudyError {
  return new UnderstudyError('DIVERGED', `A statement record cannot be applied: ${what}. ${ADVICE}`, details)
}

/** `DIVERGED` for what SQLite threw, unless the fault is this machine's: then the data is right, and applying can go on later. */
export function refused(what: string, cause: unknown): UnderstudyError {
  const text = cause instanceof Error ? cause.message : String(cause)
  const code = primaryCode(cause)
  if (code === undefined || !MACHINE_CODES.has(code)) return diverged(`${what} (${text})`, { cause })
  return new UnderstudyError(
    code === FULL ? 'DISK_FULL' : 'STORAGE_FAILED',
    `A statement record could not be applied here: ${text}. The caller rolls the record back, so the database stays at the ` +
      `position before it; nothing is lost or damaged. ${code === FULL ? 'Free some space' : 'Check the disk and the memory of this machine'}, ` +
      'then start the node again: it goes on from there.',
    { cause },
  )
}

/** Whether SQLite refused a row: all that may end a statement part way and keep what it did. */
export function isConstraint(cause: unknown): boolean {
  return primaryCode(cause) === CONSTRAINT
}

function primaryCode(cause: unknown): number | undefined {
  const code = cause instanceof Error && 'errcode' in cause ? cause.errcode : undefined
  return typeof code === 'number' ? code & 0xff : undefined
}

/** The tables that differ between two digests, with this node's own changes in them. */
export function differingTables(
  leader: readonly TableDigest[],
  own: readonly TableDigest[],
  changesets: readonly Uint8Array[],
): DivergedTable[] {
  const theirs = new Map(leader.map((each) => [each.table, each]))
  const mine = new Map(own.map((each) => [each.table, each]))
  const names = [...new Set([...theirs.keys(), ...mine.keys()])].filter((name) => {
    const [a, b] = [theirs.get(name), mine.get(name)]
    return a?.crc !== b?.crc || a?.rows !== b?.rows
  })
  const changes = new Map<string, ReportedChange[]>(names.map((name) => [name, []]))
  for (const change of changesets.flatMap((changeset) => [...decodeChangeset(changeset)])) {
    const list = changes.get(change.table)
    if (list !== undefined && list.length < REPORTED_ROWS_MAX) list.push(reported(change))
  }
  return names.map((table) => ({
    table,
    leaderRows: theirs.get(table)?.rows ?? 0,
    ownRows: mine.get(table)?.rows ?? 0,
    changes: changes.get(table) ?? [],
  }))
}

function reported({ operation, before, after }: Change): ReportedChange {
  const plain = (values: readonly (Value | undefined)[]) =>
    values.map((value) => (value === undefined ? undefined : describeValue(value)))
  return { operation, before: plain(before), after: plain(after) }
}
