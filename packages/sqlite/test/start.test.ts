import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { importDatabase, lockDirectory, openStorage } from '../src/index.ts'
import { commitOne, elsewhere, opened, point, temporaryFolder } from './helpers.ts'

test('one holder has a directory: another of this process is refused, by name, until it is released', () => {
  const directory = join(temporaryFolder(), 'made', 'here')
  const lock = lockDirectory(directory)
  expect(() => lockDirectory(directory)).toThrow(
    expect.objectContaining({ code: 'DIRECTORY_LOCKED', message: expect.stringContaining(directory) }),
  )
  expect(elsewhere(join(directory, 'lock'), 'begin immediate')).toEqual({ ok: false, errcode: 5 })
  lock.release()
  lock.release()
  const again = lockDirectory(directory)
  again.release()
})

test('a holder that is killed gives the directory back', async () => {
  const directory = temporaryFolder()
  const program = fileURLToPath(new URL('programs/hold-lock.ts', import.meta.url))
  const child = spawn(
    process.execPath,
    ['--conditions=@understudy/source', '--disable-warning=ExperimentalWarning', program, directory],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  )
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  expect(() => lockDirectory(directory)).toThrow(expect.objectContaining({ code: 'DIRECTORY_LOCKED' }))
  child.kill('SIGKILL')
  await once(child, 'exit')
  lockDirectory(directory).release()
})

test('a lock is held until it is released, also when nobody refers to it', () => {
  const program = fileURLToPath(new URL('programs/drop-lock.ts', import.meta.url))
  const flags = ['--expose-gc', '--conditions=@understudy/source', '--disable-warning=ExperimentalWarning']
  const said = execFileSync(process.execPath, [...flags, program, temporaryFolder()], { encoding: 'utf8' })
  expect(said).toBe('held')
})

test.each(['delete', 'wal'])(
  'a database in %s mode is adopted whole, and the source is left as it was',
  async (mode) => {
    const folder = temporaryFolder()
    const from = join(folder, 'source.db')
    const to = join(folder, 'node.db')
    const source = new DatabaseSync(from)
    source.exec(`pragma page_size = 1024; pragma journal_mode = ${mode}; create table t (k text primary key, v);
    create table _understudy_position (epoch, lsn, crc); insert into _understudy_position values (9, 9, 9)`)
    source.exec(
      'with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) insert into t select i, zeroblob(50) from n',
    )
    source.exec('delete from t where rowid < 100')
    if (mode === 'delete') source.close()
    const before = mode === 'delete' ? readFileSync(from) : undefined
    let last = 0
    await importDatabase({
      from,
      to,
      progress: ({ donePages, totalPages }) => (last = donePages / totalPages),
    })
    expect(last).toBe(1)
    if (before !== undefined) expect(readFileSync(from).equals(before)).toBe(true)
    if (mode === 'wal') {
      source.exec("insert into t values ('still open', 1)")
      source.close()
    }
    expect(readdirSync(folder).filter((name) => name.startsWith('node'))).toEqual(['node.db'])
    const storage = openStorage({ path: to })
    expect(storage.applied.lsn).toBe(0)
    // Rowids stay, which VACUUM INTO would not promise.
    expect(await storage.read((tx) => tx.get('select min(rowid) as low, count(*) as n from t'))).toEqual({
      low: 100,
      n: 19_901,
    })
    await storage.close()
  },
)

test('what is no database, damaged, missing or in the way is refused, and nothing is left behind', async () => {
  const folder = temporaryFolder()
  const at = (name: string): string => join(folder, name)
  const to = at('node.db')
  writeFileSync(at('text.db'), 'not a database, but long enough to be read as one. '.repeat(100))
  await expect(importDatabase({ from: at('text.db'), to })).rejects.toMatchObject({
    code: 'DATABASE_UNSUITABLE',
  })
  await expect(importDatabase({ from: at('missing.db'), to })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  })
  const source = new DatabaseSync(at('damaged.db'))
  source.exec(
    'create table t (k text primary key, v); insert into t values (1, zeroblob(90000)), (2, zeroblob(90000))',
  )
  source.close()
  const bytes = readFileSync(at('damaged.db'))
  bytes.fill(0x5a, 4096, 8192)
  writeFileSync(at('damaged.db'), bytes)
  await expect(importDatabase({ from: at('damaged.db'), to })).rejects.toMatchObject({
    code: 'DATABASE_UNSUITABLE',
  })
  expect(readdirSync(folder).filter((name) => name.startsWith('node'))).toEqual([])
  writeFileSync(to, 'mine')
  await expect(importDatabase({ from: at('damaged.db'), to })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  })
  expect(readFileSync(to, 'utf8')).toBe('mine')
})

test('what cannot be opened is an error that says so', () => {
  const folder = temporaryFolder()
  writeFileSync(join(folder, 'text.db'), 'not a database, but long enough to be read as one. '.repeat(100))
  expect(() => openStorage({ path: join(folder, 'text.db') })).toThrow(
    expect.objectContaining({ code: 'DATABASE_UNSUITABLE' }),
  )
  for (const options of [
    { path: '' },
    { path: ':memory:' },
    { path: join(folder, 'no', 'such', 'folder.db') },
    { path: 'x', pageBytes: 1000 },
    { path: 'x', readers: 0 },
    { path: 'x', busyTimeoutMs: -1 },
  ])
    expect(() => openStorage(options)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
})

test('a database in rollback mode is opened, and is in WAL mode from then on', () => {
  const path = join(temporaryFolder(), 'data.db')
  const before = new DatabaseSync(path)
  before.exec('pragma page_size = 2048; create table t (id integer primary key); insert into t values (1)')
  before.close()
  const storage = opened({ path })
  expect(storage.connection.database.prepare('pragma journal_mode').get()).toEqual({ journal_mode: 'wal' })
  expect(commitOne(storage, 1, (tx) => tx.all('select id from t'))).toEqual([{ id: 1 }])
})

test('setup cannot undo what replication relies on', () => {
  const storage = opened({
    setup: (connection) => {
      if (connection.prepare('pragma query_only').get()?.['query_only'] === 0)
        connection.exec('pragma synchronous = off')
    },
  })
  const pragma = (name: string): unknown =>
    Object.values(storage.connection.database.prepare(`pragma ${name}`).get() ?? {})[0]
  expect([
    pragma('synchronous'),
    pragma('wal_autocheckpoint'),
    pragma('journal_mode'),
    pragma('foreign_keys'),
  ]).toEqual([1, 0, 'wal', 1])
})

test('sessions do not see the position row', () => {
  const storage = opened()
  const session = storage.connection.database.createSession()
  commitOne(storage, 1, () => undefined)
  expect(session.changeset().length).toBe(0)
  session.close()
})

test('a full directory name is kept apart from a file of that name', () => {
  const folder = temporaryFolder()
  mkdirSync(join(folder, 'lock'))
  expect(() => lockDirectory(folder)).toThrow(expect.objectContaining({ isUnderstudyError: true }))
  expect(existsSync(join(folder, 'lock'))).toBe(true)
})

test('a directory that cannot be written is READ_ONLY_DISK', () => {
  const folder = temporaryFolder()
  chmodSync(folder, 0o555)
  const program = fileURLToPath(new URL('programs/try-open.ts', import.meta.url))
  // Permissions do not bind the superuser: such a test runs as nobody.
  const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
  const codes = execFileSync(
    process.execPath,
    ['--conditions=@understudy/source', '--disable-warning=ExperimentalWarning', program, folder],
    { ...user, env: { ...process.env, HOME: folder } },
  )
  chmodSync(folder, 0o755)
  expect(JSON.parse(codes.toString())).toEqual(['READ_ONLY_DISK', 'READ_ONLY_DISK'])
})

test('a database that was closed in order can be measured, checkpointed and copied before its first commit', async () => {
  const path = join(temporaryFolder(), 'data.db')
  const before = openStorage({ path })
  commitOne(before, 1, (tx) => tx.exec('create table t (id integer primary key)'))
  await before.close()
  const storage = opened({ path })
  expect(storage.uncheckpointedBytes).toBeGreaterThanOrEqual(0)
  await using snapshot = await storage.snapshot()
  expect(snapshot.point).toEqual(point(1))
  expect(snapshot.totalBytes).toBeGreaterThan(0)
  expect(await storage.checkpoint()).toEqual(point(1))
})
