/** What no connection can do: each test is a line of the list of what SQLite is attacked with. */
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { openReader } from '../src/connection.ts'
import { openHardened } from '../src/hardened-connection.ts'
import { importDatabase, lockDirectory, openStorage } from '../src/index.ts'
import { commitOne, opened, point, temporaryFolder } from './helpers.ts'

const SETUP = (connection: DatabaseSync): void =>
  connection.function('mine', { deterministic: true }, (value) => value)

/** Undoes what it can, as the setup of a careless user may. */
const UNDOES = (connection: DatabaseSync): void => {
  connection.enableDefensive(false)
  connection.limits.attach = 10
  connection.exec('pragma cell_size_check = off; pragma writable_schema = on; pragma trusted_schema = on')
}

/** Every way in which this package opens a connection, by name. */
function everyConnection(): Record<string, DatabaseSync> {
  const storage = opened({ setup: UNDOES })
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  const path = storage.connection.database.location() as string
  const options = { path, setup: UNDOES, statementsMax: 1, busyTimeoutMs: 0 }
  return {
    writer: storage.connection.database,
    reader: openReader(options).database,
    'reader of others': openReader(options, 'foreign').database,
    'reader of others with trust': openReader(options, 'limited').database,
    checkpointer: openHardened(path, { trust: 'own', file: 'existing' }),
    received: openHardened(path, { trust: 'foreign', readOnly: true, file: 'immutable' }),
    import: openHardened(join(temporaryFolder(), 'x.db'), { trust: 'foreign' }),
  }
}

function pragma(database: DatabaseSync, name: string): unknown {
  return Object.values(database.prepare(`pragma ${name}`).get() ?? {})[0]
}

const NAMES = [
  'writer',
  'reader',
  'reader of others',
  'reader of others with trust',
  'checkpointer',
  'received',
  'import',
]

test.each(NAMES)('ATTACH is refused by SQLite itself, past every guard: %s', (name) => {
  const database = everyConnection()[name] as DatabaseSync
  database.setAuthorizer(null)
  const file = join(temporaryFolder(), 'other.db')
  for (const sql of [`attach '${file}' as other`, "attach ':memory:' as other", `vacuum into '${file}'`])
    expect(() => database.exec(sql)).toThrow(/too many attached databases|cannot VACUUM|readonly/)
  expect(() => statSync(file)).toThrow('ENOENT')
})

test.each(NAMES)('no extension is loaded, by SQL or by the connection: %s', (name) => {
  const database = everyConnection()[name] as DatabaseSync
  database.setAuthorizer(null)
  expect(() => database.exec("select load_extension('/tmp/x.so')")).toThrow('not authorized')
  expect(() => database.enableLoadExtension(true)).toThrow('extension loading')
  expect(() => database.loadExtension('/tmp/x.so')).toThrow('extension loading is not allowed')
})

test.each(NAMES)('cell_size_check is on: %s', (name) => {
  expect(pragma(everyConnection()[name] as DatabaseSync, 'cell_size_check')).toBe(1)
})

test.each(NAMES)('defensive: the schema table and shadow tables cannot be written by SQL: %s', (name) => {
  const database = everyConnection()[name] as DatabaseSync
  database.setAuthorizer(null)
  expect(pragma(database, 'writable_schema')).toBe(0)
  expect(() => database.exec('pragma writable_schema = on; delete from sqlite_schema')).toThrow(
    /may not be modified|readonly/,
  )
})

test.each([
  ['writer', 1],
  ['reader', 1],
  ['reader of others', 0],
  ['reader of others with trust', 1],
  ['received', 0],
  ['import', 0],
])('trusted_schema is off where the schema is not trusted: %s', (name, expected) => {
  expect(pragma(everyConnection()[name] as DatabaseSync, 'trusted_schema')).toBe(expected)
})

test.each(['reader of others', 'reader of others with trust', 'received'])(
  'limits are tight for SQL of others: %s',
  (name) => {
    const { limits } = everyConnection()[name] as DatabaseSync
    expect({ ...limits }).toMatchObject({
      attach: 0,
      length: 64 * 1024 * 1024,
      sqlLength: 16 * 1024 * 1024,
      vdbeOp: 1_000_000,
      compoundSelect: 100,
      functionArg: 127,
      likePatternLength: 1000,
      triggerDepth: 10,
    })
  },
)

test('the checkpointing thread and the lock of a directory open nothing in another way', () => {
  const folder = join(import.meta.dirname, '../src')
  const opens = readdirSync(folder).filter((name) =>
    /new DatabaseSync\(/.test(readFileSync(join(folder, name), 'utf8')),
  )
  expect(opens).toEqual(['hardened-connection.ts'])
})

// Functions of the user in a schema: what the two kinds of readers make of them.

const SCHEMAS: readonly (readonly [string, string, string])[] = [
  ['a view', 'create view w as select mine(v) as x from t', 'select x from w'],
  [
    'a generated column',
    'create table g (a, b as (mine(a)) virtual); insert into g values (1)',
    'select b from g',
  ],
  ['an index', 'create index i on t (mine(v))', "select 1 from t where mine(v) = 'a'"],
  ['a CHECK', 'create table c (a check (mine(a) > 0)); insert into c values (1)', 'select a from c'],
  [
    'a trigger',
    'create table l (x); create trigger w after insert on t begin insert into l values (mine(new.v)); end',
    'select count(*) from l',
  ],
  [
    'a DEFAULT',
    'create table d (id integer primary key, a default (mine(5))); insert into d (id) values (1)',
    'select a from d',
  ],
  [
    'full-text search with triggers',
    `create virtual table f using fts5 (v, content = 't', content_rowid = 'id');
      create trigger w after insert on t begin insert into f (rowid, v) values (new.id, new.v); end`,
    "select rowid from f where f match 'a'",
  ],
]

test.each(SCHEMAS)(
  '%s with a function of the user works for the writer and for reads of its own',
  async (_name, sql, query) => {
    const storage = opened({ setup: SETUP })
    commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
    commitOne(storage, 2, (tx) => tx.exec(sql))
    commitOne(storage, 3, (tx) => tx.run("insert into t (v) values ('a')"))
    expect((await storage.read((tx) => tx.all(query))).length).toBe(1)
    const view = storage.freeze()
    expect((await view.digest()).length).toBeGreaterThan(0)
    await view.close()
  },
)

test.each([
  ['a view', true],
  ['a generated column', true],
  ['an index', true],
  ['a CHECK', false],
  ['a trigger', false],
  ['a DEFAULT', false],
  ['full-text search with triggers', false],
])(
  '%s with a function of the user: a read of others fails: %s, unless trustSchema is set',
  async (name, fails) => {
    const [, sql, query] = SCHEMAS.find(([schema]) => schema === name) as (typeof SCHEMAS)[number]
    for (const trustSchema of [false, true]) {
      const storage = opened({ setup: SETUP, trustSchema })
      commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
      commitOne(storage, 2, (tx) => tx.exec(sql))
      commitOne(storage, 3, (tx) => tx.run("insert into t (v) values ('a')"))
      const read = storage.read((tx) => tx.all(query), { foreign: true })
      if (!fails || trustSchema) expect((await read).length).toBe(1)
      else
        await expect(read).rejects.toMatchObject({
          code: 'SQL_FAILED',
          message: expect.stringContaining('trustSchema'),
        })
    }
  },
)

// Reads of others.

test.each([
  'insert into t (v) values (1)',
  'update t set v = 1',
  'delete from t',
  'create table u (v)',
  'drop table t',
  'insert into t (v) values (1) returning id',
  'with x as (select 1) insert into t (v) select * from x',
  'update _understudy_position set lsn = 9',
  'pragma query_only = off',
  'pragma user_version = 7',
  'pragma writable_schema = on',
  'pragma journal_mode = delete',
  'pragma mmap_size = 1000000',
  "pragma temp_store_directory = '/tmp'",
  'pragma trusted_schema = on',
  'pragma cell_size_check = off',
  'pragma cache_size = 1000000',
  'pragma busy_timeout = 100000',
  'pragma hard_heap_limit = 1',
  'pragma soft_heap_limit = 1',
  'pragma threads = 8',
  'pragma temp_store = memory',
  'pragma analysis_limit = 1',
  'pragma wal_checkpoint',
  'pragma shrink_memory',
  'pragma optimize',
  "attach 'file:/tmp/x?mode=rwc' as x",
  'detach main',
  "vacuum into '/tmp/understudy-never'",
  'begin',
  'commit',
  'rollback',
  'savepoint x',
  "select load_extension('x')",
  "select fts3_tokenizer('simple')",
  "select fts3_tokenizer('simple', x'00')",
  'create temp table x (v)',
])('a read of others changes nothing, and sets nothing: %s', async (sql) => {
  const storage = opened()
  commitOne(storage, 1, (tx) =>
    tx.exec("create table t (id integer primary key, v); insert into t (v) values ('a')"),
  )
  await expect(storage.read((tx) => tx.all(sql), { foreign: true })).rejects.toMatchObject({
    code: 'WRITE_FORBIDDEN',
  })
  const after = await storage.read(
    (tx) => tx.all('select v, (select lsn from _understudy_position) as lsn from t'),
    {
      foreign: true,
    },
  )
  expect(after).toEqual([{ v: 'a', lsn: 1 }])
  expect(storage.applied).toEqual(point(1))
})

test.each([
  ['a value of half a gigabyte', 'select length(hex(zeroblob(300000000)))', /too big/],
  ['a text as long', "select length(printf('%.*c', 400000000, 'x'))", /too big/],
  [
    'a LIKE pattern of a megabyte',
    "select 'a' like replace(hex(zeroblob(500000)), '0', '%')",
    /LIKE or GLOB pattern too complex/,
  ],
  [
    '500 unions',
    Array.from({ length: 500 }, () => 'select 1').join(' union all '),
    /too many terms in compound/,
  ],
  ['500 arguments', `select max(${Array.from({ length: 500 }, () => '1').join()})`, /too many arguments/],
  [
    'an expression 5,000 deep',
    `select ${'('.repeat(5000)}1${')'.repeat(5000)}`,
    /too deep|too large|Recursion limit/,
  ],
  ['NOT, 2,000 deep', `select ${'not '.repeat(2000)}1`, /too large|too deep/],
])('a limit ends it before memory is taken: %s', async (_name, sql, message) => {
  const storage = opened()
  await expect(storage.read((tx) => tx.all(sql), { foreign: true })).rejects.toThrow(message)
  expect(await storage.read((tx) => tx.get('select 1 as one'), { foreign: true })).toEqual({ one: 1 })
})

// Triggers that came in a file or in a record.

test.each([
  ['writes the position', 'update _understudy_position set lsn = 0', 'WRITE_FORBIDDEN'],
  ['deletes the position', 'delete from _Understudy_Position', 'WRITE_FORBIDDEN'],
  ['writes a table of a format', 'insert into _understudy_other values (1)', 'WRITE_FORBIDDEN'],
  ['loads an extension', "select load_extension('/tmp/x.so')", 'WRITE_FORBIDDEN'],
])('a trigger that %s fails whoever fires it, our own code too', (_name, body, code) => {
  const storage = opened()
  const { connection } = storage
  commitOne(storage, 1, (tx) => {
    tx.exec(
      `create table t (id integer primary key, v); create trigger w after insert on t begin ${body}; end`,
    )
  })
  storage.begin()
  connection.internal(() => connection.database.exec('create table _understudy_other (v)'))
  storage.mark(point(2))
  storage.commit()
  expect(() => commitOne(storage, 3, (tx) => tx.run('insert into t (v) values (1)'))).toThrow(
    expect.objectContaining({ code }),
  )
  storage.begin()
  expect(() => connection.internal(() => connection.database.exec('insert into t (v) values (1)'))).toThrow(
    /not authorized/,
  )
  storage.rollback()
  expect(storage.applied).toEqual(point(2))
  expect(connection.internal(() => connection.database.prepare('select count(*) as n from t').get())).toEqual(
    { n: 0 },
  )
})

test('a position whose row is gone stops the storage before the data is committed without it', () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (v)'))
  storage.begin()
  storage.connection.internal(() => storage.connection.database.exec('delete from _understudy_position'))
  expect(() => storage.mark(point(2))).toThrow(expect.objectContaining({ code: 'DATABASE_UNSUITABLE' }))
  storage.rollback()
  expect(() => storage.begin()).toThrow(expect.objectContaining({ code: 'DATABASE_UNSUITABLE' }))
})

// Files.

test('every file that the storage makes is for its user alone', async () => {
  const folder = temporaryFolder()
  const lock = lockDirectory(join(folder, 'node'))
  const path = join(folder, 'node', 'data.db')
  const storage = openStorage({ path })
  commitOne(storage, 1, (tx) => tx.exec('create table t (v)'))
  await storage.checkpoint()
  expect(readdirSync(join(folder, 'node')).toSorted()).toEqual([
    'data.db',
    'data.db-shm',
    'data.db-wal',
    'lock',
    'lock-journal',
  ])
  expect(modesOf(join(folder, 'node'))).toEqual(['600'])
  await storage.close()
  expect(readdirSync(join(folder, 'node'))).toContain('data.db.closed')
  await importDatabase({ from: path, to: join(folder, 'node', 'copy.db') })
  expect(modesOf(join(folder, 'node'))).toEqual(['600'])
  expect(statSync(join(folder, 'node')).mode & 0o777).toBe(0o700)
  lock.release()
})

test('a database or a directory that is there keeps its mode', async () => {
  const folder = join(temporaryFolder(), 'wide')
  mkdirSync(folder, { mode: 0o755 })
  writeFileSync(join(folder, 'data.db'), '', { mode: 0o640 })
  lockDirectory(folder).release()
  const storage = openStorage({ path: join(folder, 'data.db') })
  expect(statSync(folder).mode & 0o777).toBe(0o755)
  expect(statSync(join(folder, 'data.db')).mode & 0o777).toBe(0o640)
  expect(statSync(join(folder, 'data.db-wal')).mode & 0o777).toBe(0o640)
  await storage.close()
})

test.each(['a file that is there', 'a file that is missing'])(
  'a symbolic link in the place of a file is not followed: to %s',
  async (kind) => {
    const folder = temporaryFolder()
    const elsewhere = join(folder, 'elsewhere')
    if (kind === 'a file that is there') writeFileSync(elsewhere, '')
    for (const name of ['data.db', 'lock']) symlinkSync(elsewhere, join(folder, name))
    expect(() => openStorage({ path: join(folder, 'data.db') })).toThrow('symbolic link')
    expect(() => lockDirectory(folder)).toThrow('symbolic link')
    symlinkSync(elsewhere, join(folder, 'copy.db.importing'))
    const source = join(temporaryFolder(), 'source.db')
    await openStorage({ path: source }).close()
    // A leftover of an earlier import is removed by its name, and what it points to stays.
    await importDatabase({ from: source, to: join(folder, 'copy.db') })
    if (kind === 'a file that is there') expect(statSync(elsewhere).size).toBe(0)
    else expect(() => statSync(elsewhere)).toThrow('ENOENT')
  },
)

function modesOf(folder: string): string[] {
  const modes = readdirSync(folder).map((name) => (statSync(join(folder, name)).mode & 0o777).toString(8))
  return [...new Set(modes)]
}
