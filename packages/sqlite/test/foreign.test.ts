import { copyFileSync, existsSync, renameSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { openStorage } from '../src/index.ts'
import { commitOne, copyElsewhere, elsewhere, opened, point, temporaryFolder } from './helpers.ts'

const FOREIGN = expect.objectContaining({ code: 'FOREIGN_WRITE' })

test('a write of another process is noticed before the next group, and at each one after', () => {
  const path = join(temporaryFolder(), 'data.db')
  const storage = opened({ path })
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key)'))
  expect(elsewhere(path, 'insert into t values (1)')).toEqual({ ok: true })
  expect(() => storage.begin()).toThrow(FOREIGN)
  expect(() => storage.begin()).toThrow(FOREIGN)
  expect(storage.connection.database.isTransaction).toBe(false)
  expect(storage.applied).toEqual(point(1))
})

test('a write of another connection of this process is noticed too', () => {
  const path = join(temporaryFolder(), 'data.db')
  const storage = opened({ path })
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key)'))
  const other = new DatabaseSync(path)
  other.exec('insert into t values (1)')
  other.close()
  expect(() => storage.begin()).toThrow(FOREIGN)
})

test('a lock that another program holds is reported, and the group can begin once it is gone', () => {
  const path = join(temporaryFolder(), 'data.db')
  const storage = opened({ path, busyTimeoutMs: 0 })
  const other = new DatabaseSync(path)
  other.exec('begin immediate')
  expect(() => storage.begin()).toThrow(FOREIGN)
  other.exec('rollback')
  other.close()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key)'))
})

test('our own readers, checkpoints, snapshots and restarts of the log raise no alarm', async () => {
  const storage = opened({ walBytesRestart: 1 })
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  for (let lsn = 2; lsn < 12; lsn++) {
    commitOne(storage, lsn, (tx) => tx.run('insert into t (v) values (zeroblob(9000))'))
    await storage.read((tx) => tx.all('select count(*) from t'))
    await storage.checkpoint()
    await (await storage.snapshot()).close()
    await storage.freeze().close()
  }
  expect(storage.applied).toEqual(point(11))
})

test('a write while the node was down is noticed at open, until the file is put back', async () => {
  const folder = temporaryFolder()
  const path = join(folder, 'data.db')
  const storage = openStorage({ path })
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key)'))
  await storage.close()
  expect(existsSync(`${path}-wal`)).toBe(false)
  copyFileSync(path, join(folder, 'copy.db'))
  expect(elsewhere(path, 'insert into t values (1)')).toEqual({ ok: true })
  expect(() => openStorage({ path })).toThrow(FOREIGN)
  expect(() => openStorage({ path })).toThrow(FOREIGN)
  renameSync(join(folder, 'copy.db'), path)
  const again = openStorage({ path })
  expect(again.applied).toEqual(point(1))
  await again.close()
})

test('readers while the node was down, a copied directory and a torn note raise no alarm', async () => {
  const folder = temporaryFolder()
  const path = join(folder, 'data.db')
  const storage = openStorage({ path })
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key)'))
  await storage.close()
  expect(elsewhere(path, 'select * from t; pragma integrity_check')).toEqual({ ok: true })
  await openStorage({ path }).close()
  const copy = join(folder, 'copy.db')
  copyFileSync(path, copy)
  copyFileSync(`${path}.closed`, `${copy}.closed`)
  utimesSync(copy, new Date(1), new Date(1))
  await openStorage({ path: copy }).close()
  writeFileSync(`${path}.closed`, '{"version":1,"ino')
  await openStorage({ path }).close()
})

test('what an unclean end left is no foreign write', async () => {
  const path = join(temporaryFolder(), 'data.db')
  await openStorage({ path }).close()
  expect(existsSync(`${path}.closed`)).toBe(true)
  const crashed = opened({ path })
  commitOne(crashed, 1, (tx) => tx.exec('create table t (id integer primary key)'))
  expect(existsSync(`${path}.closed`)).toBe(false)
  const folder = temporaryFolder()
  for (const suffix of ['', '-wal']) copyElsewhere(path + suffix, join(folder, `data.db${suffix}`))
  const storage = opened({ path: join(folder, 'data.db') })
  expect(storage.applied).toEqual(point(1))
})
