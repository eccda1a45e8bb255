/**
 * Leader side: the pages that a group changed, as one payload, taken after COMMIT.
 *
 * Decides: whether a group may have changed anything. Leaves to others: where pages come from (`SqlitePages`), bytes
 * (`page-encoder.ts`), positions.
 *
 * 1. Between `beginGroup` and `finishGroup` exactly one transaction commits. What was committed before the recorder was
 *    made, or before a base, is in the log or covered by the base, and is never told.
 * 2. `changed` never misses a change: row changes are counted by SQLite, triggers, foreign-key actions and virtual tables
 *    included; everything else that changes pages is a statement that SQLite's authorizer tells. It may say yes to a group
 *    that was rolled back or changed nothing: that costs a small record.
 * 3. How many pages there were before is told by what was taken last, not by the file: another program may have made it
 *    grow since, and then new pages that were never written must be missed all the same.
 */
import type { StatementSync } from 'node:sqlite'
import type { Recorder, SqliteConnection, StatementInfo, StatementObserver } from '@understudy/contracts'
import { PageEncoder, type EncoderOptions } from './page-encoder.ts'

/** PRAGMAs that only read. Any other may change the file. */
const READING_PRAGMAS: ReadonlySet<string> = new Set([
  'collation_list',
  'compile_options',
  'data_version',
  'database_list',
  'foreign_key_check',
  'foreign_key_list',
  'freelist_count',
  'function_list',
  'index_info',
  'index_list',
  'index_xinfo',
  'integrity_check',
  'module_list',
  'page_count',
  'pragma_list',
  'quick_check',
  'table_info',
  'table_list',
  'table_xinfo',
])

export class PageRecorder implements Recorder, StatementObserver {
  readonly #connection: SqliteConnection
  readonly #encoder: PageEncoder
  readonly #totalChanges: StatementSync
  readonly #unobserve: () => void
  #changesBefore = 0
  #pagesBefore = 0
  #observed = false
  #closed = false

  constructor(connection: SqliteConnection, options: EncoderOptions) {
    this.#connection = connection
    this.#encoder = new PageEncoder(connection.pages.pageBytes, options)
    this.#totalChanges = connection.internal(() => connection.database.prepare('select total_changes()'))
    this.#totalChanges.setReturnArrays(true)
    connection.pages.committed()
    this.#pagesBefore = connection.pages.pageCount
    this.#unobserve = connection.observe(this)
  }

  beginGroup(): void {
    this.#observed = false
    this.#changesBefore = this.#countChanges()
  }

  beginWrite(): void {}

  endWrite(): void {}

  abandonWrite(): void {}

  changed(): boolean {
    return this.#observed || this.#countChanges() !== this.#changesBefore
  }

  finishGroup(): readonly Uint8Array[] {
    const committed = this.#connection.pages.committed()
    if (committed === undefined) return []
    const payload = this.#encoder.encode(committed, this.#pagesBefore)
    this.#pagesBefore = committed.pageCount
    return payload === undefined ? [] : [payload]
  }

  abandonGroup(): void {}

  base(): Uint8Array {
    const { pages } = this.#connection
    pages.committed()
    this.#pagesBefore = pages.pageCount
    return this.#encoder.encodeBase(this.#pagesBefore)
  }

  recover(): readonly Uint8Array[] {
    const committed = this.#connection.pages.recover()
    const payload = committed === undefined ? undefined : this.#encoder.encode(committed, 0)
    return payload === undefined ? [] : [payload]
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#unobserve()
  }

  before(statement: StatementInfo): void {
    const { effect, pragma } = statement
    if (effect === 'schema' || (effect === 'pragma' && !READING_PRAGMAS.has(pragma?.name ?? '')))
      this.#observed = true
  }

  after(): void {}

  #countChanges(): number {
    return Number((this.#totalChanges.get() as unknown as unknown[])[0])
  }
}
