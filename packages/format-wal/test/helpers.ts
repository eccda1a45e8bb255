/** A leader on a real file, followers in memory, and groups as a storage runs them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import type { SqliteConnection, SqlitePages, StatementInfo, StatementObserver } from '@understudy/contracts'
import { walFormat, type WalFormat } from '../src/index.ts'
import { MemoryPages } from './memory-pages.ts'
import { WalFilePages } from './wal-file-pages.ts'

const POSITION =
  'create table _understudy_position (epoch integer not null, lsn integer not null, crc integer not null)'

export class TestConnection<P extends SqlitePages> implements SqliteConnection {
  readonly database: DatabaseSync
  readonly pages: P
  readonly ownTablePrefix: string = '_understudy_'
  observers: StatementObserver[] = []

  constructor(database: DatabaseSync, pages: P) {
    this.database = database
    this.pages = pages
  }

  guarded<T>(run: () => T): T {
    return run()
  }

  internal<T>(run: () => T): T {
    return run()
  }

  observe(observer: StatementObserver): () => void {
    this.observers.push(observer)
    return () => (this.observers = this.observers.filter((other) => other !== observer))
  }
}

/** A connection for an applier, which needs no SQL. */
export function followerConnection(pages: MemoryPages): TestConnection<MemoryPages> {
  return new TestConnection(undefined as unknown as DatabaseSync, pages)
}

export class Directory {
  readonly path: string

  constructor() {
    this.path = mkdtempSync(join(tmpdir(), 'understudy-format-wal-'))
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

export interface LeaderOptions {
  readonly pageBytes?: number
  /** SQL before the first table. */
  readonly before?: string
  readonly setup?: string
  readonly format?: WalFormat
}

export class Leader {
  readonly file: string
  readonly connection: TestConnection<WalFilePages>
  readonly format: WalFormat
  readonly recorder: ReturnType<WalFormat['recorder']>
  #lsn = 0

  constructor(directory: string, options: LeaderOptions = {}) {
    const { pageBytes = 4096, before = '', setup = '', format = walFormat() } = options
    this.file = join(directory, 'leader.db')
    const making = new DatabaseSync(this.file)
    making.exec(
      `pragma page_size = ${pageBytes}; ${before}; pragma journal_mode = wal; ${POSITION}; ${setup}`,
    )
    making.exec('insert into _understudy_position values (1, 1, 1); pragma wal_checkpoint(truncate)')
    making.close()
    const pages = new WalFilePages(this.file, pageBytes)
    const database = new DatabaseSync(this.file)
    database.exec('pragma wal_autocheckpoint = 0; pragma synchronous = off; pragma foreign_keys = on')
    this.connection = new TestConnection(database, pages)
    this.format = format
    // As a storage does: an empty log tells nothing.
    database.exec('update _understudy_position set lsn = 2; update _understudy_position set lsn = 1')
    this.recorder = format.recorder(this.connection)
  }

  get database(): DatabaseSync {
    return this.connection.database
  }

  /** A follower in memory that is equal to this leader as of now. */
  follower(): Follower {
    return new Follower(this.connection.pages.pageBytes, this.connection.pages.bytes(), this.format)
  }

  /** Runs a group in one transaction; a write that throws is rolled back alone. No payload when nothing changed. */
  group(...writes: readonly (string | ((database: DatabaseSync) => void))[]): readonly Uint8Array[] {
    const { database, recorder } = this
    recorder.beginGroup()
    database.exec('begin immediate')
    for (const write of writes) {
      database.exec('savepoint w')
      recorder.beginWrite()
      try {
        if (typeof write === 'string') this.exec(write)
        else write(database)
        recorder.endWrite()
      } catch {
        database.exec('rollback to w')
        recorder.abandonWrite()
      }
      database.exec('release w')
    }
    if (!recorder.changed()) {
      database.exec('rollback')
      recorder.abandonGroup()
      return []
    }
    this.mark()
    database.exec('commit')
    return this.#finish()
  }

  /** The position row, as each group changes it. */
  mark(): void {
    this.#lsn += 1
    this.database
      .prepare('update _understudy_position set epoch = ?, lsn = ?, crc = ?')
      .run(1, this.#lsn, Math.imul(this.#lsn, 0x9e37_79b1) >>> 0)
  }

  /** What no group can do: VACUUM. */
  alone(sql: string): readonly Uint8Array[] {
    this.recorder.beginGroup()
    this.database.exec(sql)
    return this.#finish()
  }

  #finish(): readonly Uint8Array[] {
    const payloads = this.recorder.finishGroup()
    if (payloads.length !== 1) throw new Error(`${payloads.length} payloads of a group`)
    return payloads
  }

  exec(sql: string, parameters: readonly SQLInputValue[] = []): void {
    this.database.prepare(sql).run(...parameters)
  }

  /** Runs a statement as a user's callback does, told to the observers. */
  observed(sql: string, info: Partial<StatementInfo>): void {
    const statement: StatementInfo = { sql, parameters: [], effect: 'read', writes: new Set(), ...info }
    for (const observer of this.connection.observers) observer.before(statement)
    this.database.exec(sql)
    for (const observer of this.connection.observers) observer.after(statement)
  }

  /** Moves the log into the file and returns the file. The connection is closed first, since reading the file drops its locks. */
  finalFile(): Uint8Array {
    this.recorder.close()
    this.database.exec('pragma wal_checkpoint(truncate)')
    this.database.close()
    return readFileSync(this.file)
  }
}

export class Follower {
  readonly pages: MemoryPages
  readonly applier: ReturnType<WalFormat['applier']>

  constructor(pageBytes: number, file: Uint8Array | number, format: WalFormat = walFormat()) {
    this.pages = new MemoryPages(pageBytes, file)
    this.applier = format.applier(followerConnection(this.pages))
  }

  /** Each payload in a transaction of its own, or all in one. */
  apply(payloads: readonly Uint8Array[], together = false): void {
    for (const payload of payloads) {
      try {
        this.applier.apply(payload)
        if (!together) this.pages.commit()
      } catch (error) {
        this.pages.rollback()
        throw error
      }
    }
    this.pages.commit()
  }

  /** What `integrity_check` says of the file. */
  integrity(directory: string): unknown {
    const path = join(directory, 'follower.db')
    writeFileSync(path, this.pages.bytes())
    const database = new DatabaseSync(path)
    try {
      return database.prepare('pragma integrity_check').get()
    } finally {
      database.close()
    }
  }
}
