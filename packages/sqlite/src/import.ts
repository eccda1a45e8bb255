/**
 * Adopts a database that exists already: copies it, page for page, as of one moment.
 *
 * Decides: that the copy is whole, consistent and synced before it has its name. Leaves to others: whether a log format
 * can replicate what is in it (`LogFormat.inspect`).
 *
 * 1. The source is only read, through SQLite, in one read transaction: it may be in use and in any journal mode. While a
 *    source that is not in WAL mode is copied, its other users cannot commit.
 * 2. Page for page, not VACUUM INTO, which may give rows new rowids.
 * 3. The copy is checked (PRAGMA quick_check), on this thread: a damaged database would be shipped to every follower.
 * 4. The copy is opened as somebody else's: its schema may call no function unless `setup` gives some.
 * 5. The copy forgets where its source stood as a node's: it is at the origin. What else the project keeps in it stays,
 *    because only its format knows it: a follower's file has its triggers there and nowhere else.
 */
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { backup, type DatabaseSync } from 'node:sqlite'
import { UnderstudyError } from '@understudy/contracts'
import type { Setup } from './connection.ts'
import { invalidArgument, openFailure, sqliteCode } from './errors.ts'
import { harden, makePrivateFile, openHardened } from './hardened-connection.ts'
import { POSITION_TABLE } from './position.ts'

export interface ImportProgress {
  readonly donePages: number
  readonly totalPages: number
}

export interface ImportOptions {
  /** The database to adopt. */
  readonly from: string
  /** Where the copy goes; must not exist. */
  readonly to: string
  /** Functions and collations that the schema needs; without them its check fails. */
  readonly setup?: Setup | undefined
  /** Called after each batch of pages. */
  readonly progress?: (progress: ImportProgress) => void
}

/** Pages copied at once, off the main thread. */
const BATCH_PAGES = 4096

/** Copies `from` to `to`. Rejects with `INVALID_ARGUMENT`, `DATABASE_UNSUITABLE`, `DISK_FULL` or `READ_ONLY_DISK`, with `to` missing still. */
export async function importDatabase(options: ImportOptions): Promise<void> {
  const { from, to } = options
  if (!existsSync(from))
    throw invalidArgument(`${from} does not exist. Nothing was imported. Give the path of a database.`)
  for (const path of [to, `${to}-wal`])
    if (existsSync(path))
      throw invalidArgument(`${path} exists already and was kept. Import into an empty directory.`)
  const part = `${to}.importing`
  removeParts(part)
  try {
    await copy(from, part, options.progress)
    forgetPosition(part, options.setup)
    sync(part)
    renameSync(part, to)
    sync(dirname(to))
  } catch (error) {
    removeParts(part)
    throw error
  }
}

async function copy(from: string, part: string, progress: ImportOptions['progress']): Promise<void> {
  let source: DatabaseSync | undefined
  try {
    source = openHardened(from, { trust: 'foreign', readOnly: true, timeoutMs: 5000 })
    source.exec('begin')
    source.prepare('select count(*) from sqlite_schema').get()
  } catch (error) {
    if (source?.isOpen) source.close()
    throw unsuitable(from, error)
  }
  try {
    makePrivateFile(part)
    const totalPages = await backup(source, part, {
      rate: BATCH_PAGES,
      progress: ({ totalPages, remainingPages }) =>
        progress?.({ donePages: totalPages - remainingPages, totalPages }),
    })
    progress?.({ donePages: totalPages, totalPages })
  } catch (error) {
    throw openFailure(part, error)
  } finally {
    source.close()
  }
}

function forgetPosition(part: string, setup: Setup | undefined): void {
  // Whoever gives functions says that the schema may call them.
  const trust = setup === undefined ? 'foreign' : 'own'
  const database = openHardened(part, { trust })
  try {
    setup?.(database)
    harden(database, trust)
    const broken = database.prepare('pragma quick_check(1)').get()
    if (Object.values(broken ?? {})[0] !== 'ok')
      throw new Error(`it is damaged: ${String(Object.values(broken ?? {})[0])}`)
    database.exec(`drop table if exists main.${POSITION_TABLE}`)
  } catch (error) {
    throw unsuitable(part, error)
  } finally {
    database.close()
  }
}

function unsuitable(path: string, error: unknown): UnderstudyError {
  const text = error instanceof Error ? error.message : String(error)
  return new UnderstudyError(
    'DATABASE_UNSUITABLE',
    `${path} cannot be adopted: ${text}. It was not changed, and nothing was imported. Give a whole SQLite database that this process may read.`,
    { cause: error, path, sqliteCode: sqliteCode(error) },
  )
}

/** No connection of this process has the file open: a descriptor of our own does no harm. */
function sync(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

function removeParts(part: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(part + suffix, { force: true })
}
