/**
 * The least storage that the statement format runs on: a connection in memory, statements told to observers as a storage
 * would, groups with a savepoint for each write. The real storage is tried in the integration tests.
 */
import { constants, DatabaseSync, type SQLInputValue } from 'node:sqlite'
import type {
  Applier,
  Parameters,
  Recorder,
  SqliteConnection,
  StatementInfo,
  StatementObserver,
} from '@understudy/contracts'
import { statementFormat, type StatementFormat } from '../src/index.ts'

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
  constants.SQLITE_TRANSACTION,
  constants.SQLITE_SAVEPOINT,
])

interface Analysed {
  readonly statement: ReturnType<DatabaseSync['prepare']>
  readonly sql: string
  readonly effect: StatementInfo['effect']
  readonly writes: ReadonlySet<string>
  readonly pragma: StatementInfo['pragma']
}

export class TestConnection implements SqliteConnection {
  readonly database: DatabaseSync = new DatabaseSync(':memory:')
  readonly ownTablePrefix: string = '_understudy_'
  #observers: readonly StatementObserver[] = []

  get pages(): never {
    throw new Error('statements need no pages')
  }

  observe(observer: StatementObserver): () => void {
    this.#observers = [...this.#observers, observer]
    return () => {
      this.#observers = this.#observers.filter((other) => other !== observer)
    }
  }

  get observerCount(): number {
    return this.#observers.length
  }

  guarded<T>(run: () => T): T {
    return run()
  }

  internal<T>(run: () => T): T {
    return run()
  }

  /** Runs statements as a user's callback would; rows of the last one. */
  exec(sql: string, parameters: Parameters = []): unknown[][] {
    let rows: unknown[][] = []
    for (let rest = sql.trim(); rest !== '';) {
      let analysed: Analysed
      try {
        analysed = this.#prepare(rest)
      } catch (error) {
        // A comment at the end is no statement.
        if (error instanceof Error && error.message.includes('no statements')) return rows
        throw error
      }
      rows = this.#run(analysed, parameters)
      rest = rest.slice(analysed.sql.length).trim()
    }
    return rows
  }

  #run({ statement, sql, effect, writes, pragma }: Analysed, parameters: Parameters): unknown[][] {
    const info: StatementInfo = { sql, parameters, effect, writes, ...(pragma !== undefined && { pragma }) }
    const observers = this.#observers
    for (const observer of observers) observer.before(info)
    const list = Array.isArray(parameters) ? (parameters as SQLInputValue[]) : undefined
    const rows =
      list === undefined ? statement.all(parameters as Record<string, SQLInputValue>) : statement.all(...list)
    for (const observer of observers) observer.after(info)
    return rows as unknown as unknown[][]
  }

  #prepare(sql: string): Analysed {
    const writes = new Set<string>()
    let effect: StatementInfo['effect'] = 'read'
    let pragma: StatementInfo['pragma']
    this.database.setAuthorizer((action, first, second) => {
      if (ROW_ACTIONS.has(action) && first !== null) {
        if (first.startsWith('sqlite_master')) return constants.SQLITE_OK
        writes.add(first)
        if (effect === 'read') effect = 'rows'
      } else if (action === constants.SQLITE_PRAGMA) {
        if (effect !== 'schema') effect = 'pragma'
        pragma = { name: (first ?? '').toLowerCase(), argument: second ?? undefined }
      } else if (!PASSIVE_ACTIONS.has(action)) {
        effect = 'schema'
      }
      return constants.SQLITE_OK
    })
    try {
      const statement = this.database.prepare(sql)
      statement.setReadBigInts(true)
      statement.setReturnArrays(true)
      return { statement, sql: statement.sourceSQL, effect, writes, pragma }
    } finally {
      this.database.setAuthorizer(null)
    }
  }
}

/** One write of a group: SQL that must work, or a callback that may throw. */
export type Write = string | ((connection: TestConnection) => void)

/** A database that leads, or follows. */
export class TestNode {
  readonly connection: TestConnection = new TestConnection()
  readonly format: StatementFormat
  recorder: Recorder | undefined
  applier: Applier | undefined

  constructor(setup: string = '', format: StatementFormat = statementFormat()) {
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

  /** A group that is rolled back when all is done. */
  lostGroup(...writes: Write[]): void {
    const recorder = this.recorder as Recorder
    this.database.exec('begin')
    recorder.beginGroup()
    for (const write of writes) {
      recorder.beginWrite()
      if (typeof write === 'string') this.connection.exec(write)
      else write(this.connection)
      recorder.endWrite()
    }
    recorder.finishGroup()
    this.database.exec('rollback')
    recorder.abandonGroup()
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
    statement.setReadBigInts(true)
    return statement.all() as unknown as unknown[][]
  }

  /** Everything: schema, every row with the type of each value, counters, pragmas, the dictionary. */
  dump(): string[] {
    const lines = this.all(`select type, name, tbl_name, sql from sqlite_schema order by type, name`).map(
      String,
    )
    for (const pragma of ['user_version', 'application_id', 'integrity_check', 'foreign_key_check']) {
      lines.push(`${pragma} ${this.all(`pragma ${pragma}`).join(' ')}`)
    }
    const tables = this.all(
      `select name from sqlite_schema where type = 'table' and rootpage > 0 order by name`,
    )
    for (const [name] of tables) {
      const quoted = `"${String(name).replaceAll('"', '""')}"`
      const columns = this.all(`select name from pragma_table_xinfo('${String(name)}')`).map(
        ([column]) =>
          `typeof("${String(column)}"), case typeof("${String(column)}") when 'text' then hex("${String(column)}") else quote("${String(column)}") end`,
      )
      lines.push(
        ...this.all(`select ${columns.join(', ')} from ${quoted}`)
          .map((row) => `${String(name)}: ${row.join(' ')}`)
          .sort(),
      )
    }
    return lines
  }
}

/** A leader and a follower that began alike. */
export function pair(
  setup: string = '',
  format: StatementFormat = statementFormat(),
): { leader: TestNode; follower: TestNode } {
  return { leader: new TestNode(setup, format).lead(), follower: new TestNode(setup, format).follow() }
}

export const KV = 'create table kv (id integer primary key autoincrement, k text, v text, n integer)'
