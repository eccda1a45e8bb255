/**
 * A leader and two followers under random work: every image before that is told must be the follower's own, every file the
 * leader's to the byte. UNDERSTUDY_SEED replays one run, UNDERSTUDY_RUNS asks for more.
 */
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { SeededRandom } from '@understudy/testkit'
import type { SqliteStorage } from '../src/index.ts'
import { crashed, opened, point } from './helpers.ts'
import { apply, commitBefore, copied, expectSameFile, follower, leader, past, pathOf } from './physical.ts'

const SEED = Number(process.env['UNDERSTUDY_SEED'] ?? 1)
const RUNS = Number(process.env['UNDERSTUDY_RUNS'] ?? 6)
const STEPS = 60

for (let seed = SEED; seed < SEED + RUNS; seed++)
  test(`random work ends in equal files (seed ${seed})`, async () => {
    const random = new SeededRandom(seed)
    const below = (limit: number): number => random.below(limit)
    const pick = <T>(...values: T[]): T => random.pick(values)
    const options = {
      pageBytes: pick(512, 1024, 4096, 65_536),
      walBytesRestart: pick(20_000, 300_000, 64_000_000),
      pageCacheBytes: pick(0, 20_000, 1_000_000),
      stagedBytesMax: pick(0, 10_000, 1_000_000),
    }
    const settings = `pragma auto_vacuum = ${pick('none', 'full')}; pragma cache_size = 8; pragma cache_spill = 8`
    const { storage, write } = leader({ ...options, setup: (connection) => connection.exec(settings) })
    write((tx) => tx.exec('create table u (k text primary key, v) without rowid; create index i on t (v)'))
    const copies = [await follower(storage, options), await follower(storage, options)]
    const readers: DatabaseSync[] = []
    const change = (run: (sql: string, parameters: (string | number)[]) => unknown): void => {
      for (let count = 1 + below(4); count > 0; count--)
        pick(
          () => run('insert into t (v) values (randomblob(?))', [below(3 * options.pageBytes)]),
          () => run('update t set v = randomblob(?) where id % 7 = ?', [below(options.pageBytes), below(7)]),
          () => run('delete from t where id % 9 = ?', [below(9)]),
          () => run('insert or replace into u values (?, randomblob(?))', [`k${below(40)}`, below(500)]),
          () => run('delete from u where k > ?', [`k${below(40)}`]),
        )()
    }
    const ship = (body: Parameters<typeof write>[0]): void => {
      const shipped = write(body)
      for (const copy of copies) apply(copy, shipped)
    }
    const reopen = async (index: number): Promise<void> => {
      const copy = copies[index] as SqliteStorage
      const at = copy.applied
      const path = below(2) === 0 ? crashed(pathOf(copy)) : pathOf(copy)
      await copy.close()
      copies[index] = opened({ ...options, path })
      copies[index].settle(at)
    }
    for (let step = 0; step < STEPS; step++) {
      const index = below(copies.length)
      const copy = copies[index] as SqliteStorage
      const action = below(20)
      if (action < 10) ship((tx) => change((sql, parameters) => tx.run(sql, parameters)))
      else if (action < 12) await pick(storage, ...copies).checkpoint()
      else if (action === 12) {
        storage.begin()
        change((sql, parameters) =>
          storage.connection.internal(() => storage.connection.database.prepare(sql).run(...parameters)),
        )
        storage.rollback()
      } else if (action === 13) {
        past(storage, 'vacuum')
        ship(() => {})
      } else if (action === 14)
        ship((tx) => tx.exec(`create table x${step} (a); insert into x${step} values (${step})`))
      else if (action === 15) await reopen(index)
      else if (action === 16) {
        copy.begin()
        for (let page = 1; page < 10; page++)
          copy.connection.pages.stage(page, new Uint8Array(options.pageBytes).fill(step))
        copy.rollback()
      } else if (action === 17) {
        const reader = new DatabaseSync(pathOf(copy), { readOnly: true })
        reader.exec('begin; select count(*) from t')
        readers.push(reader)
      } else if (action === 18) readers.pop()?.close()
      else {
        // Two transactions, taken together, with or without a checkpoint between.
        commitBefore(storage, storage.applied, (tx) => change((sql, parameters) => tx.run(sql, parameters)))
        commitBefore(storage, storage.applied, (tx) => change((sql, parameters) => tx.run(sql, parameters)))
        const shipped = copied(storage.connection.pages.committed() ?? { pageCount: 0, pages: [] })
        storage.settle(point(storage.applied.lsn + 1))
        if (shipped.pageCount > 0) for (const each of copies) apply(each, shipped)
        else {
          // Not to be told: a base, and new followers.
          while (readers.length > 0) readers.pop()?.close()
          for (const [at, each] of copies.entries()) {
            await each.close()
            copies[at] = await follower(storage, options)
          }
        }
      }
    }
    for (const reader of readers) reader.close()
    for (const copy of copies) await expectSameFile(copy, storage)
    for (const copy of copies) expect(copy.failure).toBeUndefined()
  })
