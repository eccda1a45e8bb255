/**
 * The least storage that the row format runs on: a connection in memory, statements told to an observer as a storage
 * would, groups with a savepoint for each write. The real storage is tried in the integration tests.
 */
import { constants, DatabaseSync, type SQLInputValue } from 'node:sqlite'
import type {
  Applier,
  Recorder,
  SqliteConnection,
  StatementInfo,
  StatementObserver,
} from '@understudy/contracts'
import { rowFormat, type RowFormat } from '../src/index.ts'

const ROW_ACTIONS: ReadonlySet<number> = new Set([
  constants.SQLITE_INSERT,
  constants.SQLITE_UPDATE,
  constants.SQLITE_DELETE,
])
const PASSIVE_ACTIONS: ReadonlySet<number> = new Set([
  constants.SQLITE_READ,
  constants.SQLITE_SELECT,
  constants.SQLITE_FUNCTION,
  constants.SQLITE_RECURSIVE,
])

export class TestConnection implements SqliteConnection {
  readonly database: DatabaseSync = new DatabaseSync(':memory:')
  observer: StatementObserver | undefined
  readonly ownTablePrefix: string = '_understudy_'

  get pages(): never {
    throw new Error('rows need no pages')
  }

  observe(observer: StatementObserver): () => void {
    this.observer = observer
    return () => (this.observer = undefined)
  }

  guarded<T>(run: () => T): T {
    return run()
  }

  internal<T>(run: () => T): T {
    return run()
  }

  /** Runs statements as a user's callback would. */
  exec(sql: string, parameters: readonly SQLInputValue[] = []): void {
    for (let rest = sql.trim(); rest !== '';) {
      const { statement, info } = this.#prepare(rest, parameters)
      this.observer?.before(info)
      statement.run(...parameters)
      this.observer?.after(info)
      rest = rest.slice(statement.sourceSQL.length).trim()
    }
  }

  #prepare(sql: string, parameters: readonly SQLInputValue[]) {
    const writes = new Set<string>()
    let effect: StatementInfo['effect'] = 'read'
    let pragma: StatementInfo['pragma']
    this.database.setAuthorizer((action, first, second) => {
      if (ROW_ACTIONS.has(action) && first !== null) {
        if (first.startsWith('sqlite_master')) return constants.SQLITE_OK
        writes.add(first)
        if (effect === 'read') effect = 'rows'
      } else if (action === constants.SQLITE_PRAGMA) {
        effect = 'pragma'
        pragma = { name: (first ?? '').toLowerCase(), argument: second ?? undefined }
      } else if (!PASSIVE_ACTIONS.has(action)) {
        effect = 'schema'
      }
      return constants.SQLITE_OK
    })
    try {
      const statement = this.database.prepare(sql)
      const text = statement.sourceSQL
      return {
        statement,
        info: {
          sql: text,
          parameters,
          effect,
          writes,
          ...(pragma !== undefined && { pragma }),
        } satisfies StatementInfo,
      }
    } finally {
      this.database.setAuthorizer(null)
    }
  }
}

/** One write of a group: SQL that must work, or a callback that may throw. */
export type Write = string | ((connection: TestConnection) => void)

/** A database that leads, and one that follows. */
export class TestNode {
  readonly connection: TestConnection = new TestConnection()
  readonly format: RowFormat
  recorder: Recorder | undefined
  applier: Applier | undefined

  constructor(setup: string = '', format: RowFormat = rowFormat()) {
    this.format = format
    if (setup !== '') this.connection.database.exec(setup)
  }

  get database(): DatabaseSync {
    return this.connection.database
  }

  lead(): this {
    this.recorder = this.format.recorder(this.connection)
    return this
  }

  follow(): this {
    this.applier = this.format.applier(this.connection)
    this.transaction(() => this.applier?.prepare())
    return this
  }

  /** Runs a group; a write that throws is rolled back alone and its error returned. */
  group(...writes: Write[]): { payloads: readonly Uint8Array[]; errors: unknown[] } {
    const recorder = this.recorder as Recorder
    const errors: unknown[] = []
    this.database.exec('begin')
    recorder.beginGroup()
    for (const write of writes) {
      this.database.exec('savepoint w')
      try {
        recorder.beginWrite()
        if (typeof write === 'string') this.connection.exec(write)
        else write(this.connection)
        recorder.endWrite()
      } catch (error) {
        errors.push(error)
        this.database.exec('rollback to w')
        recorder.abandonWrite()
      }
      this.database.exec('release w')
    }
    const payloads = recorder.finishGroup()
    this.database.exec('commit')
    return { payloads, errors }
  }

  /** The one payload of a group in which nothing failed. */
  payload(...writes: Write[]): Uint8Array {
    const { payloads, errors } = this.group(...writes)
    const [payload] = payloads
    if (errors.length > 0 || payload === undefined || payloads.length > 1) {
      throw new Error(`${payloads.length} payloads, errors: ${errors.map(String).join('; ')}`)
    }
    return payload
  }

  apply(...payloads: readonly Uint8Array[]): void {
    for (const payload of payloads) this.transaction(() => this.applier?.apply(payload))
  }

  transaction(run: () => void): void {
    this.database.exec('begin')
    try {
      run()
      this.database.exec('commit')
    } catch (error) {
      if (this.database.isTransaction) this.database.exec('rollback')
      throw error
    }
  }

  all(sql: string): unknown[][] {
    const statement = this.database.prepare(sql)
    statement.setReturnArrays(true)
    return statement.all() as unknown as unknown[][]
  }
}

export const KV = 'create table kv (id integer primary key autoincrement, k text, v text, n integer)'
