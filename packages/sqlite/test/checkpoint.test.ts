import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { expect, test, vi } from 'vitest'
import { commitOne, copyElsewhere, opened, point, temporaryFolder } from './helpers.ts'

test('a checkpoint resolves with the position that was committed when it began', async () => {
  const path = join(temporaryFolder(), 'data.db')
  const storage = opened({ path })
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  expect(storage.uncheckpointedBytes).toBeGreaterThan(4096)
  const running = storage.checkpoint()
  commitOne(storage, 2, (tx) => tx.run('insert into t (v) values (1)'))
  expect(await running).toEqual(point(1))
  expect(await storage.checkpoint()).toEqual(point(2))
  expect(storage.uncheckpointedBytes).toBe(0)
  // The database file alone now holds it all.
  const alone = join(temporaryFolder(), 'alone.db')
  copyElsewhere(path, alone)
  const database = new DatabaseSync(alone)
  expect(database.prepare('select lsn from _understudy_position').get()).toEqual({ lsn: 2 })
  database.close()
})

test('calls that come while a checkpoint runs share it', async () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key)'))
  const first = storage.checkpoint()
  commitOne(storage, 2, (tx) => tx.run('insert into t values (1)'))
  // The second one came after commit 2, but says only what the first one, under way, can promise.
  expect(await Promise.all([first, storage.checkpoint()])).toEqual([point(1), point(1)])
  expect(await storage.checkpoint()).toEqual(point(2))
})

test('with a reader in the way the commits are durable all the same, in the log file', async () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  const view = storage.freeze()
  commitOne(storage, 2, (tx) => tx.run('insert into t (v) values (1)'))
  expect(await storage.checkpoint()).toEqual(point(2))
  expect(storage.uncheckpointedBytes).toBeGreaterThan(0)
  await view.close()
  await storage.checkpoint()
  expect(storage.uncheckpointedBytes).toBe(0)
})

test('the log file begins anew under steady writes, and shrinks after a large transaction', async () => {
  const path = join(temporaryFolder(), 'data.db')
  const storage = opened({ path, walBytesRestart: 128 * 1024 })
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  let lsn = 1
  let written = 0
  // Writes go on in every turn of the event loop while checkpoints run: the checkpointing thread never has the last word.
  for (let round = 0; round < 20; round++) {
    const checkpoint = { over: false }
    void storage.checkpoint().finally(() => (checkpoint.over = true))
    do {
      lsn++
      commitOne(storage, lsn, (tx) => tx.run('insert into t (v) values (zeroblob(3000))'))
      written += 3 * 4120
      await new Promise((resolve) => setImmediate(resolve))
    } while (!checkpoint.over)
  }
  expect(written).toBeGreaterThan(512 * 1024)
  expect(statSync(`${path}-wal`).size).toBeLessThan(written / 2)
  expect(await storage.read((tx) => tx.get('select count(*) as n from t'))).toEqual({ n: lsn - 1 })
})

test('a log file that one large transaction grew is cut back', async () => {
  const path = join(temporaryFolder(), 'data.db')
  const storage = opened({ path })
  commitOne(storage, 1, (tx) => {
    tx.exec('create table t (v)')
    tx.run('insert into t values (zeroblob(100000000))')
  })
  expect(statSync(`${path}-wal`).size).toBeGreaterThan(90_000_000)
  await storage.checkpoint()
  commitOne(storage, 2, (tx) => tx.run('insert into t values (1)'))
  expect(statSync(`${path}-wal`).size).toBeLessThanOrEqual(64 * 1024 * 1024)
})

test('close waits for a checkpoint under way, then leaves one whole file', async () => {
  const path = join(temporaryFolder(), 'data.db')
  const storage = opened({ path })
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  const running = storage.checkpoint()
  await storage.close()
  expect(await running).toEqual(point(1))
  expect(statSync(`${path}-wal`, { throwIfNoEntry: false })).toBeUndefined()
  expect(() => storage.begin()).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  await expect(storage.checkpoint()).rejects.toMatchObject({ code: 'CLOSED' })
  await expect(storage.read(() => 1)).rejects.toMatchObject({ code: 'CLOSED' })
  await storage.close()
})

test('a checkpoint that fails stops the storage: what is on disk is unknown from then on', async () => {
  const path = join(temporaryFolder(), 'data.db')
  const storage = opened({ path })
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  expect(await storage.read((tx) => tx.all('select * from t'))).toEqual([])
  renameSync(path, `${path}.away`)
  const failed = { code: 'STORAGE_FAILED' }
  await expect(storage.checkpoint()).rejects.toMatchObject(failed)
  expect(existsSync(path)).toBe(false)
  expect(storage.failure).toMatchObject(failed)
  expect(() => storage.begin()).toThrow(expect.objectContaining(failed))
  await expect(storage.checkpoint()).rejects.toMatchObject(failed)
  // Reads go on: they harm nothing.
  expect(await storage.read((tx) => tx.all('select * from t'))).toEqual([])
})

test('a failed sync of the checkpointing thread stops the storage', async () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  // What the thread answers when SQLite reports SQLITE_IOERR_FSYNC.
  const post = vi.spyOn(Worker.prototype, 'postMessage').mockImplementationOnce(function (this: Worker) {
    this.emit('message', { failure: { message: 'disk I/O error', errcode: 1034 } })
  })
  await expect(storage.checkpoint()).rejects.toMatchObject({
    code: 'STORAGE_FAILED',
    details: { sqliteCode: 1034 },
  })
  post.mockRestore()
  expect(() => storage.begin()).toThrow(expect.objectContaining({ code: 'STORAGE_FAILED' }))
})

test('the build checkpoints as the source does: its thread starts from the compiled file', () => {
  const folder = temporaryFolder()
  const root = fileURLToPath(new URL('..', import.meta.url))
  const built = join(folder, 'node_modules', '@understudy')
  mkdirSync(built, { recursive: true })
  const compiler = fileURLToPath(import.meta.resolve('typescript/package.json')).replace(
    'package.json',
    'bin/tsc',
  )
  execFileSync(
    process.execPath,
    [compiler, '-p', 'tsconfig.build.json', '--outDir', join(folder, 'dist'), '--sourceMap', 'false'],
    {
      cwd: root,
    },
  )
  const program = join(folder, 'program.mjs')
  writeFileSync(
    program,
    `import { openStorage } from './dist/index.js'
     const storage = openStorage({ path: ${JSON.stringify(join(folder, 'data.db'))} })
     storage.begin(); storage.mark({ epoch: 1, lsn: 5, crc: 1 }); storage.commit()
     process.stdout.write(JSON.stringify(await storage.checkpoint()))
     await storage.close()`,
  )
  for (const name of ['contracts', 'sqlite-files']) symlinkSync(join(root, '..', name), join(built, name))
  const output = execFileSync(process.execPath, ['--conditions=@understudy/source', program])
  expect(JSON.parse(output.toString())).toEqual({ epoch: 1, lsn: 5, crc: 1 })
})
