import { statSync } from 'node:fs'
import { expect, test } from 'vitest'
import { commitOne, crashed, opened, point } from './helpers.ts'
import {
  apply,
  commitBefore,
  copied,
  expectSameFile,
  fileOf,
  follower,
  leader,
  past,
  pathOf,
} from './physical.ts'

test('what was rolled back is in no commit, whether it was spilled or not', async () => {
  const { storage, write } = leader()
  const copy = await follower(storage)
  past(storage, 'pragma cache_size = 10; pragma cache_spill = 10')
  const spill = (rows: number): void =>
    past(
      storage,
      `with recursive n(i) as (select 1 union all select i + 1 from n
    where i < ${rows}) insert into t (v) select randomblob(3000) from n`,
    )
  const walBytes = (): number => statSync(`${pathOf(storage)}-wal`).size
  const before = walBytes()
  storage.begin()
  spill(200)
  expect(walBytes()).toBeGreaterThan(before + 300_000)
  storage.rollback()
  expect(copied(storage.connection.pages.committed() ?? { pageCount: 0, pages: [] }).pages).toEqual([])
  // A savepoint rolled back after a spill, in a transaction that goes on and spills itself.
  apply(
    copy,
    write((tx) => {
      past(storage, 'savepoint s')
      spill(200)
      past(storage, 'rollback to s; release s')
      for (let count = 0; count < 100; count++) tx.run('insert into t (v) values (randomblob(3000))')
      tx.run('delete from t where id % 2 = 0')
    }),
  )
  await expectSameFile(copy, storage)
})

test('of a page that a transaction wrote several times the last image comes, once, in order', () => {
  const { storage } = leader()
  past(storage, 'pragma cache_size = 5; pragma cache_spill = 5')
  commitBefore(storage, point(1), (tx) => {
    for (let count = 0; count < 300; count++) {
      tx.run('insert into t (v) values (randomblob(3000))')
      tx.run('update t set v = randomblob(2900) where id = 1')
    }
  })
  const pages: number[] = []
  const images = new Map<number, Uint8Array>()
  for (const { page, image } of storage.connection.pages.committed()?.pages ?? []) {
    pages.push(page)
    images.set(page, image.slice())
  }
  expect(pages).toEqual([...new Set(pages)].sort((a, b) => a - b))
  for (const page of pages) expect(storage.connection.pages.read(page)).toEqual(images.get(page))
})

test('images before come from the cache, the log or the file, and never are those after', async () => {
  for (const pageCacheBytes of [0, 8192, 1_000_000]) {
    const { storage, write } = leader({ pageCacheBytes })
    write((tx) => {
      for (let count = 0; count < 40; count++) tx.run('insert into t (v) values (randomblob(3000))')
    })
    await storage.checkpoint()
    const known = new Map<number, Uint8Array>()
    for (let page = 1; page <= storage.connection.pages.pageCount; page++)
      known.set(page, storage.connection.pages.read(page)?.slice() as Uint8Array)
    for (let round = 0; round < 20; round++) {
      const shipped = write((tx) => {
        tx.run('update t set v = randomblob(3000) where id % 4 = ?', [round % 4])
        if (round % 5 === 0) tx.run('insert into t (v) values (randomblob(9000))')
      })
      for (const { page, image, previous } of shipped?.pages ?? []) {
        expect(previous).toEqual(known.get(page))
        known.set(page, image)
      }
    }
  }
})

test('an image before is not taken from the file once a checkpoint may have moved the new one there', async () => {
  const { storage, write } = leader({ pageCacheBytes: 0 })
  write((tx) => tx.run('insert into t (v) values (randomblob(3000))'))
  await storage.checkpoint()
  commitBefore(storage, point(2), (tx) => tx.run('update t set v = 1'))
  await storage.checkpoint()
  const pages = [...(storage.connection.pages.committed()?.pages ?? [])]
  expect(pages.length).toBeGreaterThan(0)
  for (const { previous } of pages) expect(previous).toBeUndefined()
})

test('a walk that was broken off leaves no image of the past behind', () => {
  const { storage, path } = leader()
  const commit = (value: string): void =>
    commitBefore(storage, point(1), (tx) => tx.run('insert into t (v) values (?)', [value.repeat(9000)]))
  const { pages } = storage.connection
  for (const stop of [0, 1, 2]) {
    commit('a')
    const committed = pages.committed()
    let walked = 0
    if (stop > 0)
      for (const page of committed?.pages ?? []) {
        expect(page.page).toBeGreaterThan(0)
        walked++
        if (walked === stop) break
      }
    // What a storage that has cached nothing reads.
    const fresh = opened({ path: crashed(path) }).connection.pages
    commit('b')
    let compared = 0
    for (const { page, previous } of pages.committed()?.pages ?? []) {
      if (page > fresh.pageCount) expect(previous).toBeUndefined()
      else expect(previous).toEqual(fresh.read(page))
      compared++
    }
    expect(compared).toBeGreaterThan(2)
  }
})

test('SQL that was not captured leaves no image of the past behind', async () => {
  const { storage, write } = leader()
  const copy = await follower(storage)
  apply(
    copy,
    write((tx) => tx.run("insert into t (v) values ('a')")),
  )
  const { pages } = copy.connection
  commitBefore(copy, copy.applied, (tx) => tx.run("update t set v = 'b'"))
  copy.begin()
  pages.stage(1, pages.read(1) as Uint8Array)
  copy.commit()
  const fresh = opened({ path: crashed(pathOf(copy)) }).connection.pages
  for (let page = 1; page <= fresh.pageCount; page++) expect(pages.read(page)).toEqual(fresh.read(page))
})

test('the log may begin anew under a commit that is taken at once, and not under two that are not', async () => {
  const { storage, write, path } = leader()
  const copy = await follower(storage)
  apply(
    copy,
    write((tx) => tx.run('insert into t (v) values (1)')),
  )
  await storage.checkpoint()
  apply(
    copy,
    write((tx) => tx.run('insert into t (v) values (2)')),
  )
  await expectSameFile(copy, storage)
  // Taken late, but all of it is still there.
  commitBefore(storage, point(3), (tx) => tx.run('insert into t (v) values (3)'))
  commitBefore(storage, point(3), (tx) => tx.run('insert into t (v) values (4)'))
  apply(copy, copied(storage.connection.pages.committed() ?? { pageCount: 0, pages: [] }))
  await expectSameFile(copy, storage)
  // Not taken, moved to the file, overwritten in the log.
  commitBefore(storage, point(4), (tx) => tx.run('insert into t (v) values (5)'))
  await storage.checkpoint()
  commitBefore(storage, point(4), (tx) => tx.run('insert into t (v) values (6)'))
  expect(storage.connection.pages.committed()).toBeUndefined()
  // From here on it can be told again.
  commitBefore(storage, point(5), (tx) => tx.run('insert into t (v) values (7)'))
  expect(storage.connection.pages.committed()).toBeDefined()
  // A commit that went past the storage counts like any other.
  past(storage, 'insert into t (v) values (8)')
  await storage.checkpoint()
  commitBefore(storage, point(6), (tx) => tx.run('insert into t (v) values (9)'))
  expect(storage.connection.pages.committed()).toBeUndefined()
  expect(statSync(path).size).toBeGreaterThan(0)
})

test('reads of pages do not disturb what is captured', async () => {
  const { storage } = leader()
  commitOne(storage, 5, (tx) => tx.run('insert into t (v) values (randomblob(20000))'))
  const { pages } = storage.connection
  const now = (): (Uint8Array | undefined)[] =>
    Array.from({ length: pages.pageCount }, (_, index) => pages.read(index + 1)?.slice())
  const before = now()
  commitOne(storage, 6, (tx) => tx.run('update t set v = 1'))
  const after = now()
  expect(after).not.toEqual(before)
  await storage.checkpoint()
  expect(now()).toEqual(after)
  for (const { page, image, previous } of pages.committed()?.pages ?? []) {
    expect(image).toEqual(after[page - 1])
    if (previous !== undefined) expect(previous).not.toEqual(image)
  }
  expect(Buffer.compare(await fileOf(storage), Buffer.concat(after as Uint8Array[]))).toBe(0)
  expect(() => opened().connection.pages.committed()).not.toThrow()
})
