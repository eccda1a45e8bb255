/**
 * Opens the connections of one database file, all set up alike.
 *
 * Decides: the settings that replication relies on. Leaves to others: what no connection can do
 * (`hardened-connection.ts`), what runs on the connections, the descriptors of the files (`descriptors.ts`).
 *
 * 1. `setup` runs first, ours last, so that nothing in it can undo what replication relies on.
 * 2. synchronous=NORMAL: COMMIT never syncs; only a checkpoint makes commits durable, the log repairs the rest.
 * 3. wal_autocheckpoint=0 on every connection: nobody moves pages but the checkpointer.
 */
import type { DatabaseSync } from 'node:sqlite'
import type { SqliteConnection, SqlitePages, StatementObserver } from '@understudy/contracts'
import { Guard, OWN_TABLE_PREFIX } from './guard.ts'
import { invalidArgument, isUnsafeSchema, openFailure, unsafeSchema } from './errors.ts'
import { harden, openHardened, type Trust } from './hardened-connection.ts'
import { Statements } from './statements.ts'

/** Registers functions, aggregates and collations; called once for each connection, the writer's first. */
export type Setup = (connection: DatabaseSync) => void

export interface ConnectionOptions {
  readonly path: string
  readonly setup: Setup | undefined
  readonly statementsMax: number
  readonly busyTimeoutMs: number
}

/** One connection with its guard and its compiled statements. */
export class Connection implements SqliteConnection {
  readonly database: DatabaseSync
  readonly guard: Guard
  readonly statements: Statements
  readonly ownTablePrefix: string = OWN_TABLE_PREFIX
  #pages: SqlitePages | undefined

  constructor(database: DatabaseSync, statementsMax: number) {
    this.database = database
    this.guard = new Guard()
    database.setAuthorizer(this.guard.authorize)
    this.statements = new Statements(database, this.guard, statementsMax)
  }

  get pages(): SqlitePages {
    if (this.#pages === undefined)
      throw invalidArgument('The pages of a database are reached through its writer alone. Nothing was done.')
    return this.#pages
  }

  /** Makes this the writer's connection. */
  usePages(pages: SqlitePages): void {
    this.#pages = pages
  }

  observe(observer: StatementObserver): () => void {
    return this.statements.observe(observer)
  }

  internal<T>(run: () => T): T {
    return this.guard.internal(run)
  }

  guarded<T>(run: () => T): T {
    return this.guard.keyed(run)
  }

  close(): void {
    this.statements.clear()
    if (this.database.isOpen) this.database.close()
  }
}

/** Opens the one writer; makes the file when it is missing, with `pageBytes`. */
export function openWriter(
  options: ConnectionOptions,
  file: { readonly pageBytes: number; readonly walBytesRestart: number },
): Connection {
  return opened(options, { readOnly: false, trust: 'own' }, (database) => {
    database.exec(`pragma page_size = ${file.pageBytes}`)
    const mode = database.prepare('pragma journal_mode = wal').get()?.['journal_mode']
    if (mode !== 'wal')
      throw new Error(`journal_mode stayed ${String(mode)}: the file system has no shared memory`)
    options.setup?.(database)
    // What a restart of the log leaves of the file, so that one large transaction does not take the disk for ever.
    database.exec(`pragma journal_size_limit = ${file.walBytesRestart}`)
    database.exec('pragma synchronous = normal; pragma wal_autocheckpoint = 0')
  })
}

/** Opens a connection that can only read. The writer must be open. `foreign`: for SQL of others. */
export function openReader(options: ConnectionOptions, trust: Trust = 'own'): Connection {
  return opened(options, { readOnly: true, trust }, (database) => {
    options.setup?.(database)
    database.exec('pragma query_only = on; pragma wal_autocheckpoint = 0')
  })
}

/** Opens a connection that can move frames to the database file, but not write. The writer must be open. */
export function openPin(options: ConnectionOptions): Connection {
  return opened(options, { readOnly: false, trust: 'own' }, (database) => {
    database.exec('pragma synchronous = normal; pragma query_only = on; pragma wal_autocheckpoint = 0')
  })
}

function opened(
  { path, busyTimeoutMs, statementsMax }: ConnectionOptions,
  { readOnly, trust }: { readonly readOnly: boolean; readonly trust: Trust },
  prepare: (database: DatabaseSync) => void,
): Connection {
  let database: DatabaseSync | undefined
  try {
    database = openHardened(path, { trust, readOnly, timeoutMs: busyTimeoutMs })
    prepare(database)
    harden(database, trust)
    return new Connection(database, statementsMax)
  } catch (error) {
    if (database?.isOpen) database.close()
    throw trust === 'foreign' && isUnsafeSchema(error) ? unsafeSchema(error) : openFailure(path, error)
  }
}
