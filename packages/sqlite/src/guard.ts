/**
 * The guard of one connection: SQLite's authorizer, which is asked while a statement is compiled, never while it runs.
 *
 * Decides: what a statement of a user's callback can do (`Analysis`), and which statements such a callback may not run
 * because the node owns transactions, the WAL and the connection's settings. Leaves to others: whether a log format can
 * carry what is left.
 *
 * 1. Outside a user's callback everything is allowed, and only schema changes are noticed (`generation`), with one
 *    exception: no trigger or view, whoever wrote it and whatever fires it, changes the project's own tables or calls a
 *    function that loads code. Triggers travel in snapshots and records; the project has none of its own.
 *    In turn the tables of keys and of ids may be changed by what `keyed` runs: the node's own statements, and those out of a record.
 * 2. SQLite compiles cached statements anew after a schema change, and runs statements of its own (FTS5, sessions);
 *    these are judged too, but belong to no analysis.
 * 3. An analysis is as good as the schema it was made with: a trigger made later adds tables. Whoever keeps one
 *    compares `generation`.
 */
import { constants } from 'node:sqlite'
import type { StatementInfo } from '@understudy/contracts'

/** Prefix of the project's own tables that no format replicates. */
export const OWN_TABLE_PREFIX = '_understudy_'
/** Every name that begins like this is the project's: the tables above, and those of keys and ids, which are replicated like the user's. */
export const RESERVED_PREFIX = '_understudy'
/** Prefix of the tables of keys, and of what hangs on them. */
export const KEY_TABLE_PREFIX = '_understudykey'
/** The table of ceilings of ids, replicated like those of keys. */
export const IDS_TABLE = '_understudyids'

/** What SQLite's compiler said about one statement. */
export interface Analysis {
  effect: StatementInfo['effect']
  readonly writes: Set<string>
  /** ALTER TABLE, whose new names SQLite does not tell. */
  alters: boolean
  pragma: { readonly name: string; readonly argument: string | undefined } | undefined
}

/** PRAGMAs that a callback may give an argument. Any other is a setting of the connection, or the node's own. */
const PRAGMAS_WITH_ARGUMENT: ReadonlySet<string> = new Set([
  'application_id',
  'defer_foreign_keys',
  'foreign_key_check',
  'foreign_key_list',
  'index_info',
  'index_list',
  'index_xinfo',
  'integrity_check',
  'quick_check',
  'table_info',
  'table_list',
  'table_xinfo',
  'user_version',
])

/** PRAGMAs that act even without an argument. */
const PRAGMAS_THAT_ACT: ReadonlySet<string> = new Set([
  'incremental_vacuum',
  'journal_mode',
  'optimize',
  'shrink_memory',
  'wal_checkpoint',
])

/** Functions that load code, or point SQLite at some. */
const FUNCTIONS_REFUSED: ReadonlySet<string> = new Set(['load_extension', 'fts3_tokenizer'])

const {
  SQLITE_OK,
  SQLITE_DENY,
  SQLITE_INSERT,
  SQLITE_UPDATE,
  SQLITE_DELETE,
  SQLITE_PRAGMA,
  SQLITE_TRANSACTION,
  SQLITE_SAVEPOINT,
  SQLITE_ATTACH,
  SQLITE_DETACH,
  SQLITE_READ,
  SQLITE_SELECT,
  SQLITE_FUNCTION,
  SQLITE_RECURSIVE,
  SQLITE_ALTER_TABLE,
  SQLITE_ANALYZE,
  SQLITE_REINDEX,
} = constants

const SCHEMA_ACTIONS: ReadonlySet<number> = new Set([
  constants.SQLITE_CREATE_INDEX,
  constants.SQLITE_CREATE_TABLE,
  constants.SQLITE_CREATE_TRIGGER,
  constants.SQLITE_CREATE_VIEW,
  constants.SQLITE_DROP_INDEX,
  constants.SQLITE_DROP_TABLE,
  constants.SQLITE_DROP_TRIGGER,
  constants.SQLITE_DROP_VIEW,
  SQLITE_ALTER_TABLE,
  SQLITE_REINDEX,
  SQLITE_ANALYZE,
  constants.SQLITE_CREATE_VTABLE,
  constants.SQLITE_DROP_VTABLE,
])

const TEMPORARY_ACTIONS: ReadonlySet<number> = new Set([
  constants.SQLITE_CREATE_TEMP_INDEX,
  constants.SQLITE_CREATE_TEMP_TABLE,
  constants.SQLITE_CREATE_TEMP_TRIGGER,
  constants.SQLITE_CREATE_TEMP_VIEW,
  constants.SQLITE_DROP_TEMP_INDEX,
  constants.SQLITE_DROP_TEMP_TABLE,
  constants.SQLITE_DROP_TEMP_TRIGGER,
  constants.SQLITE_DROP_TEMP_VIEW,
])

/** What `DatabaseSync.setAuthorizer` calls. */
export type Authorizer = (
  action: number,
  first: string | null,
  second: string | null,
  schema: string | null,
  trigger: string | null,
) => number

export class Guard {
  /** Grows with each change of the schema: cached analyses of a lower one are void. */
  generation = 0
  /** Why a statement was refused last; taken by whoever turns the failure into an error. */
  refusal: string | undefined
  /** True while a user's callback has the connection. */
  #enforcing = false
  /** The tables of keys may be changed. */
  #keyed = false
  #analysis: Analysis | undefined
  /** A schema change was compiled since the transaction began. */
  #schemaChanged = false

  /** Runs `run` as a user's callback: what belongs to the node is refused. */
  enforce<T>(run: () => T): T {
    const before = this.#enforcing
    this.#enforcing = true
    try {
      return run()
    } finally {
      this.#enforcing = before
    }
  }

  /** Runs `run` as the project's own code: nothing is refused. */
  internal<T>(run: () => T): T {
    const before = this.#enforcing
    const generation = this.generation
    this.#enforcing = false
    try {
      return run()
    } finally {
      this.#enforcing = before
      // Statements compiled between the compilation of a schema change and its end may still have seen the old schema.
      if (generation !== this.generation) this.generation++
    }
  }

  /** Runs `run` as a user's callback that may change the tables of keys and of ids. */
  keyed<T>(run: () => T): T {
    const before = this.#keyed
    this.#keyed = true
    try {
      return this.enforce(run)
    } finally {
      this.#keyed = before
    }
  }

  /** Something of the open transaction was undone: the schema may be an earlier one again. */
  undone(): void {
    if (this.#schemaChanged) this.generation++
  }

  /** The transaction is over. */
  settled(): void {
    this.#schemaChanged = false
  }

  /** Collects what the one statement that `prepare` compiles can do. */
  analyse<T>(prepare: () => T): { readonly prepared: T; readonly analysis: Analysis } {
    const analysis: Analysis = { effect: 'read', writes: new Set(), alters: false, pragma: undefined }
    const before = this.#analysis
    this.#analysis = analysis
    this.refusal = undefined
    try {
      return { prepared: prepare(), analysis }
    } finally {
      this.#analysis = before
    }
  }

  readonly authorize: Authorizer = (action, first, second, _schema, trigger) => {
    switch (action) {
      case SQLITE_READ:
      case SQLITE_SELECT:
      case SQLITE_RECURSIVE:
        return SQLITE_OK
      case SQLITE_FUNCTION:
        return this.#call((second ?? '').toLowerCase(), trigger)
      case SQLITE_INSERT:
      case SQLITE_UPDATE:
      case SQLITE_DELETE:
        return this.#rows(first ?? '', trigger)
      case SQLITE_PRAGMA:
        return this.#pragma((first ?? '').toLowerCase(), second ?? undefined)
      case SQLITE_TRANSACTION:
      case SQLITE_SAVEPOINT:
        return this.#refuse(
          `${first ?? 'a transaction statement'}: each write is a transaction of its own, and ends when its callback returns or throws`,
        )
      case SQLITE_ATTACH:
      case SQLITE_DETACH:
        return this.#refuse('ATTACH and DETACH: only the one database of the node is replicated')
      default:
        return this.#other(action, first, second)
    }
  }

  #call(name: string, trigger: string | null): number {
    if (!FUNCTIONS_REFUSED.has(name)) return SQLITE_OK
    return this.#refuse(`${name}(): no SQL may load code`, trigger !== null)
  }

  #rows(table: string, trigger: string | null): number {
    if ((this.#enforcing || trigger !== null) && this.#isReserved(table, trigger === null))
      return this.#refuse(`a change of ${table}, which belongs to the node`, trigger !== null)
    const analysis = this.#analysis
    if (analysis === undefined || isSchemaTable(table)) return SQLITE_OK
    analysis.writes.add(table)
    if (analysis.effect === 'read') analysis.effect = 'rows'
    return SQLITE_OK
  }

  #pragma(name: string, argument: string | undefined): number {
    if (this.#enforcing) {
      const setting = argument !== undefined && !PRAGMAS_WITH_ARGUMENT.has(name)
      if (setting || (argument === undefined && PRAGMAS_THAT_ACT.has(name)))
        return this.#refuse(
          `PRAGMA ${name}: the node owns the settings of the connection; make those you need in setup()`,
        )
    }
    const analysis = this.#analysis
    if (analysis !== undefined) {
      analysis.pragma = { name, argument }
      if (analysis.effect !== 'schema') analysis.effect = 'pragma'
    }
    return SQLITE_OK
  }

  #other(action: number, first: string | null, second: string | null): number {
    if (TEMPORARY_ACTIONS.has(action)) {
      this.generation++
      return this.#refuse(
        'a temporary table, view, index or trigger: it would exist on the connection of this node alone',
      )
    }
    if (!SCHEMA_ACTIONS.has(action)) return SQLITE_OK
    this.generation++
    this.#schemaChanged = true
    // ANALYZE and REINDEX go over every table, and change none.
    const harmless = action === SQLITE_ANALYZE || action === SQLITE_REINDEX
    if (this.#enforcing && !harmless && (this.#isReserved(first ?? '') || this.#isReserved(second ?? '')))
      return this.#refuse(`a change of ${RESERVED_PREFIX}*, which belongs to the node`)
    if (this.#analysis !== undefined) {
      this.#analysis.effect = 'schema'
      if (action === SQLITE_ALTER_TABLE) this.#analysis.alters = true
    }
    return SQLITE_OK
  }

  #isReserved(name: string, mayBeKeyed = true): boolean {
    if (!beginsWith(name, RESERVED_PREFIX)) return false
    if (!mayBeKeyed || !this.#keyed) return true
    return !beginsWith(name, KEY_TABLE_PREFIX) && name.toLowerCase() !== IDS_TABLE
  }

  #refuse(what: string, always = false): number {
    if (!this.#enforcing && !always) return SQLITE_OK
    this.refusal = what
    return SQLITE_DENY
  }
}

function beginsWith(name: string, prefix: string): boolean {
  return name.length >= prefix.length && name.slice(0, prefix.length).toLowerCase() === prefix
}

function isSchemaTable(name: string): boolean {
  return name === 'sqlite_master' || name === 'sqlite_temp_master'
}
