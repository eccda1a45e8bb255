import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, copyFileSync, openSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import type { SqliteStorage } from '../src/index.ts'
import { copyElsewhere, elsewhere, opened, point, temporaryFolder } from './helpers.ts'
import { apply, commitBefore, copied, expectSameFile, follower, pathOf, type Shipped } from './physical.ts'

interface Sidecar {
  readonly storage: SqliteStorage
  readonly path: string
  /** What everybody has committed since the last call, with a transaction of our own. */
  readonly take: () => Shipped | undefined
}

/** A storage beside another program, whose state its first take has told as a base. */
function sidecar(walBytesRestart?: number): Sidecar {
  const path = join(temporaryFolder(), 'data.db')
  expect(elsewhere(path, 'pragma journal_mode = wal; create table t (id integer primary key, v)')).toEqual({
    ok: true,
  })
  const storage = opened({
    path,
    shared: true,
    ...(walBytesRestart === undefined ? {} : { walBytesRestart }),
  })
  const take = (): Shipped | undefined => {
    commitBefore(storage, storage.applied, () => {})
    const committed = storage.connection.pages.committed()
    const shipped = committed === undefined ? undefined : copied(committed)
    storage.settle(point(storage.applied.lsn + 1))
    return shipped
  }
  // What happened before nobody knows.
  expect(take()).toBeUndefined()
  expect(storage.foreignChange()).toBe(false)
  return { storage, path, take }
}

test('what another program commits is taken together with our next transaction', async () => {
  const { storage, path, take } = sidecar()
  const copy = await follower(storage)
  expect(elsewhere(path, 'insert into t (v) values (1)')).toEqual({ ok: true })
  expect(storage.foreignChange()).toBe(true)
  expect(elsewhere(path, 'create table u (a); insert into u values (randomblob(20000))')).toEqual({
    ok: true,
  })
  apply(copy, take())
  expect(storage.foreignChange()).toBe(false)
  await expectSameFile(copy, storage)
  expect(await copy.read((tx) => tx.all('select count(*) as n from u'))).toEqual([{ n: 1 }])
  // Tables of the other program are known to the writer.
  commitBefore(storage, storage.applied, (tx) => tx.run('insert into u values (2)'))
  apply(copy, copied(storage.connection.pages.committed() ?? { pageCount: 0, pages: [] }))
  expect(await copy.read((tx) => tx.all('select count(*) as n from u'))).toEqual([{ n: 2 }])
})

test('the other program cannot make the log begin anew before its commits were taken', async () => {
  const { storage, path, take } = sidecar()
  const copy = await follower(storage)
  for (let round = 0; round < 5; round++) {
    for (const sql of [
      'insert into t (v) values (randomblob(9000))',
      'pragma wal_checkpoint(truncate)',
      'insert into t (v) values (randomblob(9000))',
      'pragma wal_checkpoint(restart); vacuum',
      'update t set v = 1 where id % 2 = 0',
    ])
      expect(elsewhere(path, sql)).toEqual({ ok: true })
    apply(copy, take())
    await expectSameFile(copy, storage)
  }
})

test('a program that writes all the time, checkpoints, vacuums and comes and goes is followed to the byte', async () => {
  const { storage, path, take } = sidecar(60_000)
  const copy = await follower(storage)
  const program = fileURLToPath(new URL('programs/foreign-writer.ts', import.meta.url))
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, path, '300'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const ended = once(child, 'close')
  let taken = 0
  let bytes = 0
  while (child.exitCode === null || storage.foreignChange()) {
    if (storage.foreignChange()) {
      const shipped = take()
      bytes += (shipped?.pages.length ?? 0) * 4120
      apply(copy, shipped)
      taken++
      if (taken % 4 === 0) await storage.checkpoint()
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(await ended).toEqual([0, null])
  // How often it is looked at in between is the machine's to say; more than once it must have been.
  expect(taken).toBeGreaterThan(1)
  expect(bytes).toBeGreaterThan(1_000_000)
  expect(await copy.read((tx) => tx.all('select n from done'))).toEqual([{ n: 300 }])
  await expectSameFile(copy, storage)
  // With nobody writing the log begins anew, at the latest now.
  take()
  await storage.checkpoint()
  take()
  expect(statSync(`${path}-wal`).size).toBeLessThan(bytes)
}, 30_000)

test('a log that began anew behind our back is told, and taken from the next one on', async () => {
  const { storage, path, take } = sidecar()
  expect(elsewhere(path, 'insert into t (v) values (1)')).toEqual({ ok: true })
  // Drops every lock of this process, the pin among them.
  closeSync(openSync(`${path}-shm`, 'r'))
  for (const sql of [
    'pragma wal_checkpoint(truncate)',
    'insert into t (v) values (2)',
    'insert into t (v) values (3)',
  ])
    expect(elsewhere(path, sql)).toEqual({ ok: true })
  expect(storage.foreignChange()).toBe(true)
  expect(take()).toBeUndefined()
  const copy = await follower(storage)
  expect(elsewhere(path, 'insert into t (v) values (4)')).toEqual({ ok: true })
  apply(copy, take())
  await expectSameFile(copy, storage)
})

test.each(['after', 'before'])(
  'our own checkpoint lets the log begin anew without losing a frame (the other program writes %s it)',
  async (when) => {
    const { storage, path, take } = sidecar(20_000)
    const copy = await follower(storage)
    const other = new DatabaseSync(path)
    onTestFinished(() => other.close())
    other.exec('pragma wal_autocheckpoint = 0')
    const write = (): void => other.exec('insert into t (v) values (randomblob(3000))')
    const sizes: number[] = []
    for (let round = 0; round < 60; round++) {
      write()
      apply(copy, take())
      if (when === 'before') write()
      await storage.checkpoint()
      if (when === 'after') write()
      sizes.push(statSync(`${path}-wal`).size)
    }
    apply(copy, take())
    // Sixty rounds are 600,000 bytes.
    expect(Math.max(...sizes)).toBeLessThan(100_000)
    await expectSameFile(copy, storage)
  },
)

test('a snapshot waits until what the other program committed is taken, so that it is as of its position', async () => {
  const { storage, path, take } = sidecar()
  expect(elsewhere(path, 'insert into t (v) values (1)')).toEqual({ ok: true })
  const waiting = follower(storage)
  const shipped = take()
  const copy = await waiting
  expect(copy.applied).toEqual(storage.applied)
  expect(shipped?.pages.length).toBeGreaterThan(0)
  await expectSameFile(copy, storage)
})

test('a lock that the other program holds for long is a timeout, and then all goes on', () => {
  const path = join(temporaryFolder(), 'data.db')
  const storage = opened({ path, shared: true, busyTimeoutMs: 0 })
  const other = new DatabaseSync(path)
  onTestFinished(() => other.close())
  other.exec('begin immediate')
  expect(() => storage.begin()).toThrow(expect.objectContaining({ code: 'TIMEOUT' }))
  other.exec('create table t (v); commit')
  commitBefore(storage, point(1), (tx) => tx.run('insert into t values (1)'))
})

test.each(['', '-wal'])('a replaced %s file stops the storage', (suffix) => {
  const { storage, path } = sidecar()
  copyElsewhere(path + suffix, `${path}.new`)
  renameSync(`${path}.new`, path + suffix)
  const failed = expect.objectContaining({ code: 'STORAGE_FAILED' })
  expect(() => storage.foreignChange()).toThrow(failed)
  expect(() => storage.begin()).toThrow(failed)
  expect(storage.failure).toMatchObject({ code: 'STORAGE_FAILED' })
})

test('a shared database takes no pages, recovers nothing and judges no change while it was closed', async () => {
  const { storage, path } = sidecar()
  storage.begin()
  expect(() => storage.connection.pages.stage(1, new Uint8Array(4096))).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
  )
  storage.rollback()
  expect(storage.connection.pages.recover()).toBeUndefined()
  await storage.close()
  expect(elsewhere(path, 'insert into t (v) values (9)')).toEqual({ ok: true })
  const again = opened({ path, shared: true })
  expect(pathOf(again)).toContain('data.db')
  expect(again.ahead).toBe(true)
  const alone = opened()
  expect(alone.foreignChange()).toBe(false)
  copyFileSync(path, `${path}.copy`)
  rmSync(`${path}.copy`)
})
