import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import type { LogPoint } from '@understudy/contracts'
import type { SqliteStorage } from '../src/index.ts'
import { commitOne, opened, readImage, temporaryFolder } from './helpers.ts'

const SCHEMA = 'create table t (id integer primary key, lsn integer, v blob); create index by_lsn on t (lsn)'

/** Each commit overwrites rows and adds some, and says in every row it touches which one it was. */
function churn(storage: SqliteStorage, lsn: number): void {
  commitOne(storage, lsn, (tx) => {
    if (lsn === 1) tx.exec(SCHEMA)
    tx.run('update t set lsn = ?, v = randomblob(900) where id % 37 = ?', [lsn, lsn % 37])
    tx.run('insert into t (lsn, v) values (?, randomblob(700)), (?, zeroblob(300))', [lsn, lsn])
  })
}

/** What the content says of itself: the highest LSN in it, and how many rows. */
function check(image: Uint8Array, at: LogPoint): void {
  const path = join(temporaryFolder(), 'image.db')
  writeFileSync(path, image)
  const database = new DatabaseSync(path)
  try {
    expect(database.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' })
    expect(database.prepare('select epoch, lsn, crc from _understudy_position').get()).toEqual({ ...at })
    expect(database.prepare('select max(lsn) as lsn, count(*) as n from t').get()).toEqual({
      lsn: at.lsn,
      n: 2 * at.lsn,
    })
  } finally {
    database.close()
  }
}

test.each([512, 1024, 4096, 16_384, 65_536])(
  'an image taken while writes and checkpoints go on is whole and as of its position (pages of %i bytes)',
  async (pageBytes) => {
    const storage = opened({ pageBytes, walBytesRestart: 64 * 1024 })
    for (let lsn = 1; lsn <= 150; lsn++) churn(storage, lsn)
    let lsn = 150
    for (let round = 0; round < 6; round++) {
      // Some rounds begin with everything in the log, some with a part of it moved, some with all of it.
      if (round % 3 === 1) await storage.checkpoint()
      if (round % 3 === 2) {
        const view = storage.freeze()
        churn(storage, ++lsn)
        await storage.checkpoint()
        await view.close()
      }
      const snapshot = await storage.snapshot()
      expect(snapshot.point.lsn).toBe(lsn)
      expect(snapshot.pageBytes).toBe(pageBytes)
      const image = new Uint8Array(snapshot.totalBytes)
      const pieceBytes = Math.ceil(snapshot.totalBytes / pageBytes / 10) * pageBytes
      for (let offset = 0; offset < image.length; offset += pieceBytes) {
        const reading = snapshot.read(image.subarray(offset, offset + pieceBytes), offset)
        churn(storage, ++lsn)
        void storage.checkpoint()
        await reading
        churn(storage, ++lsn)
      }
      check(image, snapshot.point)
      await snapshot.close()
      await storage.checkpoint()
    }
  },
)

test('an image whose log was all moved stays right when the log begins anew beside it', async () => {
  const storage = opened()
  for (let lsn = 1; lsn <= 40; lsn++) churn(storage, lsn)
  await storage.checkpoint()
  expect(storage.uncheckpointedBytes).toBe(0)
  const snapshot = await storage.snapshot()
  // The reader of the snapshot does not pin the log: these overwrite its frames.
  for (let lsn = 41; lsn <= 60; lsn++) churn(storage, lsn)
  check(await readImage(snapshot), snapshot.point)
  await snapshot.close()
})

test('an image is the same however it is read, and a database that shrank gives a smaller one', async () => {
  const storage = opened({ pageBytes: 1024 })
  for (let lsn = 1; lsn <= 60; lsn++) churn(storage, lsn)
  const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
  const snapshot = await storage.snapshot()
  const digests = await Promise.all(
    [1024, 7 * 1024, 1024 * 1024].map(async (piece) => digest(await readImage(snapshot, piece))),
  )
  expect(new Set(digests).size).toBe(1)
  await snapshot.close()
  const { totalBytes } = snapshot
  storage.connection.internal(() => {
    storage.connection.database.exec('delete from t where id > 20')
    storage.connection.database.limits.attach = 1
    storage.connection.database.exec('vacuum')
  })
  const smaller = await storage.snapshot()
  expect(smaller.totalBytes).toBeLessThan(totalBytes / 2)
  const image = await readImage(smaller)
  await smaller.close()
  const path = join(temporaryFolder(), 'image.db')
  writeFileSync(path, image)
  const database = new DatabaseSync(path)
  expect(database.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' })
  expect(database.prepare('select count(*) as n from t').get()).toEqual({ n: 20 })
  database.close()
})

test('an open snapshot holds checkpoints back, commits become durable all the same', async () => {
  const storage = opened()
  for (let lsn = 1; lsn <= 5; lsn++) churn(storage, lsn)
  const snapshot = await storage.snapshot()
  churn(storage, 6)
  const held = storage.uncheckpointedBytes
  expect(await storage.checkpoint()).toMatchObject({ lsn: 6 })
  expect(storage.uncheckpointedBytes).toBe(held)
  await snapshot.close()
  await storage.checkpoint()
  expect(storage.uncheckpointedBytes).toBe(0)
})

test('a snapshot that holds back more than its cap ends, and the next checkpoint moves everything', async () => {
  const storage = opened()
  for (let lsn = 1; lsn <= 5; lsn++) churn(storage, lsn)
  await storage.checkpoint()
  const first = await storage.snapshot({ heldBytesMax: 100_000 })
  const second = await storage.snapshot({ heldBytesMax: 100_000 })
  const target = new Uint8Array(first.pageBytes)
  expect(await first.read(target, 0)).toBe(target.length)
  for (let lsn = 6; lsn <= 40; lsn++) churn(storage, lsn)
  const ended = { code: 'SNAPSHOT_ENDED', position: { lsn: 5 } }
  await expect(first.read(target, 0)).rejects.toMatchObject(ended)
  // Nobody reads the other one: the checkpoint ends it.
  await storage.checkpoint()
  expect(storage.uncheckpointedBytes).toBe(0)
  await expect(second.read(target, 0)).rejects.toMatchObject(ended)
  await first.close()
  await second.close()
  await expect(first.read(target, 0)).rejects.toMatchObject({ code: 'CLOSED' })
})

test('reads must be whole pages; past the end nothing comes', async () => {
  const storage = opened()
  churn(storage, 1)
  await using snapshot = await storage.snapshot()
  const invalid = { code: 'INVALID_ARGUMENT' }
  await expect(snapshot.read(new Uint8Array(100), 0)).rejects.toMatchObject(invalid)
  await expect(snapshot.read(new Uint8Array(4096), 100)).rejects.toMatchObject(invalid)
  await expect(snapshot.read(new Uint8Array(4096), -4096)).rejects.toMatchObject(invalid)
  expect(await snapshot.read(new Uint8Array(4096), snapshot.totalBytes)).toBe(0)
  expect(await snapshot.read(new Uint8Array(8192), snapshot.totalBytes - 4096)).toBe(4096)
})

test('close of the storage ends snapshots, reads under way included', async () => {
  const storage = opened()
  for (let lsn = 1; lsn <= 20; lsn++) churn(storage, lsn)
  const snapshot = await storage.snapshot()
  const reading = readImage(snapshot, 4096).catch((error: unknown) => error)
  await storage.close()
  expect(await reading).toMatchObject({ code: 'CLOSED' })
})
