/**
 * Closing any descriptor of the database or -shm file drops SQLite's locks in the whole process. While we hold the write
 * lock, another process must not get it, whatever we have read and closed meanwhile.
 */
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { commitOne, elsewhere, opened, readImage, temporaryFolder } from './helpers.ts'

const SQLITE_BUSY = 5
const SCHEMA = 'create table t (id integer primary key, v)'

test('snapshots, views, reads, checkpoints and looks at the files keep every lock', async () => {
  const path = join(temporaryFolder(), 'data.db')
  const storage = opened({ path })
  commitOne(storage, 1, (tx) => tx.exec(SCHEMA))
  for (let round = 0; round < 3; round++) {
    storage.begin()
    const snapshot = await storage.snapshot()
    await readImage(snapshot)
    await snapshot.close()
    const view = storage.freeze()
    await view.digest()
    await view.close()
    await Promise.all([1, 2, 3, 4].map(() => storage.read((tx) => tx.all('select * from t'))))
    await storage.checkpoint()
    expect(storage.uncheckpointedBytes).toBeGreaterThanOrEqual(0)
    expect(elsewhere(path, 'begin immediate')).toEqual({ ok: false, errcode: SQLITE_BUSY })
    storage.rollback()
    expect(elsewhere(path, 'begin immediate; rollback')).toEqual({ ok: true })
  }
})

test('the test above would notice: one descriptor opened and closed lets the other process in', () => {
  const path = join(temporaryFolder(), 'data.db')
  const storage = opened({ path })
  commitOne(storage, 1, (tx) => tx.exec(SCHEMA))
  storage.begin()
  expect(elsewhere(path, 'begin immediate')).toEqual({ ok: false, errcode: SQLITE_BUSY })
  closeSync(openSync(`${path}-shm`, 'r'))
  expect(elsewhere(path, 'begin immediate; rollback')).toEqual({ ok: true })
  storage.rollback()
})

test('the log file alone carries no locks', () => {
  const path = join(temporaryFolder(), 'data.db')
  const storage = opened({ path })
  commitOne(storage, 1, (tx) => tx.exec(SCHEMA))
  storage.begin()
  closeSync(openSync(`${path}-wal`, 'r'))
  expect(elsewhere(path, 'begin immediate')).toEqual({ ok: false, errcode: SQLITE_BUSY })
  storage.rollback()
})
