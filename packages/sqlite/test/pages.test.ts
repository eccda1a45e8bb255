import { execFileSync } from 'node:child_process'
import { closeSync, ftruncateSync, openSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import { openStorage } from '../src/index.ts'
import { crashed, elsewhere, opened, point, readImage, recorder, temporaryFolder } from './helpers.ts'
import {
  apply,
  commitBefore,
  copied,
  expectSameFile,
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

test('the page at 1 GiB is passed over, on the leader and on the follower', async () => {
  const pageBytes = 65_536
  const lock = 16_385
  const [path, twin] = ['data.db', 'twin.db'].map((name) => join(temporaryFolder(), name)) as [string, string]
  const database = new DatabaseSync(path)
  database.exec(`pragma page_size = ${pageBytes}; create table t (id integer primary key, v)`)
  database.close()
  // A file with a hole instead of pages that nothing refers to: as large as it must be, and no load for the disk.
  const file = openSync(path, 'r+')
  const count = Buffer.alloc(4)
  count.writeUInt32BE(lock - 3)
  writeSync(file, count, 0, 4, 28)
  ftruncateSync(file, (lock - 3) * pageBytes)
  closeSync(file)
  await openStorage({ path }).close()
  execFileSync('cp', ['--sparse=always', path, twin])
  const { storage, write } = leader({ path })
  const copy = opened({ path: twin })
  const { pages } = copy.connection
  const shipped = write((tx) => tx.run('insert into t (v) values (randomblob(400000))'))
  const numbers = shipped?.pages.map(({ page }) => page) ?? []
  expect(numbers).not.toContain(lock)
  expect(Math.max(...numbers)).toBeGreaterThan(lock + 2)
  // What made the leader physical is not there yet.
  copy.begin()
  for (let page = 1; page <= 6; page++)
    pages.stage(page, storage.connection.pages.read(page)?.slice() as Uint8Array)
  for (const { page, image } of shipped?.pages ?? []) pages.stage(page, image)
  expect(() => pages.stage(lock, new Uint8Array(pageBytes))).toThrow(INVALID)
  copy.commit()
  expect(pages.pageCount).toBe(storage.connection.pages.pageCount)
  const sql = 'select length(v) as n, hex(substr(v, -10)) as tail from t'
  expect(await copy.read((tx) => tx.get(sql))).toEqual(await storage.read((tx) => tx.get(sql)))
  await Promise.all([copy.checkpoint(), storage.checkpoint()])
  expect(copy.uncheckpointedBytes).toBe(0)
  const tail = (from: string): Buffer =>
    execFileSync('tail', ['-c', String(12 * pageBytes), from], { maxBuffer: 1 << 24 })
  expect(statSync(twin).size).toBe(statSync(path).size)
  expect(Buffer.compare(tail(twin), tail(path))).toBe(0)
})
