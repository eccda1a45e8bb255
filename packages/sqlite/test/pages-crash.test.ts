import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { openStorage } from '../src/index.ts'
import { commitOne, crashed, opened, point, temporaryFolder } from './helpers.ts'
import { apply, commitBefore, copied, expectSameFile, follower, leader, past, pathOf } from './physical.ts'

const PAGE_SIZES = [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536]
const TOUCH =
  'begin; update _understudy_position set touch = 301; update _understudy_position set touch = 300; commit'
const FILL = `with recursive n(i) as (select 1 union all select i + 1 from n where i < 200)
  insert into t (v, pad) select 0, zeroblob(300) from n`

test.each(PAGE_SIZES)(
  'opening a physical database changes no byte of it (pages of %i bytes)',
  async (pageBytes) => {
    const path = join(temporaryFolder(), 'data.db')
    const numbers = [
      0,
      1,
      2,
      127,
      128,
      255,
      256,
      32_767,
      32_768,
      8_388_608,
      2 ** 31,
      2 ** 32 - 1,
      2 ** 47,
      2 ** 53 - 1,
    ]
    for (const [index, lsn] of numbers.entries()) {
      const at = { epoch: numbers[(index * 5) % numbers.length] as number, lsn, crc: (lsn * 7) % 2 ** 32 }
      const storage = openStorage({ path, pageBytes })
      commitBefore(storage, at, (tx) => tx.exec('create table if not exists t (v); insert into t values (1)'))
      await storage.close()
      const before = readFileSync(path)
      const changed = statSync(path, { bigint: true }).mtimeNs
      const again = openStorage({ path })
      expect([again.applied, again.physical, again.ahead]).toEqual([at, true, true])
      // There is a frame, so that the wal-index says what it must.
      expect(again.uncheckpointedBytes).toBe(pageBytes + 24)
      await again.close()
      expect(statSync(path, { bigint: true }).mtimeNs).toBeGreaterThan(changed)
      expect(Buffer.compare(readFileSync(path), before)).toBe(0)
    }
  },
)

test('a position of version 0.1 gets the columns it lacks, and stays what it was', async () => {
  const path = join(temporaryFolder(), 'data.db')
  const old = new DatabaseSync(path)
  old.exec(`create table _understudy_position (epoch integer not null, lsn integer not null, crc integer not null);
    insert into _understudy_position values (3, 1042, 4000000000)`)
  old.close()
  const storage = openStorage({ path })
  const at = { epoch: 3, lsn: 1042, crc: 4_000_000_000 }
  expect([storage.applied, storage.physical, storage.ahead]).toEqual([at, false, false])
  commitOne(storage, 1043, (tx) => tx.exec('create table t (v)'))
  await storage.close()
  const before = readFileSync(path)
  const again = openStorage({ path })
  expect([again.applied, again.physical]).toEqual([point(1043), false])
  await again.close()
  expect(Buffer.compare(readFileSync(path), before)).toBe(0)
})

test('after a crash the pages of the transaction that the log lacks are told again', () => {
  const { storage, write, path } = leader()
  write((tx) => tx.run('insert into t (v) values (randomblob(9000))'))
  commitBefore(storage, point(2), (tx) => tx.run('update t set v = randomblob(8000)'))
  const shipped = copied(storage.connection.pages.committed() ?? { pageCount: 0, pages: [] })
  for (const touches of [0, 2]) {
    for (let count = 0; count < touches; count++) past(storage, TOUCH)
    const survivor = opened({ path: crashed(path) })
    expect([survivor.applied, survivor.physical, survivor.ahead]).toEqual([point(2), true, true])
    for (let round = 0; round < 2; round++) {
      const recovered = survivor.connection.pages.recover()
      expect(recovered?.pageCount).toBe(shipped.pageCount)
      const pages = Array.from(recovered?.pages ?? [], ({ page, image, previous }) => {
        expect(previous).toBeUndefined()
        return [page, image.slice()] as const
      })
      expect(pages).toEqual(shipped.pages.map(({ page, image }) => [page, image]))
    }
    survivor.settle(point(3))
    commitBefore(survivor, point(3), (tx) => tx.run('insert into t (v) values (3)'))
    expect([...(survivor.connection.pages.committed()?.pages ?? [])].length).toBe(2)
  }
})

test('of a transaction that wrote nothing but the position at least its page is told', () => {
  const { storage, write, path } = leader()
  write((tx) => tx.run('insert into t (v) values (1)'))
  commitBefore(storage, point(2), () => {})
  const shipped = copied(storage.connection.pages.committed() ?? { pageCount: 0, pages: [] })
  expect(shipped.pages).toHaveLength(1)
  const survivor = opened({ path: crashed(path) })
  const recovered = copied(survivor.connection.pages.recover() ?? { pageCount: 0, pages: [] })
  expect(recovered.pages).toHaveLength(2)
  expect(recovered.pages).toContainEqual({ ...shipped.pages[0], previous: undefined })
})

test('a log in which no transaction is left tells so', async () => {
  const { storage, path } = leader()
  commitBefore(storage, point(1), (tx) => tx.run('insert into t (v) values (1)'))
  await storage.close()
  const again = opened({ path })
  expect(again.ahead).toBe(true)
  expect(again.connection.pages.recover()).toBeUndefined()
})

test('the log of a database that is ahead does not begin anew at open, though all of it is in the file', async () => {
  const { storage, path } = leader()
  commitBefore(storage, point(1), (tx) => tx.run('insert into t (v) values (1)'))
  const shipped = copied(storage.connection.pages.committed() ?? { pageCount: 0, pages: [] })
  await storage.checkpoint()
  // Another program keeps the wal-index, which says that all is in the file, over the end of the node.
  const other = new DatabaseSync(path, { readOnly: true })
  onTestFinished(() => other.close())
  other.prepare('select * from t').all()
  await storage.close()
  const again = opened({ path })
  expect(again.uncheckpointedBytes).toBe(0)
  const recovered = copied(again.connection.pages.recover() ?? { pageCount: 0, pages: [] })
  expect(recovered.pages.map(({ image }) => image)).toEqual(shipped.pages.map(({ image }) => image))
})

test('whatever part of the log reached the disk, SQLite finds whole transactions', async () => {
  const { storage, write } = leader({ pageBytes: 512 })
  write((tx) => tx.exec(`alter table t add column pad; ${FILL}`))
  const copy = await follower(storage, { stagedBytesMax: 3000 })
  const ends = [statSync(`${pathOf(copy)}-wal`).size]
  for (let version = 1; version <= 6; version++) {
    apply(
      copy,
      write((tx) => tx.run('update t set v = ? where id % 10 = 0 or v = ?', [version, version - 1])),
    )
    ends.push(statSync(`${pathOf(copy)}-wal`).size)
  }
  const total = ends.at(-1) as number
  const cuts = new Set([0, 31, 32])
  for (const end of ends)
    for (const near of [-513, -1, 0, 1, 300]) cuts.add(Math.min(total, Math.max(0, end + near)))
  for (let index = 1; index < 20; index++) cuts.add(Math.floor((total * index) / 20))
  for (const bytes of cuts) {
    const database = new DatabaseSync(crashed(pathOf(copy), bytes))
    // A transaction is there as a whole: the last one that ends before the cut.
    const version = ends.filter((end) => end <= bytes).length - 1
    expect(database.prepare('select distinct v from t order by v').all()).toEqual([
      { v: Math.max(0, version) },
    ])
    expect(database.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' })
    database.close()
  }
})

test('frames that were spilled and not committed are nothing to SQLite', async () => {
  const { storage, write } = leader()
  write((tx) => tx.exec(`alter table t add column pad; ${FILL}`))
  const copy = await follower(storage, { stagedBytesMax: 3000 })
  apply(
    copy,
    write((tx) => tx.run('update t set v = 1')),
  )
  copy.begin()
  for (const { page, image } of write((tx) => tx.run('update t set v = 2'))?.pages ?? [])
    copy.connection.pages.stage(page, image)
  const database = new DatabaseSync(crashed(pathOf(copy)))
  expect(database.prepare('select distinct v from t').all()).toEqual([{ v: 1 }])
  database.close()
  copy.rollback()
})

function program(name: string, ...argv: string[]): ChildProcess {
  const child = spawn(
    process.execPath,
    [
      '--conditions=@understudy/source',
      '--disable-warning=ExperimentalWarning',
      fileURLToPath(new URL(`programs/${name}.ts`, import.meta.url)),
      ...argv,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

test('readers of other processes see whole transactions while pages are applied, and so does whoever comes after a kill', async () => {
  const { storage, write } = leader()
  write((tx) => tx.exec(`alter table t add column pad; ${FILL}`))
  // Values of one size: each version changes the same pages, and only in place.
  const [first, ...versions] = [100, 101, 100].map((v) => write((tx) => tx.run('update t set v = ?', [v])))
  expect(first?.pages.length).toBeGreaterThan(10)
  const copy = await follower(storage)
  const base = pathOf(copy)
  await copy.close()
  const shippedPath = join(temporaryFolder(), 'shipped.json')
  writeFileSync(
    shippedPath,
    JSON.stringify(
      versions.map((shipped) => ({
        pageCount: shipped?.pageCount,
        pages: shipped?.pages.map(({ page, image }) => [page, Buffer.from(image).toString('base64')]),
      })),
    ),
  )
  for (let round = 0; round < 3; round++) {
    const path = join(temporaryFolder(), 'data.db')
    copyFileSync(base, path)
    const applier = program('apply-pages', path, shippedPath)
    await once(applier.stdout as NodeJS.ReadableStream, 'data')
    const reader = program('watch-rows', path, String(2000 + 700 * round))
    const output: Buffer[] = []
    reader.stdout?.on('data', (data: Buffer) => output.push(data))
    await once(reader, 'close')
    applier.kill('SIGKILL')
    await once(applier, 'close')
    const answer = Buffer.concat(output).toString().replace('ready\n', '')
    expect(JSON.parse(answer)).toEqual({ torn: 0, kinds: expect.any(Number), integrity: 'ok' })
    expect((JSON.parse(answer) as { kinds: number }).kinds).toBeGreaterThanOrEqual(2)
    const after = openStorage({ path })
    expect(after.ahead).toBe(true)
    expect((await after.read((tx) => tx.all('select distinct v from t'))).length).toBe(1)
    await after.close()
    const database = new DatabaseSync(path)
    expect(database.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' })
    database.close()
  }
})

test('a reader that stays keeps its view while the log goes on, and the log is cut back when it is gone', async () => {
  const { storage, write } = leader()
  const walBytesRestart = 200_000
  const copy = await follower(storage, { walBytesRestart })
  const wal = (): number => statSync(`${pathOf(copy)}-wal`).size
  const applyMany = async (count: number): Promise<number> => {
    let bytes = 0
    for (let round = 0; round < count; round++) {
      const shipped = write((tx) => tx.run('insert into t (v) values (randomblob(3000))'))
      apply(copy, shipped)
      bytes += (shipped?.pages.length ?? 0) * 4120
      if (round % 5 === 0) await copy.checkpoint()
    }
    return bytes
  }
  expect(await applyMany(150)).toBeGreaterThan(5 * walBytesRestart)
  expect(wal()).toBeLessThan(2.5 * walBytesRestart)
  const other = new DatabaseSync(pathOf(copy), { readOnly: true })
  onTestFinished(() => other.close())
  other.exec('begin')
  const count = other.prepare('select count(*) as n, sum(length(v)) as bytes from t')
  const before = count.get()
  const view = copy.freeze()
  await applyMany(150)
  expect(wal()).toBeGreaterThan(5 * walBytesRestart)
  expect(count.get()).toEqual(before)
  expect(await copy.read((tx) => tx.get('select count(*) as n from t'))).toEqual({ n: 300 })
  other.exec('commit')
  await view.close()
  // Readers that come and go do not keep the log from beginning anew.
  for (let round = 0; round < 12; round++) {
    await applyMany(10)
    await copy.read((tx) => tx.get('select count(*) from t'))
    expect(count.get()).toMatchObject({ n: 300 + 10 * (round + 1) })
  }
  expect(wal()).toBeLessThan(2.5 * walBytesRestart)
  await expectSameFile(copy, storage)
})

test('a directory in which pages were applied can be copied, closed and opened like any other', async () => {
  const { storage, write } = leader()
  const copy = await follower(storage)
  apply(
    copy,
    write((tx) => tx.run('insert into t (v) values (1)')),
  )
  const from = pathOf(copy)
  await copy.close()
  const folder = join(temporaryFolder(), 'moved')
  mkdirSync(folder)
  copyFileSync(from, join(folder, 'data.db'))
  for (const path of [from, join(folder, 'data.db')]) {
    const again = opened({ path })
    expect([again.applied, again.physical, again.ahead]).toEqual([point(1), true, true])
    expect(await again.read((tx) => tx.all('select v from t'))).toEqual([{ v: 1 }])
  }
})
