/**
 * The WAL format on the real storage, beyond single features: random groups with checkpoints, restarts, crashes between
 * COMMIT and append, and readers in between. Every file ends as the leader's, byte for byte.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import { ORIGIN, type LogPoint } from '@understudy/contracts'
import { walFormat } from '@understudy/format-wal'
import { openStorage, type StorageOptions } from '@understudy/sqlite'
import { randomNumbers } from '@understudy/testkit'

type Storage = ReturnType<typeof openStorage>

const format = walFormat()
const SCHEMA = `create table t (id integer primary key, k text, v text, n integer); create index t_k on t (k);
  create table w (a text primary key, b blob) without rowid`

/** A node without a log: the test hands payloads on, and tells positions. */
class Node {
  readonly path: string
  readonly #options: Omit<StorageOptions, 'path'>
  storage: Storage
  #recorder: ReturnType<typeof format.recorder> | undefined
  #applier: ReturnType<typeof format.applier> | undefined
  /** Of the log that there would be. */
  point: LogPoint = ORIGIN

  constructor(path: string, options: Omit<StorageOptions, 'path'>) {
    this.path = path
    this.#options = options
    this.storage = openStorage({ path, readers: 1, ...options })
  }

  get recorder(): ReturnType<typeof format.recorder> {
    return (this.#recorder ??= format.recorder(this.storage.connection))
  }

  get applier(): ReturnType<typeof format.applier> {
    return (this.#applier ??= format.applier(this.storage.connection))
  }

  /** Makes the file a physical one; what it holds is where the followers begin. */
  base(): void {
    this.storage.begin()
    this.storage.markBefore(this.storage.applied)
    this.storage.commit()
    expect(format.describe(this.recorder.base()).kind).toBe('base')
    this.settle()
  }

  /** Runs writes as one group up to COMMIT; false when it changed nothing. A write that fails is rolled back alone. */
  commit(writes: readonly string[]): boolean {
    const { recorder, storage } = this
    storage.begin()
    recorder.beginGroup()
    for (const sql of writes) {
      try {
        storage.write((tx) => tx.exec(sql), recorder, { alone: writes.length === 1 })
      } catch (error) {
        expect(String(error)).toContain('UNIQUE constraint failed')
      }
    }
    if (!recorder.changed()) {
      storage.rollback()
      recorder.abandonGroup()
      return false
    }
    storage.markBefore(this.point)
    storage.commit()
    return true
  }

  group(...writes: string[]): readonly Uint8Array[] {
    if (!this.commit(writes)) return []
    const payloads = this.recorder.finishGroup()
    expect(payloads).toHaveLength(1)
    this.settle()
    return payloads
  }

  apply(payloads: readonly Uint8Array[]): void {
    this.storage.begin()
    try {
      for (const payload of payloads) this.applier.apply(payload)
      this.storage.commit()
    } catch (error) {
      this.storage.rollback()
      throw error
    }
    for (const _ of payloads) this.settle()
    for (const payload of payloads.slice(-1)) expect(this.applier.holds(payload)).toBe(true)
  }

  settle(): void {
    this.point = { epoch: 1, lsn: this.point.lsn + 1, crc: (this.point.lsn * 7919) >>> 0 }
    this.storage.settle(this.point)
  }

  /** `settled`: whether the log holds what the storage is ahead by. */
  async restart(settled = true): Promise<void> {
    await this.close()
    this.storage = openStorage({ path: this.path, readers: 1, ...this.#options })
    if (settled && this.storage.ahead) this.storage.settle(this.point)
  }

  async close(): Promise<void> {
    this.#recorder?.close()
    this.#applier?.close()
    this.#recorder = undefined
    this.#applier = undefined
    await this.storage.close()
  }

  async follower(path: string): Promise<Node> {
    const snapshot = await this.storage.snapshot()
    const image = new Uint8Array(snapshot.totalBytes)
    for (let offset = 0; offset < image.length;)
      offset += await snapshot.read(image.subarray(offset, offset + 64 * snapshot.pageBytes), offset)
    await snapshot.close()
    writeFileSync(path, image)
    const follower = new Node(path, this.#options)
    follower.point = this.point
    if (follower.storage.ahead) follower.storage.settle(this.point)
    return follower
  }
}

interface Cluster {
  readonly leader: Node
  readonly follower: Node
  readonly path: (name: string) => string
}

async function cluster(
  options: Omit<StorageOptions, 'path'> = {},
  schema: string = SCHEMA,
): Promise<Cluster> {
  const directory = mkdtempSync(join(tmpdir(), 'understudy-wal-storage-'))
  const path = (name: string): string => join(directory, name)
  const leader = new Node(path('leader.db'), options)
  leader.base()
  leader.group(schema)
  const follower = await leader.follower(path('follower.db'))
  onTestFinished(async () => {
    await leader.close()
    await follower.close()
    rmSync(directory, { recursive: true, force: true })
  })
  return { leader, follower, path }
}

/** Closes both, moves their logs into their files, and compares these. */
async function expectEqualFiles({ leader, follower }: Cluster): Promise<void> {
  const files: Buffer[] = []
  for (const node of [leader, follower]) {
    await node.close()
    const database = new DatabaseSync(node.path)
    database.exec('pragma wal_checkpoint(truncate)')
    expect(database.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' })
    database.close()
    files.push(readFileSync(node.path))
  }
  expect(files[0]?.equals(files[1] as Buffer)).toBe(true)
}

function randomWrite(random: (below: number) => number): string {
  const id = random(400)
  const text = 'abcdefghij'.slice(random(9)).repeat(1 + random(40))
  switch (random(8)) {
    case 0:
    case 1:
      return `insert or replace into t values (${id}, 'k${random(1000)}', '${text}', ${random(2 ** 30)})`
    case 2:
      return `update t set v = '${text}', n = n + 1 where id between ${id} and ${id + random(8)}`
    case 3:
      return `delete from t where id between ${id} and ${id + random(60)}`
    case 4:
      return `insert or replace into w values ('${text.slice(0, 30)}${id}', randomblob(${random(9000)}))`
    case 5:
      return `delete from w where a > '${text.slice(0, 3)}'`
    case 6:
      return `insert into t values (${id}, 1, 1, 1); insert into t values (${id}, 1, 1, 1)`
    default:
      return `insert into t select id + 1000, k, v, n from t where id < 100 on conflict do update set n = excluded.n`
  }
}

test.each([
  { pageBytes: 512, seed: 11 },
  { pageBytes: 4096, seed: 12 },
  { pageBytes: 65_536, seed: 13 },
])(
  'random groups with checkpoints, restarts and catching up, page size $pageBytes',
  async ({ pageBytes, seed }) => {
    const random = randomNumbers(seed)
    const nodes = await cluster({ pageBytes })
    const { leader, follower } = nodes
    let waiting: Uint8Array[] = []
    const deliver = (): void => {
      follower.apply(waiting)
      waiting = []
    }
    for (let group = 0; group < 80; group += 1) {
      waiting.push(...leader.group(...Array.from({ length: 1 + random(4) }, () => randomWrite(random))))
      switch (random(12)) {
        case 0:
          await leader.storage.checkpoint()
          break
        case 1:
          await follower.storage.checkpoint()
          break
        case 2:
          await leader.restart()
          break
        case 3:
          deliver()
          await follower.restart()
          break
        case 4:
          break
        default:
          deliver()
      }
    }
    deliver()
    await expectEqualFiles(nodes)
  },
)

test('a crash between COMMIT and append: the pages of that transaction come from the write-ahead log', async () => {
  const { leader, follower, path } = await cluster()
  follower.apply(leader.group(`insert into t values (1, 'a', 'b', 2)`))
  expect(leader.commit([`insert into t select n, 'k', 'v', n from (select 2 as n union select 3)`])).toBe(
    true,
  )
  // What a crash leaves. Another process copies it: closing a descriptor of the file here would drop SQLite's locks.
  for (const suffix of ['', '-wal'])
    execFileSync('cp', [`${leader.path}${suffix}`, path(`crashed.db${suffix}`)])
  const crashed = new Node(path('crashed.db'), {})
  crashed.point = leader.point
  expect(crashed.storage.ahead).toBe(true)
  const recovered = crashed.recorder.recover()
  expect(recovered).toHaveLength(1)
  expect(crashed.applier.holds(recovered[0] as Uint8Array)).toBe(true)
  crashed.settle()
  follower.apply(recovered)
  follower.apply(crashed.group('update t set n = n + 1'))
  await expectEqualFiles({ leader: crashed, follower, path })
})

test('an end in order between COMMIT and append leaves no log to take pages from: only a base helps', async () => {
  const { leader } = await cluster()
  expect(leader.commit([`insert into t values (1, 'a', 'b', 2)`])).toBe(true)
  await leader.restart(false)
  expect(leader.storage.ahead).toBe(true)
  expect(leader.recorder.recover()).toEqual([])
  const base = leader.recorder.base()
  expect(leader.applier.holds(base)).toBe(true)
  expect(() => leader.applier.apply(base)).toThrow(expect.objectContaining({ code: 'SNAPSHOT_REQUIRED' }))
})

test('a transaction that spills the cache, and a file that grows and shrinks', async () => {
  const setup = (database: DatabaseSync): void => database.exec('pragma cache_size = 10')
  const nodes = await cluster({ setup, pageBytes: 1024 })
  const { leader, follower } = nodes
  const many = `with recursive s (value) as (select 1 union all select value + 1 from s where value < 4000)
    insert into t select value, 'k' || (value * 7919 % 4000), printf('%0200d', value), value from s`
  follower.apply(leader.group(many, `update t set k = 'x' || k`))
  const pages = leader.storage.connection.pages.pageCount
  // Rolled back after a spill: its frames are in the log, and belong to nothing.
  expect(leader.group(`${many} where 0 on conflict do nothing; delete from t where id = -1`)).toEqual([])
  leader.storage.begin()
  leader.recorder.beginGroup()
  leader.storage.write((tx) => tx.exec(`update t set v = v || 'more'`), leader.recorder, { alone: true })
  leader.storage.rollback()
  leader.recorder.abandonGroup()
  follower.apply(leader.group('delete from t where id > 10', 'insert into w values (1, zeroblob(50000))'))
  expect(follower.storage.connection.pages.pageCount).toBeGreaterThanOrEqual(pages)
  await expectEqualFiles(nodes)
})

test('readers of the follower see each commit, and an open one keeps its view', async () => {
  const nodes = await cluster()
  const { leader, follower } = nodes
  const outside = new DatabaseSync(follower.path, { readOnly: true })
  const count = (): unknown => outside.prepare('select count(*) as n from t').get()
  try {
    for (let group = 1; group <= 20; group += 1) {
      follower.apply(leader.group(`insert into t (k) values ('k${group}')`))
      expect(count()).toEqual({ n: group })
      expect(await follower.storage.read((tx) => tx.get('select count(*) as n from t'))).toEqual({ n: group })
    }
    outside.exec('begin')
    expect(count()).toEqual({ n: 20 })
    follower.apply(leader.group('delete from t'))
    follower.apply(leader.group(`alter table t add column more`))
    expect(count()).toEqual({ n: 20 })
    outside.exec('commit')
    expect(count()).toEqual({ n: 0 })
    expect(await follower.storage.read((tx) => tx.table('select * from t').columns)).toContain('more')
  } finally {
    outside.close()
  }
  await expectEqualFiles(nodes)
})

test('a record that was left out is DIVERGED, and leaves the follower as it was', async () => {
  const { leader, follower } = await cluster()
  leader.group(`insert into t (k) values ('lost')`)
  const next = leader.group(`insert into w values ('x', 1)`)
  expect(() => follower.apply(next)).toThrow(expect.objectContaining({ code: 'DIVERGED' }))
  expect(await follower.storage.read((tx) => tx.all('select * from w'))).toEqual([])
})

test('a follower goes on as a leader, and the old leader follows', async () => {
  const nodes = await cluster()
  const { leader, follower } = nodes
  follower.apply(leader.group(`insert into t values (1, 'a', 'b', 2)`))
  leader.apply(follower.group(`insert into t values (2, 'a', 'b', 2)`, `update t set n = 5 where id = 1`))
  leader.apply(follower.group('delete from t where id = 1'))
  await expectEqualFiles(nodes)
})

test('a group that says it changed nothing has changed no page', async () => {
  const { leader } = await cluster({}, `${SCHEMA}; create virtual table f using fts5 (body)`)
  leader.group(
    `with recursive s (n) as (select 1 union all select n + 1 from s where n < 2000) insert into t select n, n, n, n from s`,
    `insert into f values ('some words')`,
  )
  const told: Record<string, boolean> = {}
  for (const sql of [
    'select * from t, w',
    `select * from f where f match 'words'`,
    'select * from pragma_optimize',
    'select * from pragma_optimize(0x10002)',
    'select * from pragma_user_version',
    'pragma integrity_check',
    'pragma table_info(t)',
    'pragma optimize',
    'pragma incremental_vacuum',
    'explain delete from t',
    'delete from t where id < 0 returning id',
    `update t set n = 0 where id = -1`,
    `update t set n = 0 where id = 5`,
    'create table if not exists t (x)',
    'drop table if exists absent',
    'values (1)',
  ]) {
    const { recorder, storage } = leader
    storage.begin()
    recorder.beginGroup()
    try {
      storage.write((tx) => tx.exec(sql), recorder, { alone: true })
    } catch (error) {
      expect(error).toMatchObject({ code: 'WRITE_FORBIDDEN' })
    }
    told[sql] = recorder.changed()
    storage.commit()
    const pages = [...(storage.connection.pages.committed()?.pages ?? [])]
    if (!told[sql]) expect([sql, pages.map(({ page }) => page)]).toEqual([sql, []])
  }
  expect(told['update t set n = 0 where id = 5']).toBe(true)
  expect(Object.values(told).filter((changed) => !changed).length).toBeGreaterThan(8)
})

test('the fingerprint of a real file: equal for copies, refused for another page size', async () => {
  const { leader, follower } = await cluster()
  const other = await cluster({ pageBytes: 8192 })
  const own = format.fingerprint(leader.storage.connection)
  expect(format.fingerprint(follower.storage.connection)).toBe(own)
  expect(format.accepts(own, format.fingerprint(other.leader.storage.connection))).toContain(
    'page size 4096 here and 8192 there',
  )
})
