/** The options of a storage, with every default. */
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Lsn } from '@understudy/contracts'
import { isPageSize } from '@understudy/sqlite-files'
import type { Setup } from './connection.ts'
import { invalidArgument } from './errors.ts'

export interface StorageOptions {
  /** The database file; made when missing. Its directory must exist. */
  readonly path: string
  /** Registers functions, aggregates and collations, on the writer and on each reader. */
  readonly setup?: Setup | undefined
  /** Connections that read at once. Default 4. */
  readonly readers?: number
  /** Connections beside them for streams and transactions of clients, which may take long. Default 8. */
  readonly heldReaders?: number
  /** Page size of a new database, in bytes. Default 4096. */
  readonly pageBytes?: number
  /** Compiled statements kept for each connection. Default 256. */
  readonly statementsMax?: number
  /** How long to wait, blocking, for a lock that someone else holds. Default 1000. */
  readonly busyTimeoutMs?: number
  /** Size of the log file from which it is made to begin anew. Default 64 MiB. */
  readonly walBytesRestart?: number
  /** Memory for images of pages that physical formats compare with. Default 32 MiB. */
  readonly pageCacheBytes?: number
  /** Memory for pages of one transaction before they go to the log file. Default 8 MiB. */
  readonly stagedBytesMax?: number
  /**
   * Another, unmodified program writes the database too: that is no `FOREIGN_WRITE`, and what it commits is taken with the
   * next physical transaction. Such a storage cannot be a follower's. Default false.
   */
  readonly shared?: boolean
  /**
   * Keeps the way back to an older point of the database (`rewind`), at the price of disk space: up to `rewindBytesMax` in the log
   * file, and as much in a file of its own. Says beyond which LSN nobody will want to go back, `undefined` when that is not known. Default: there is no way
   * back. Not with `shared`.
   */
  readonly rewindSafe?: (() => Lsn | undefined) | undefined
  /** Bytes of changed pages after which the way back is to a later point in any case. Default 64 MiB. */
  readonly rewindBytesMax?: number
  /**
   * Reads with `foreign` may use a schema that calls functions of `setup`, or those of SQLite that are not known to be
   * harmless. Default false: such a schema fails them.
   */
  readonly trustSchema?: boolean
}

/** The options as they are used. */
export type Settings = Required<Omit<StorageOptions, 'setup' | 'rewindSafe'>>

/** Every default, and what is out of range. Throws `INVALID_ARGUMENT`. */
export function withDefaults(options: StorageOptions): Settings {
  const all = {
    path: options.path,
    readers: options.readers ?? 4,
    heldReaders: options.heldReaders ?? 8,
    pageBytes: options.pageBytes ?? 4096,
    statementsMax: options.statementsMax ?? 256,
    busyTimeoutMs: options.busyTimeoutMs ?? 1000,
    walBytesRestart: options.walBytesRestart ?? 64 * 1024 * 1024,
    pageCacheBytes: options.pageCacheBytes ?? 32 * 1024 * 1024,
    stagedBytesMax: options.stagedBytesMax ?? 8 * 1024 * 1024,
    rewindBytesMax: options.rewindBytesMax ?? 64 * 1024 * 1024,
    shared: options.shared ?? false,
    trustSchema: options.trustSchema ?? false,
  }
  if (typeof all.path !== 'string' || all.path === '' || all.path === ':memory:')
    throw invalidArgument('path must name a file: replication needs a write-ahead log. Nothing was opened.')
  if (!existsSync(dirname(all.path)))
    throw invalidArgument(`The directory of ${all.path} does not exist. Nothing was opened. Make it first.`)
  if (!isPageSize(all.pageBytes))
    throw invalidArgument(
      `pageBytes is ${all.pageBytes}; give a power of two from 512 to 65536. Nothing was opened.`,
    )
  for (const name of ['readers', 'heldReaders', 'statementsMax', 'walBytesRestart'] as const)
    if (!Number.isSafeInteger(all[name]) || all[name] < 1)
      throw invalidArgument(`${name} is ${String(all[name])}; give a positive integer. Nothing was opened.`)
  for (const name of ['busyTimeoutMs', 'pageCacheBytes', 'stagedBytesMax', 'rewindBytesMax'] as const)
    if (!Number.isSafeInteger(all[name]) || all[name] < 0)
      throw invalidArgument(`${name} is ${String(all[name])}; give 0 or more. Nothing was opened.`)
  return all
}
