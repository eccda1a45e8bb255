/**
 * The key-value map under `MemoryStorage` with the note of its position, and the undo journal of the open transaction.
 *
 * Decides: how changes are undone. Leaves to others: transactions (storage.ts), payloads (format.ts, physical-format.ts).
 */
import { createHash } from 'node:crypto'
import { UnderstudyError, type LogPoint } from '@understudy/contracts'

/** One change; `undefined` stands for "no such key". */
export interface MemoryChange {
  readonly key: string
  readonly before: string | undefined
  readonly after: string | undefined
}

/** The position as it is stored with the data. */
export interface MemoryNote {
  readonly point: LogPoint
  /** `point` is that before the physical transaction which stored it. */
  readonly physical: boolean
}

/** What one transaction did. */
export interface MemoryCommit {
  /** Oldest first; a key may occur more than once. */
  readonly changes: readonly MemoryChange[]
  readonly noteBefore: MemoryNote
  readonly note: MemoryNote
  readonly preparedBefore: string | undefined
}

/** What formats see of a `MemoryStorage`. */
export class MemoryConnection {
  readonly #values: Map<string, string>
  readonly #journal: MemoryChange[] = []
  #note: MemoryNote
  #newNote: MemoryNote | undefined
  #inTransaction = false
  #preparedFor: string | undefined
  /** What the open transaction made of it. */
  #newPreparedFor: { readonly name: string | undefined } | undefined
  /** The last commit of this life. */
  lastCommit: MemoryCommit | undefined
  /** After a restart: the newest commit that no checkpoint had taken, as a write-ahead log still shows it, with changes of some before it. */
  readonly survived: MemoryCommit | undefined

  constructor(
    values: Map<string, string>,
    note: MemoryNote,
    preparedFor: string | undefined,
    survived?: MemoryCommit,
  ) {
    this.#values = values
    this.#note = note
    this.#preparedFor = preparedFor
    this.survived = survived
  }

  /**
   * Name of the format whose applier prepared the storage and did not restore it, in this life or before: stored with the
   * data, as triggers are that were taken out of a database.
   */
  get preparedFor(): string | undefined {
    return this.#newPreparedFor === undefined ? this.#preparedFor : this.#newPreparedFor.name
  }

  get prepared(): boolean {
    return this.preparedFor !== undefined
  }

  get committedPreparedFor(): string | undefined {
    return this.#preparedFor
  }

  /** Used by appliers. */
  setPreparedFor(name: string | undefined): void {
    this.#checkTransaction()
    this.#newPreparedFor = { name }
  }

  /** As the open transaction left it. */
  get note(): MemoryNote {
    return this.#newNote ?? this.#note
  }

  get committedNote(): MemoryNote {
    return this.#note
  }

  /** Whether the open transaction stored a note. */
  get isNoted(): boolean {
    return this.#newNote !== undefined
  }

  /** Stores the position in the open transaction: used by the storage, and by an applier that replaces the leader's pages. */
  setNote(note: MemoryNote): void {
    this.#checkTransaction()
    this.#newNote = note
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

  /** Hexadecimal SHA-256 of all committed data, without the position: equal for equal data. */
  digest(): string {
    const hash = createHash('sha256')
    for (const [key, value] of this.committedEntries())
      hash.update(`${key.length}:${key}${value.length}:${value}`)
    return hash.digest('hex')
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
  commit(): MemoryCommit {
    const commit = {
      changes: this.#journal.splice(0),
      noteBefore: this.#note,
      note: this.note,
      preparedBefore: this.#preparedFor,
    }
    this.#preparedFor = this.preparedFor
    this.#newPreparedFor = undefined
    this.#note = this.note
    this.#newNote = undefined
    this.#inTransaction = false
    this.lastCommit = commit
    return commit
  }

  /** Used by the storage: undoes everything after the first `length` changes of the journal. */
  undoTo(length: number): void {
    undo(this.#values, this.#journal.splice(length))
  }

  /** Used by the storage: ends the transaction and undoes it. */
  rollback(): void {
    this.undoTo(0)
    this.#newNote = undefined
    this.#newPreparedFor = undefined
    this.#inTransaction = false
  }

  /** Used by the storage: takes back a commit, the newest one. */
  revert({ changes, noteBefore, preparedBefore }: MemoryCommit): void {
    undo(this.#values, changes)
    this.#note = noteBefore
    this.#preparedFor = preparedBefore
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
