/**
 * The one place where this package opens a connection of `node:sqlite`: each is hardened, whoever wrote the file.
 *
 * Decides: what no connection of ours can do, and how much less one can do that meets what a peer sent. Leaves to
 * others: which statement a callback may run (`guard.ts`), the settings of replication (`connection.ts`).
 *
 * 1. No connection attaches another database or loads an extension: SQLite itself refuses, also inside triggers and for
 *    our own code. (VACUUM attaches a database, so that it is refused too, unless `limits.attach` is raised for it.)
 * 2. Every page is checked when it is read (`cell_size_check`), and SQL cannot write what would damage the file
 *    (`defensive`), but for the moments in which a log format switches that off.
 * 3. `harden` comes after everything that a user's `setup` did to the connection, so that nothing in it undoes this.
 * 4. Imports Node alone, because threads start from this file too, from source and from a build.
 */
import { closeSync, constants, lstatSync, openSync } from 'node:fs'
import { DatabaseSync, type DatabaseSyncOptions } from 'node:sqlite'
import { pathToFileURL } from 'node:url'

/** Whose schema and SQL a connection meets. */
export type Trust =
  /** The node's own: triggers, DEFAULTs, views, … may call the functions that `setup` or a log format registered. */
  | 'own'
  /** Somebody else's SQL on a schema that is trusted: limits are tight. */
  | 'limited'
  /** Somebody else's: the schema may call only the functions of SQLite that do no harm, and limits are tight. */
  | 'foreign'

export interface HardenedOptions {
  readonly trust: Trust
  /** Default false. */
  readonly readOnly?: boolean
  /** How long to wait, blocking, for a lock. Default 0. */
  readonly timeoutMs?: number
  /**
   * `existing`: never makes the file. `immutable`: nobody changes the file meanwhile, so that SQLite takes no lock, looks
   * for no log or journal beside it, and makes no file. Default: made when missing.
   */
  readonly file?: 'existing' | 'immutable'
}

type Limits = NonNullable<DatabaseSyncOptions['limits']>

const OWN_LIMITS: Limits = { attach: 0 }

/**
 * What a text from elsewhere may cost before SQLite refuses it. Above what programs send, far below what SQLite allows
 * itself: a value of 1 GB, a program of 250 million instructions (6 GB of memory), a LIKE pattern of 50,000 bytes.
 */
const FOREIGN_LIMITS: Limits = {
  attach: 0,
  length: 64 * 1024 * 1024,
  sqlLength: 16 * 1024 * 1024,
  vdbeOp: 1_000_000,
  compoundSelect: 100,
  functionArg: 127,
  likePatternLength: 1000,
  triggerDepth: 10,
}

/** Opens `path`. Throws what SQLite or the operating system throws. */
export function openHardened(path: string, options: HardenedOptions): DatabaseSync {
  const { trust, readOnly = false, timeoutMs = 0, file } = options
  if (file === undefined && !readOnly) makePrivateFile(path)
  const database = new DatabaseSync(file === undefined ? path : address(path, file, readOnly), {
    readOnly,
    timeout: timeoutMs,
    allowExtension: false,
    defensive: true,
  })
  try {
    harden(database, trust)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** Puts back what a user's `setup` may have changed. */
export function harden(database: DatabaseSync, trust: Trust): void {
  database.enableDefensive(true)
  Object.assign(database.limits, trust === 'own' ? OWN_LIMITS : FOREIGN_LIMITS)
  database.exec('pragma cell_size_check = on; pragma writable_schema = off')
  // Of the node's own connections `setup` decides: off breaks every schema that calls a function of the user.
  if (trust === 'foreign') database.exec('pragma trusted_schema = off')
}

/** Makes the file when it is missing, for this user alone: SQLite would let everybody read it. Its -wal and -shm follow it. */
export function makePrivateFile(path: string): void {
  const { O_CREAT, O_EXCL, O_RDWR, O_NOFOLLOW } = constants
  try {
    closeSync(openSync(path, O_CREAT | O_EXCL | O_RDWR | (O_NOFOLLOW ?? 0), 0o600))
  } catch (error) {
    // Nothing of an existing file is opened here: to close it would drop SQLite's locks on it.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    if (lstatSync(path).isSymbolicLink())
      throw Object.assign(new Error('it is a symbolic link'), { code: 'ELOOP' })
  }
}

function address(path: string, file: 'existing' | 'immutable', readOnly: boolean): URL {
  const url = pathToFileURL(path)
  url.searchParams.set('mode', readOnly ? 'ro' : 'rw')
  if (file === 'immutable') url.searchParams.set('immutable', '1')
  return url
}
