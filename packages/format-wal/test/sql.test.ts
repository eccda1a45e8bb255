/** Random SQL and the special cases of SQLite on a real file: the follower ends as the same file, byte for byte. */
import { expect, test } from 'vitest'
import { randomNumbers } from '@understudy/testkit'
import { Directory, Follower, Leader, type LeaderOptions } from './helpers.ts'

const TABLES = `create table t (id integer primary key, k text, v text, n integer);
  create index t_k on t (k); create table w (a text primary key, b blob) without rowid`

/** Runs `body` on a leader, its payloads on a follower; both files must be equal, and sound. */
function same(options: LeaderOptions, body: (leader: Leader, apply: Apply) => void): void {
  using directory = new Directory()
  const leader = new Leader(directory.path, options)
  const follower = leader.follower()
  body(leader, (payloads) => {
    follower.apply(payloads)
    for (const payload of payloads) expect(follower.applier.holds(payload)).toBe(true)
  })
  const file = leader.finalFile()
  expect(Buffer.compare(follower.pages.bytes(), file)).toBe(0)
  expect(follower.integrity(directory.path)).toEqual({ integrity_check: 'ok' })
}

type Apply = (payloads: readonly Uint8Array[]) => void

function randomWrite(random: (below: number) => number): string {
  const id = random(400)
  const text = 'abcdefghij'.slice(random(9)).repeat(1 + random(40))
  switch (random(9)) {
    case 0:
    case 1:
    case 2:
      return `insert or replace into t values (${id}, 'k${random(1000)}', '${text}', ${random(1 << 30)})`
    case 3:
      return `update t set v = '${text}', n = n + 1 where id between ${id} and ${id + random(8)}`
    case 4:
      return `delete from t where id between ${id} and ${id + random(60)}`
    case 5:
      return `insert or replace into w values ('${text.slice(0, 30)}${id}', zeroblob(${random(9000)}))`
    case 6:
      return `delete from w where a > '${text.slice(0, 3)}'`
    case 7:
      return `update w set b = randomblob(${random(5000)}) where a < '${text.slice(0, 3)}'`
    default:
      return `insert into t select id + 1000, k, v, n from t where id < 100 on conflict do update set n = excluded.n`
  }
}

for (let pageBytes = 512; pageBytes <= 65_536; pageBytes *= 2) {
  test(`random writes, some rolled back, page size ${pageBytes}`, () => {
    const random = randomNumbers(pageBytes)
    same({ pageBytes, setup: TABLES }, (leader, apply) => {
      for (let group = 0; group < 40; group += 1) {
        const writes: string[] = Array.from({ length: 1 + random(5) }, () => randomWrite(random))
        if (random(4) === 0) writes.push('insert into t values (1, 2, 3, 4), (1, 2, 3, 4)')
        apply(leader.group(...writes))
        if (random(10) === 0) leader.database.exec('pragma wal_checkpoint(truncate)')
      }
    })
  })
}

for (const mode of ['none', 'full', 'incremental'] as const) {
  test(`growing, shrinking and VACUUM with auto_vacuum ${mode}`, () => {
    same({ pageBytes: 1024, before: `pragma auto_vacuum = ${mode}`, setup: TABLES }, (leader, apply) => {
      for (let round = 0; round < 3; round += 1) {
        apply(
          leader.group(
            `with recursive s (value) as (select 1 union all select value + 1 from s where value < 400)
              insert into t select value + ${round * 1000}, 'k' || value, printf('%0300d', value), value from s`,
          ),
        )
        const grown = leader.connection.pages.pageCount
        apply(leader.group('delete from t where id % 10 <> 3'))
        if (mode === 'full') expect(leader.connection.pages.pageCount).toBeLessThan(grown)
        if (mode === 'incremental') {
          apply(leader.alone('pragma incremental_vacuum(20)'))
          expect(leader.connection.pages.pageCount).toBe(grown - 20)
        }
        apply(leader.alone('vacuum'))
        expect(leader.connection.pages.pageCount).toBeLessThan(grown)
      }
    })
  })
}

test('a transaction that spills the cache, and one that is rolled back after a spill', () => {
  same({ pageBytes: 1024, setup: TABLES }, (leader, apply) => {
    leader.database.exec('pragma cache_size = 10')
    const many = `with recursive s (value) as (select 1 union all select value + 1 from s where value < 3000)
      insert into t select value, 'k' || (value * 7919 % 3000), printf('%0200d', value), value from s`
    apply(leader.group('insert into t values (0, 0, 0, 0)'))
    leader.recorder.beginGroup()
    leader.database.exec(`begin immediate; ${many}; rollback`)
    leader.recorder.abandonGroup()
    apply(leader.group('insert into w values (1, 1)'))
    apply(leader.group(many, `update t set k = 'x' || k`))
    apply(
      leader.group(
        'update t set n = n + 1',
        'insert into t values (1, 1, 1, 1)',
        'delete from t where id > 500',
      ),
    )
  })
})

test('savepoints within a write', () => {
  same({ setup: TABLES }, (leader, apply) => {
    apply(
      leader.group((database) => {
        database.exec(`insert into t values (1, 'a', 'a', 1); savepoint inner; insert into t values (2, 'b', 'b', 2);
          rollback to inner; insert into t values (3, 'c', 'c', 3); release inner`)
      }),
    )
  })
})

test('schema changes, ALTER, full-text search and R-Tree', () => {
  same({ setup: TABLES }, (leader, apply) => {
    const schema = (sql: string) => leader.group(() => leader.observed(sql, { effect: 'schema' }))
    apply(schema('create virtual table f using fts5 (body); create virtual table r using rtree (id, a, b)'))
    apply(
      leader.group(`insert into f values ('one two three'), ('four five')`, 'insert into r values (1, 2, 3)'),
    )
    apply(schema('alter table t add column extra'))
    apply(schema('alter table t drop column n; drop index t_k; create index t_v on t (v)'))
    apply(leader.group(`insert into t values (1, 2, 3, 4)`, `insert into f (f) values ('optimize')`))
    apply(schema('drop table w; drop table f'))
    apply(schema('analyze'))
    apply(
      leader.group(() =>
        leader.observed('pragma user_version = 77', {
          effect: 'pragma',
          pragma: { name: 'user_version', argument: '77' },
        }),
      ),
    )
  })
})

test('payloads applied together, as a follower that catches up does', () => {
  using directory = new Directory()
  const random = randomNumbers(99)
  const leader = new Leader(directory.path, { setup: TABLES })
  const follower = leader.follower()
  const payloads: Uint8Array[] = []
  for (let group = 0; group < 30; group += 1)
    payloads.push(...leader.group(randomWrite(random), randomWrite(random)))
  payloads.push(...leader.alone('vacuum'))
  follower.apply(payloads, true)
  expect(Buffer.compare(follower.pages.bytes(), leader.finalFile())).toBe(0)
})

test('a payload of recovery makes a file of the newest transactions, whatever it was in those pages', () => {
  using directory = new Directory()
  const leader = new Leader(directory.path, { setup: TABLES })
  const follower = leader.follower()
  const seen = leader.group(`insert into t values (1, 'a', 'b', 2)`)
  follower.apply(seen)
  leader.group(`insert into t values (2, 'a', 'b', 2)`)
  const recovered = leader.recorder.recover()
  expect(recovered).toHaveLength(1)
  follower.apply(recovered)
  follower.apply(leader.group(`update t set n = 3`))
  expect(Buffer.compare(follower.pages.bytes(), leader.finalFile())).toBe(0)
})

test('a follower made from the file as of now has its own follower', () => {
  using directory = new Directory()
  const leader = new Leader(directory.path, { setup: TABLES })
  leader.group(`insert into t values (1, 'a', 'b', 2)`)
  const follower = new Follower(4096, leader.connection.pages.bytes())
  follower.apply(leader.group(`insert into t values (2, 'a', 'b', 2)`))
  const [payload] = [...leader.group('delete from t')]
  follower.apply([payload as Uint8Array])
  expect(Buffer.compare(follower.pages.bytes(), leader.finalFile())).toBe(0)
})
