/**
 * What a workload is: tables, rows to begin with, and what each writer does next. One file is one workload; every subject runs it.
 *
 * Decides: the form in which operations are handed to a subject: plain SQL with `?` for values, so that any SQL store can run them.
 * Leaves to others: executing them (subjects/), when (load/), and how many at once.
 *
 * Validity:
 * 1. A workload makes its values from the `Random` that it is given: the same seed is the same sequence of operations.
 * 2. An operation is complete in itself: a writer that gave one up may go on with the next.
 */
import type { Random } from '@understudy/contracts'

export type Value = string | number | bigint | Uint8Array | null

/** What differs between SQL stores. */
export type Dialect = 'sqlite' | 'postgres' | 'mysql'

export interface Statement {
  /** With `?` for values. */
  readonly sql: string
  readonly params?: readonly Value[]
  /** In place of `params`: the statement runs once for each, in the same transaction. */
  readonly many?: readonly (readonly Value[])[]
  /** It gives rows, which are read to the end. */
  readonly returns?: boolean
}

/** A write is one transaction, durable when it is answered. A read is one statement of its own. */
export type Step =
  | { readonly kind: 'write'; readonly statements: readonly Statement[] }
  | { readonly kind: 'read'; readonly statement: Statement }

/** For stores that have keys and values in place of SQL. */
export interface KeyValue {
  readonly put?: { readonly key: string; readonly value: string | Uint8Array }
  readonly get?: string
}

/** What a writer does before it does the next: its latency is that of all steps together. */
export interface Operation {
  /** Latencies are kept by this name, such as `read`. */
  readonly name: string
  readonly steps: readonly Step[]
  readonly keyValue?: KeyValue
}

export interface WorkloadOptions {
  /** Rows in the tables before anything is measured. */
  readonly rows: number
}

export interface SessionContext extends WorkloadOptions {
  readonly random: Random
  /** A number that no other load of this run has: part of keys that must be new. */
  readonly load: number
}

/** The operations of one load. */
export interface WorkloadSession {
  next(writer: number): Operation
  /** The operation was answered: what it inserted may be read by others. */
  done?(operation: Operation): void
}

/** A statement whose single value must be the same before and after, such as a sum of money. */
export interface Invariant {
  readonly title: string
  /** One row with one column; 1 where it holds. */
  readonly sql: string
}

export interface Workload {
  readonly name: string
  /** For people: one line. */
  readonly title: string
  /** When `--rows` is not given. */
  readonly rowsDefault: number
  /** The same with `--quick`. */
  readonly rowsQuick: number
  /** Statements that make the tables. Each table needs a primary key where the store is replicated by rows. */
  schema(dialect: Dialect): readonly string[]
  /** The rows to begin with, a transaction at a time. Empty for a database of the user's own. */
  rows(options: WorkloadOptions): Iterable<readonly Statement[]>
  start(context: SessionContext): WorkloadSession
  /** What must hold at the end, on every node. */
  readonly invariants?: readonly Invariant[]
  /** At most so many operations in a measurement: for those that take seconds each. */
  readonly operationsMax?: number
  /** Rows that one operation touches, where that is not one. */
  readonly rowsPerOperation?: number
}

/** Which workload, as it travels to another process. */
export interface WorkloadSpec {
  /** A name of the registry, or the path of a module that exports `workload`. */
  readonly workload: string
  readonly rows: number
}

/** A row at a time from `from`, in transactions of `perTransaction`. */
export function* batches(
  sql: string,
  rows: number,
  row: (index: number) => readonly Value[],
  perTransaction = 2000,
): Iterable<readonly Statement[]> {
  for (let from = 0; from < rows; from += perTransaction) {
    const many = Array.from({ length: Math.min(perTransaction, rows - from) }, (_, at) => row(from + at))
    yield [{ sql, many }]
  }
}

export function write(...statements: readonly Statement[]): Step {
  return { kind: 'write', statements }
}

export function read(sql: string, params: readonly Value[]): Step {
  return { kind: 'read', statement: { sql, params, returns: true } }
}
