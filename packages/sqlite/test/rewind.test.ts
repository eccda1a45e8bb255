/** The way back to an older point: whatever changed since, whatever was moved, after a close and after a crash. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openStorage, type SqliteStorage, type StorageOptions } from '../src/index.ts'
import { commitOne, copyElsewhere, elsewhere, point, recorder, temporaryFolder } from './helpers.ts'

interface Choice {
  (max: number): number
}

/** A small generator with a seed (mulberry32): a failure is run again by its seed. */
function choices(seed: number): Choice {
  let state = seed >>> 0
  return (max) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % max
  }
}

function open(path: string, options: Partial<StorageOptions> = {}): SqliteStorage {
  const storage = openStorage({ path, rewindSafe: () => 0, ...options })
  onTestFinished(() => storage.close())
  return storage
}

/** Everything a reader can see. */
async function contentOf(storage: SqliteStorage): Promise<string> {
  return storage.read((tx) => {
    const schema = tx.all('select type, name, sql from sqlite_schema order by type, name')
    const tables = schema.filter(({ type }) => type === 'table')
    return JSON.stringify([
      schema,
      tables.map(({ name }) => tx.all(`select rowid, * from "${String(name)}" order by rowid`)),
    ])
  })
}

async function expectSound(storage: SqliteStorage): Promise<void> {
  expect(await storage.read((tx) => tx.all('pragma integrity_check'))).toEqual([{ integrity_check: 'ok' }])
}

function put(storage: SqliteStorage, lsn: number, rows = 1): void {
  commitOne(storage, lsn, (tx) => {
    tx.exec('create table if not exists t (id integer primary key, v)')
    for (let row = 0; row < rows; row++) tx.run('insert into t (v) values (?)', [`${lsn} ${'x'.repeat(700)}`])
  })
}

test('rows, schema, shrinking and growing are undone in one step, for the writer and for readers that were open', async () => {
  const storage = open(join(temporaryFolder(), 'data.db'))
  put(storage, 1, 200)
  await storage.close()
  const again = open(join(temporaryFolder(), 'other.db'))
  put(again, 1, 200)
  // The point is where the storage was opened.
  expect(again.rewindsTo).toEqual({ epoch: 0, lsn: 0, crc: 0 })
  const before = await contentOf(again)
  commitOne(again, 2, (tx) => tx.exec('drop table t; create table u (a); insert into u values (1)'))
  expect(await contentOf(again)).not.toBe(before)
  expect(again.rewind()).toBe(true)
  expect(again.applied).toEqual({ epoch: 0, lsn: 0, crc: 0 })
  expect(await again.read((tx) => tx.all(`select name from sqlite_schema where name in ('t', 'u')`))).toEqual(
    [],
  )
  // A schema that comes again under the same number is another one.
  commitOne(again, 1, (tx) => tx.exec('create table t (b); insert into t values (9)'))
  expect(await again.read((tx) => tx.all('select * from t'))).toEqual([{ b: 9 }])
  await expectSound(again)
})

test('the point moves on with what is safe, and without it only when it is too far behind', async () => {
  let safe = 0
  const path = join(temporaryFolder(), 'data.db')
  const storage = open(path, { rewindSafe: () => safe, walBytesRestart: 200_000 })
  let lsn = 0
  const grow = async (): Promise<void> => {
    put(storage, ++lsn, 5)
    await storage.checkpoint()
  }
  const walBytes = (): number => storage.uncheckpointedBytes + readFileSync(`${path}-wal`).length
  while (walBytes() < 190_000) await grow()
  expect(storage.rewindsTo?.lsn).toBe(0)
  // The log begins anew, and the older pages are kept in the file.
  while (!existsSync(`${path}-rewind`) || readFileSync(`${path}-rewind`).length < 5000) await grow()
  expect(storage.rewindsTo?.lsn).toBe(0)
  for (let more = 0; more < 3; more++) {
    await grow()
    safe = lsn
  }
  expect(storage.rewindsTo?.lsn).toBeGreaterThan(0)
  // A safe point that stays where it is does not make the log file grow.
  for (let more = 0; more < 200; more++) await grow()
  expect(walBytes()).toBeLessThan(1_000_000)
  expect(readFileSync(`${path}-rewind`).length).toBeLessThan(3_000_000)
})

test('pages stay where they are up to the point, and a checkpoint makes commits durable all the same', async () => {
  const path = join(temporaryFolder(), 'data.db')
  const storage = open(path)
  for (let lsn = 1; lsn <= 5; lsn++) put(storage, lsn, 10)
  expect(storage.uncheckpointedBytes).toBeGreaterThan(0)
  expect(await storage.checkpoint()).toMatchObject({ lsn: 5 })
  expect(storage.uncheckpointedBytes).toBe(0)
})

test('another program that moved the frames takes the way back', async () => {
  const folder = temporaryFolder()
  const path = join(folder, 'data.db')
  const storage = open(path)
  put(storage, 1, 50)
  const crashed = join(folder, 'crashed.db')
  for (const suffix of ['', '-wal', '-rewind']) copyElsewhere(path + suffix, crashed + suffix)
  expect(elsewhere(crashed, 'pragma wal_checkpoint(truncate)')).toMatchObject({ ok: true })
  const after = open(crashed)
  expect(after.applied.lsn).toBe(1)
  expect(after.rewindsTo?.lsn).toBe(1)
})

test('a damaged file is no way back, and a storage without one removes it', async () => {
  const path = join(temporaryFolder(), 'data.db')
  const storage = open(path)
  put(storage, 1, 50)
  await storage.close()
  const bytes = readFileSync(`${path}-rewind`)
  bytes[bytes.length - 100]! ^= 1
  writeFileSync(`${path}-rewind`, bytes)
  const again = open(path)
  expect(again.rewindsTo?.lsn).toBe(1)
  await again.close()
  const without = openStorage({ path })
  await without.close()
  expect(existsSync(`${path}-rewind`)).toBe(false)
})

class Life {
  storage: SqliteStorage
  path: string
  safe = 0
  lsn = 0
  physical: boolean
  readonly contents = new Map<number, string>()
  readonly #next: Choice

  constructor(next: Choice, physical: boolean) {
    this.#next = next
    this.physical = physical
    this.path = join(temporaryFolder(), 'data.db')
    this.storage = this.#open()
  }

  #open(): SqliteStorage {
    return open(this.path, { rewindSafe: () => this.safe, walBytesRestart: 300_000, stagedBytesMax: 60_000 })
  }

  async note(): Promise<void> {
    this.contents.set(this.storage.applied.lsn, await contentOf(this.storage))
  }

  async commit(): Promise<void> {
    const next = this.#next
    const kind = next(12)
    const sql =
      kind === 0
        ? `create table if not exists u${next(3)} (a integer primary key, b)`
        : kind === 1
          ? `drop table if exists u${next(3)}`
          : kind === 2
            ? `delete from t where id % 3 = ${next(3)}`
            : kind === 3
              ? `update t set v = v || 'y' where id % 7 = ${next(7)}`
              : `insert into t (v) values ${Array.from({ length: 1 + next(40) }, () => `(hex(randomblob(${next(900)})))`).join(', ')}`
    this.storage.begin()
    this.storage.write(
      (tx) => tx.exec(`create table if not exists t (id integer primary key, v); ${sql}`),
      recorder(),
      {
        alone: true,
      },
    )
    if (this.physical) this.storage.markBefore(point(this.lsn))
    else this.storage.mark(point(this.lsn + 1))
    this.storage.commit()
    this.lsn++
    if (this.physical) this.storage.settle(point(this.lsn))
    await this.note()
  }

  async reopen(): Promise<void> {
    await this.storage.close()
    this.storage = this.#open()
    if (this.storage.ahead) this.storage.settle(point(this.lsn))
  }

  /** What a crash of the process, or a power loss that took unsynced frames, leaves; in another folder. */
  async crash(): Promise<void> {
    const to = join(temporaryFolder(), 'data.db')
    for (const suffix of ['', '-wal', '-rewind'])
      if (existsSync(this.path + suffix)) copyElsewhere(this.path + suffix, to + suffix)
    await this.storage.close()
    this.path = to
    this.storage = this.#open()
    if (this.storage.ahead) this.storage.settle(point(this.storage.applied.lsn + 1))
    this.lsn = this.storage.applied.lsn
  }

  async rewind(where: string): Promise<void> {
    const to = this.storage.rewindsTo
    if (to === undefined) return
    expect({ where, done: this.storage.rewind() }).toEqual({ where, done: true })
    if (this.storage.ahead) this.storage.settle(to)
    expect({ where, at: this.storage.applied }).toEqual({
      where,
      at: to.lsn === 0 ? this.storage.applied : to,
    })
    this.lsn = this.storage.applied.lsn
    const expected = this.contents.get(this.lsn)
    if (expected !== undefined)
      expect({ where, same: (await contentOf(this.storage)) === expected }).toEqual({ where, same: true })
    await expectSound(this.storage)
  }
}

test.each([false, true])(
  'any order of commits, checkpoints, closes, crashes and ways back (physical: %s)',
  async (physical) => {
    let rewinds = 0
    let moved = 0
    for (let seed = 1; seed <= 12; seed++) {
      const next = choices(seed)
      const life = new Life(next, physical)
      await life.note()
      for (let step = 0; step < 60; step++) {
        const where = `seed ${seed}, step ${step}`
        const action = next(20)
        if (action < 12) await life.commit()
        else if (action < 16) await life.storage.checkpoint()
        else if (action === 16) life.safe = Math.max(0, life.lsn - next(8))
        else if (action === 17) await life.reopen()
        else if (action === 18) await life.crash()
        else {
          await life.rewind(where)
          rewinds++
          if (life.lsn > 0) moved++
        }
      }
      await life.rewind(`seed ${seed}, at the end`)
      await life.storage.close()
    }
    expect(rewinds).toBeGreaterThan(20)
    expect(moved).toBeGreaterThan(5)
  },
  60_000,
)
