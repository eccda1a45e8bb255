import { statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import { commitOne, crashed, elsewhere, opened, point, readImage, recorder } from './helpers.ts'
import {
  apply,
  commitBefore,
  copied,
  expectSameFile,
  fileOf,
  follower,
  integrity,
  leader,
  past,
  pathOf,
} from './physical.ts'

const PAGE_SIZES = [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536]
const INVALID = expect.objectContaining({ code: 'INVALID_ARGUMENT' })
const FOREIGN = expect.objectContaining({ code: 'FOREIGN_WRITE' })

test.each(PAGE_SIZES)(
  'a follower that is given each commit is the leader, byte for byte (pages of %i bytes)',
  async (pageBytes) => {
    const { storage, write } = leader({ pageBytes })
    const copy = await follower(storage)
    expect(copy.connection.pages.pageBytes).toBe(pageBytes)
    for (let round = 0; round < 40; round++) {
      const shipped = write((tx) => {
        tx.run('insert into t (v) values (randomblob(?))', [pageBytes])
        if (round % 7 === 3) tx.run('delete from t where id % 3 = 0')
        if (round === 20) tx.exec('create index i on t (v); create table u (a, b)')
        if (round === 25) tx.exec('drop table u')
      })
      apply(copy, shipped)
      const sql = 'select count(*) as n, max(id) as id from t'
      expect(await copy.read((tx) => tx.get(sql))).toEqual(await storage.read((tx) => tx.get(sql)))
      expect(copy.connection.pages.pageCount).toBe(storage.connection.pages.pageCount)
    }
    await expectSameFile(copy, storage)
  },
)

test.each(['none', 'full', 'incremental'])(
  'a database that shrinks and grows stays the same (auto_vacuum %s)',
  async (vacuum) => {
    const { storage, write } = leader({
      setup: (connection) => connection.exec(`pragma auto_vacuum = ${vacuum}`),
    })
    const copy = await follower(storage)
    const counts = new Set<number>()
    for (let round = 0; round < 6; round++) {
      apply(
        copy,
        write((tx) => {
          for (let count = 0; count < 30; count++) tx.run('insert into t (v) values (randomblob(5000))')
        }),
      )
      counts.add(copy.connection.pages.pageCount)
      apply(
        copy,
        write((tx) => tx.run('delete from t where id % 10 > ?', [round])),
      )
      if (vacuum === 'incremental') past(storage, 'pragma incremental_vacuum(10)')
      if (round === 3) past(storage, 'vacuum')
      apply(
        copy,
        write((tx) => tx.run('update t set v = zeroblob(7000) where id % 10 = 0')),
      )
      counts.add(copy.connection.pages.pageCount)
      await expectSameFile(copy, storage)
    }
    expect(counts.size).toBeGreaterThan(6)
  },
)

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

test('pages and SQL do not share a transaction', () => {
  const { storage, write } = leader()
  write((tx) => tx.run('insert into t (v) values (1)'))
  const { pages } = storage.connection
  const image = new Uint8Array(4096)
  expect(() => pages.stage(2, image)).toThrow(INVALID)
  expect(() => pages.resize(3)).toThrow(INVALID)
  const none = (): void => {
    throw new Error('the callback must not run')
  }
  storage.begin()
  pages.stage(2, pages.read(2) as Uint8Array)
  expect(() => storage.mark(point(9))).toThrow(INVALID)
  expect(() => storage.markBefore(point(9))).toThrow(INVALID)
  expect(() => storage.write(none, { beginWrite: none } as never)).toThrow(INVALID)
  storage.rollback()
  storage.begin()
  storage.markBefore(point(9))
  expect(() => pages.stage(2, image)).toThrow(INVALID)
  storage.rollback()
  storage.begin()
  for (const page of [0, -1, 1.5, Number.NaN, 2 ** 32])
    expect(() => pages.stage(page, image)).toThrow(INVALID)
  expect(() => pages.stage(2, image.subarray(1))).toThrow(INVALID)
  expect(() => pages.stage(262_145, image)).toThrow(INVALID)
  expect(() => pages.read(0)).toThrow(INVALID)
  storage.rollback()
})

test('SQL that comes among staged pages past the storage stops it, and leaves the log as the pages made it', () => {
  const { storage } = leader()
  const { pages } = storage.connection
  storage.begin()
  pages.stage(2, pages.read(2) as Uint8Array)
  past(storage, 'insert into t (v) values (1)')
  expect(() => storage.commit()).toThrow(expect.objectContaining({ code: 'STORAGE_FAILED' }))
  expect(() => storage.begin()).toThrow(expect.objectContaining({ code: 'STORAGE_FAILED' }))
})

test('what is staged is read back, shows to nobody else, and is gone after a rollback', async () => {
  for (const stagedBytesMax of [0, 20_000, 1_000_000]) {
    const { storage, write } = leader()
    write((tx) => tx.run('insert into t (v) values (zeroblob(60000))'))
    const copy = await follower(storage, { stagedBytesMax })
    const { pages } = copy.connection
    const before = Array.from({ length: pages.pageCount }, (_, index) => pages.read(index + 1)?.slice())
    const image = (page: number, round: number): Uint8Array => new Uint8Array(4096).fill(page + 50 * round)
    copy.begin()
    for (let round = 0; round < 3; round++) {
      for (let page = 2; page < 30; page++) pages.stage(page, image(page, round))
      for (let page = 2; page < 30; page++) expect(pages.read(page)).toEqual(image(page, round))
    }
    expect(pages.pageCount).toBe(29)
    expect(pages.read(1)).toEqual(before[0])
    expect(pages.read(30)).toBeUndefined()
    expect(await copy.read((tx) => tx.get('select count(*) as n, sum(length(v)) as bytes from t'))).toEqual({
      n: 1,
      bytes: 60_000,
    })
    copy.rollback()
    expect(pages.pageCount).toBe(before.length)
    expect(Array.from({ length: pages.pageCount }, (_, index) => pages.read(index + 1)?.slice())).toEqual(
      before,
    )
    apply(
      copy,
      write((tx) => tx.run('insert into t (v) values (randomblob(90000))')),
    )
    await expectSameFile(copy, storage)
  }
})

test('a transaction that was spilled is applied whole, over several blocks of the wal-index', async () => {
  for (const stagedBytesMax of [0, 50_000]) {
    const { storage, write } = leader({ pageBytes: 512 })
    const copy = await follower(storage, { stagedBytesMax })
    const other = new DatabaseSync(pathOf(copy), { readOnly: true })
    onTestFinished(() => other.close())
    other.exec('begin; select * from t')
    apply(
      copy,
      write((tx) => tx.run('insert into t (v) values (randomblob(3000000))')),
    )
    apply(
      copy,
      write((tx) => tx.run('update t set v = randomblob(2000000)')),
    )
    expect(other.prepare('select count(*) as n from t').get()).toEqual({ n: 0 })
    other.exec('commit')
    // In twos, for systems whose memory pages are as large as two blocks.
    expect(statSync(`${pathOf(copy)}-shm`).size % 65_536).toBe(0)
    expect(other.prepare('select length(v) as n from t').get()).toEqual({ n: 2_000_000 })
    expect(elsewhere(pathOf(copy), 'pragma integrity_check')).toEqual({ ok: true })
    await expectSameFile(copy, storage)
  }
})

test('only a change of the page count, or only pages that were spilled, is a commit as well', async () => {
  const { storage, write } = leader()
  write((tx) => tx.run('insert into t (v) values (zeroblob(50000))'))
  const copy = await follower(storage, { stagedBytesMax: 1 })
  const { pages } = copy.connection
  const image = new Uint8Array(4096).fill(7)
  const count = pages.pageCount
  // SQLite believes in a database that is larger than page 1 says.
  copy.begin()
  for (let page = count + 1; page <= count + 4; page++) pages.stage(page, image)
  copy.commit()
  expect(pages.pageCount).toBe(count + 4)
  copy.begin()
  pages.resize(count + 2)
  copy.commit()
  expect(pages.pageCount).toBe(count + 2)
  expect(pages.read(count + 3)).toBeUndefined()
  copy.begin()
  pages.stage(count + 2, image)
  pages.stage(count + 3, image)
  pages.resize(count + 1)
  copy.commit()
  expect(pages.pageCount).toBe(count + 1)
  copy.begin()
  pages.resize(count + 3)
  pages.stage(count + 3, image)
  // Page count + 2 is missing: what it holds would be left to chance.
  expect(() => copy.commit()).toThrow(INVALID)
  pages.stage(count + 2, image)
  copy.commit()
  expect(pages.read(count + 2)).toEqual(image)
  copy.begin()
  copy.commit()
  // What SQLite cannot read stops the storage.
  copy.begin()
  pages.stage(1, image)
  expect(() => copy.commit()).toThrow(expect.objectContaining({ code: 'STORAGE_FAILED' }))
})

test('the position inside the pages is the one before, until it is settled', async () => {
  const { storage, write } = leader()
  const copy = await follower(storage)
  const shipped = write((tx) => tx.run('insert into t (v) values (1)'))
  expect([storage.applied, storage.ahead]).toEqual([point(2), false])
  expect([copy.applied, copy.physical, copy.ahead]).toEqual([point(1), true, false])
  const { pages } = copy.connection
  copy.begin()
  for (const { page, image } of shipped?.pages ?? []) pages.stage(page, image)
  copy.commit()
  expect([copy.applied, copy.physical, copy.ahead]).toEqual([point(1), true, true])
  expect(await copy.checkpoint()).toEqual(point(1))
  copy.settle(point(2))
  expect([copy.applied, copy.physical, copy.ahead]).toEqual([point(2), true, false])
})

test('a schema that arrives in pages is known to the writer: cached statements, triggers, deferred keys', async () => {
  const { storage, write } = leader()
  const copy = await follower(storage)
  const seen: string[][] = []
  copy.connection.observe({
    before: ({ writes }) => void seen.push([...writes].sort()),
    after: () => {},
  })
  const insert = (): void => {
    copy.begin()
    copy.write((tx) => tx.run('insert into t (v) values (1)'), recorder(), { alone: true })
    copy.rollback()
  }
  insert()
  apply(
    copy,
    write((tx) =>
      tx.exec(
        'create table log (v); create trigger g after insert on t begin insert into log values (new.v); end',
      ),
    ),
  )
  insert()
  apply(
    copy,
    write((tx) => tx.exec('drop trigger g; alter table t add column w')),
  )
  insert()
  expect(seen).toEqual([['t'], ['log', 't'], ['t']])
  // Promotion: SQL on the same connection, seen by everybody, and captured.
  commitBefore(copy, copy.applied, (tx) => tx.run('insert into t (v, w) values (5, 6)'))
  expect(copied(copy.connection.pages.committed() ?? { pageCount: 0, pages: [] }).pages.length).toBe(2)
  expect(await copy.read((tx) => tx.all('select v, w from t'))).toEqual([{ v: 5, w: 6 }])
  expect(elsewhere(pathOf(copy), 'select w from t; pragma integrity_check')).toEqual({ ok: true })
  expect(integrity(copy)).toBe('ok')
})

test('SQL and pages by turns: each goes on from the log as the other left it', async () => {
  const first = leader()
  const second = await follower(first.storage)
  let [from, to] = [first.storage, second]
  let lsn = from.applied.lsn
  for (let turn = 0; turn < 6; turn++) {
    for (let round = 0; round < 5; round++) {
      commitBefore(from, point(lsn), (tx) => tx.run('insert into t (v) values (randomblob(3000))'))
      const shipped = copied(from.connection.pages.committed() ?? { pageCount: 0, pages: [] })
      lsn++
      from.settle(point(lsn))
      apply(to, shipped)
      expect(to.applied).toEqual(point(lsn))
    }
    if (turn % 2 === 0) await expectSameFile(to, from)
    ;[from, to] = [to, from]
  }
  await expectSameFile(to, from)
})

test('a log that began anew by a transaction that was rolled back takes pages all the same', async () => {
  const { storage, write } = leader()
  const copy = await follower(storage)
  apply(
    copy,
    write((tx) => tx.run('insert into t (v) values (1)')),
  )
  await copy.checkpoint()
  past(copy, 'pragma cache_size = 5; pragma cache_spill = 5')
  copy.begin()
  past(
    copy,
    `with recursive n(i) as (select 1 union all select i + 1 from n where i < 100)
    insert into t (v) select randomblob(3000) from n`,
  )
  copy.rollback()
  apply(
    copy,
    write((tx) => tx.run('insert into t (v) values (2)')),
  )
  expect(await copy.read((tx) => tx.all('select v from t'))).toEqual([{ v: 1 }, { v: 2 }])
  // The frames are right to whoever looks at the log alone, too.
  const survivor = opened({ path: crashed(pathOf(copy)) })
  expect(await survivor.read((tx) => tx.all('select v from t'))).toEqual([{ v: 1 }, { v: 2 }])
  expect(elsewhere(pathOf(copy), 'pragma integrity_check')).toEqual({ ok: true })
  await expectSameFile(copy, storage)
})

test('a foreign write after pages is noticed, and our own pages never are one', async () => {
  const { storage, write } = leader()
  const copy = await follower(storage)
  for (let round = 0; round < 3; round++)
    apply(
      copy,
      write((tx) => tx.run('insert into t (v) values (1)')),
    )
  copy.begin()
  copy.rollback()
  copy.begin()
  copy.rollback()
  expect(elsewhere(pathOf(copy), 'insert into t (v) values (2)')).toEqual({ ok: true })
  expect(() => copy.begin()).toThrow(FOREIGN)
  expect(() => copy.begin()).toThrow(FOREIGN)
})

test('a snapshot of a physical storage waits while it is ahead, and is of the settled position', async () => {
  const { storage, write } = leader()
  write((tx) => tx.run('insert into t (v) values (1)'))
  const view = storage.freeze()
  expect(view.point).toEqual(point(2))
  await view.close()
  commitBefore(storage, point(2), (tx) => tx.run('insert into t (v) values (2)'))
  const waiting = storage.snapshot()
  // Under steady writes it is never settled for longer than a moment.
  storage.settle(point(3))
  commitBefore(storage, point(3), (tx) => tx.run('insert into t (v) values (3)'))
  const snapshot = await waiting
  expect(snapshot.point).toEqual(point(3))
  const image = await readImage(snapshot)
  await snapshot.close()
  storage.settle(point(4))
  const copy = await follower(storage)
  expect(copy.applied).toEqual(point(4))
  expect(image.length).toBe(storage.connection.pages.pageCount * 4096)
  commitBefore(storage, point(4), (tx) => tx.run('insert into t (v) values (4)'))
  const never = storage.snapshot()
  await storage.close()
  await expect(never).rejects.toMatchObject({ code: 'CLOSED' })
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
