/**
 * The key-value map under `MemoryStorage`, with the undo journal of the open transaction.
 *
 * Decides: how changes are undone. Leaves to others: transactions (storage.ts), payloads (format.ts).
 */
import { UnderstudyError } from '@understudy/contracts'

/** One change; `undefined` stands for "no such key". */
export interface MemoryChange {
  readonly key: string
  readonly before: string | undefined
  readonly after: string | undefined
}

/** What formats see of a `MemoryStorage`. */
export class MemoryConnection {
  readonly #values: Map<string, string>
  readonly #journal: MemoryChange[] = []
  #inTransaction = false
  /** Between `prepare` and `restore` of an applier. */
  prepared = false

  constructor(values: Map<string, string>) {
    this.#values = values
  }

  get inTransaction(): boolean {
    return this.#inTransaction
  }

  /** Changes of the open transaction that were not rolled back, oldest first. */
  get journal(): readonly MemoryChange[] {
    return this.#journal
  }

  get(key: string): string | undefined {
    return this.#values.get(key)
  }

  get size(): number {
    return this.#values.size
  }

  /** A value as of the last commit, whatever the open transaction did to it. */
  committed(key: string): string | undefined {
    const touched = this.#journal.find((change) => change.key === key)
    return touched === undefined ? this.#values.get(key) : touched.before
  }

  /** All keys with their values as of the last commit, by key. */
  committedEntries(): [string, string][] {
    const values = new Map(this.#values)
    undo(values, this.#journal)
    return [...values].sort(([a], [b]) => (a < b ? -1 : 1))
  }

  set(key: string, value: string): void {
    this.#checkTransaction()
    this.#journal.push({ key, before: this.#values.get(key), after: value })
    this.#values.set(key, value)
  }

  /** True when there was such a key. */
  delete(key: string): boolean {
    this.#checkTransaction()
    const before = this.#values.get(key)
    if (before === undefined) return false
    this.#journal.push({ key, before, after: undefined })
    return this.#values.delete(key)
  }

  /** Used by the storage. */
  begin(): void {
    this.#inTransaction = true
  }

  /** Used by the storage: ends the transaction; its changes stay. Returns them. */
  commit(): MemoryChange[] {
    this.#inTransaction = false
    return this.#journal.splice(0)
  }

  /** Used by the storage: undoes everything after the first `length` changes of the journal. */
  undoTo(length: number): void {
    this.revert(this.#journal.splice(length))
  }

  /** Used by the storage: ends the transaction and undoes it. */
  rollback(): void {
    this.undoTo(0)
    this.#inTransaction = false
  }

  /** Used by the storage: undoes changes, newest first, without a journal. */
  revert(changes: readonly MemoryChange[]): void {
    undo(this.#values, changes)
  }

  /** Used by the storage: changes a value behind the back of every transaction. */
  overwrite(key: string, value: string | undefined): void {
    undo(this.#values, [{ key, before: value, after: undefined }])
  }

  #checkTransaction(): void {
    if (!this.#inTransaction)
      throw new UnderstudyError('INVALID_ARGUMENT', 'A change needs an open transaction.')
  }
}

function undo(values: Map<string, string>, changes: readonly MemoryChange[]): void {
  for (const { key, before } of changes.toReversed()) {
    if (before === undefined) values.delete(key)
    else values.set(key, before)
  }
}
