/**
 * The file, and transactions on it.
 *
 * 1. Only a file on a file system of this machine alone is opened, and only one that is a coordinator's or new.
 * 2. A transaction sees the file that has the name at that moment: one that was replaced under us is refused, because others
 *    would hold the same lease in the new one.
 * 3. After a write or sync that failed nothing is believed any more: no further call succeeds.
 * 4. It never waits for a lock: it says so, and whoever calls tries again. The thread goes on meanwhile.
 */
import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { isUnderstudyError } from '@understudy/contracts'
import { unavailable } from '@understudy/coordination'
import { isFatal, KIND, understood, unsuitable } from './failures.ts'
import { sharedFileSystem, type Machine } from './machine.ts'

/** `UdrC`. */
const APPLICATION_ID = 0x55647243
const VERSION = 1

const SCHEMA = `
  create table counter (id integer primary key check (id = 1), value integer not null) strict;
  insert into counter values (1, 0);
  create table state (id integer primary key check (id = 1), revision integer not null, bytes blob not null) strict;
  create table lease (
    id integer primary key check (id = 1),
    "grant" integer not null,
    beat integer not null,
    holder text not null,
    epoch integer not null,
    ttl_ms integer not null,
    token text not null,
    released integer not null,
    beaten_at_ns integer not null,
    boot text not null,
    time_space text not null
  ) strict;
  pragma application_id = ${APPLICATION_ID};
  pragma user_version = ${VERSION};
`

/** `full`: it outlives a power loss. `process`: it outlives the process, which is all that a renewal must. */
export type Durability = 'full' | 'process'

export class CoordinatorFile {
  readonly path: string
  readonly #identity: string
  readonly #database: DatabaseSync
  #failure: unknown
  #changed = false

  /** Throws `COORDINATOR_UNSUITABLE`, `STATE_CORRUPT`, `COORDINATOR_UNAVAILABLE`, or what `isBusy` knows: try again. */
  constructor(path: string, machine: Pick<Machine, 'fileSystem'>) {
    this.path = path
    checkPlace(path, machine)
    try {
      // Created here, so that it is there when its identity is taken.
      this.#database = new DatabaseSync(path, { timeout: 0, readBigInts: true })
      this.#database.exec('pragma trusted_schema = off')
    } catch (error) {
      throw understood(error, path, false)
    }
    try {
      this.#prepare()
      this.#identity = identityOf(path)
    } catch (error) {
      this.#database.close()
      throw error
    }
  }

  /** Runs `run` as one transaction. Throws what `isBusy` knows when somebody else has the lock; nothing happened then. */
  change<T>(durability: Durability, run: (database: DatabaseSync) => T): T {
    this.#check()
    const database = this.#database
    database.exec(`pragma synchronous = ${durability === 'full' ? 'full' : 'normal'}`)
    database.exec('begin immediate')
    let isCommitting = false
    try {
      this.#checkIdentity()
      const result = run(database)
      isCommitting = true
      database.exec('commit')
      return result
    } catch (error) {
      if (isFatal(error)) this.#failure = error
      if (database.isTransaction) database.exec('rollback')
      throw isUnderstudyError(error) ? error : understood(error, this.path, isCommitting)
    }
  }

  /** One consistent look. */
  read<T>(run: (database: DatabaseSync) => T): T {
    this.#check()
    const database = this.#database
    database.exec('begin')
    try {
      this.#checkIdentity()
      return run(database)
    } finally {
      if (database.isTransaction) database.exec('rollback')
    }
  }

  /** Another number after each change by another connection. */
  version(): bigint {
    const row = this.#database.prepare('pragma data_version').get()
    return row?.['data_version'] as bigint
  }

  close(): void {
    this.#changed = true
    this.#database.close()
  }

  #check(): void {
    if (this.#changed) throw unavailable(KIND, 'it was closed')
    if (this.#failure !== undefined)
      throw unavailable(
        KIND,
        `${this.path} could not be written or synced before; open it anew`,
        this.#failure,
      )
  }

  #checkIdentity(): void {
    if (identityOf(this.path) === this.#identity) return
    throw unsuitable(
      `${this.path} was replaced or removed while it was in use`,
      'restart every node of the cluster, so that all of them use the same file',
    )
  }

  #prepare(): void {
    const database = this.#database
    try {
      if (this.#isNew()) database.exec('pragma journal_mode = wal')
      if (this.#isNew()) {
        database.exec('begin immediate')
        if (this.#isNew()) database.exec(SCHEMA)
        database.exec('commit')
      }
    } catch (error) {
      if (database.isTransaction) database.exec('rollback')
      throw error
    }
    const version = this.#pragma('user_version')
    if (this.#pragma('application_id') !== APPLICATION_ID || version !== VERSION)
      throw unsuitable(
        `${this.path} is a database of something else, or of a newer version (${version})`,
        'give the path of a file that is a coordinator’s, or of none',
      )
  }

  #isNew(): boolean {
    const row = this.#database.prepare('select count(*) as count from sqlite_schema').get()
    return row?.['count'] === 0n && this.#pragma('application_id') === 0
  }

  #pragma(name: 'application_id' | 'user_version'): number {
    return Number(this.#database.prepare(`pragma ${name}`).get()?.[name])
  }
}

function identityOf(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  return stat === undefined ? 'none' : `${stat.dev} ${stat.ino}`
}

function checkPlace(path: string, machine: Pick<Machine, 'fileSystem'>): void {
  const directory = dirname(path)
  let type: number
  try {
    type = machine.fileSystem(directory)
  } catch (error) {
    throw unavailable(KIND, `the folder ${directory} cannot be looked at; make it first`, error)
  }
  const name = sharedFileSystem(type)
  if (name === undefined) return
  throw unsuitable(
    `${directory} is on ${name}, which machines share, and where locks of SQLite do not hold`,
    'use a disk of this machine, or etcd for nodes on several',
  )
}
