/** Names that are properties of every object, texts and numbers at every limit, and where values must not turn up. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { inspect } from 'node:util'
import { afterEach, expect, onTestFinished, test } from 'vitest'
import { rowFormat } from '@understudy/format-row'
import { statementFormat } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'
import { isUnderstudyError } from '@understudy/contracts'
import { generationPaths } from '@understudy/node'
import { TcpCluster, caughtUp } from './support/tcp-cluster.ts'

const FORMATS = [
  ['row', () => rowFormat()],
  ['statement', () => statementFormat()],
  ['wal', () => walFormat()],
] as const

/** Every property that a plain object has without being given one, and what SQL might trip over. */
const NAMES = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  'valueOf',
  '__defineGetter__',
  'then',
  'length',
  'name with "quotes"; drop table x; --',
  "it's",
  '[x]',
  'ünï 🎭',
  ' ',
  ';',
]

const pristine = Object.getOwnPropertyNames(Object.prototype).toSorted()

afterEach(() => {
  expect(Object.getOwnPropertyNames(Object.prototype).toSorted()).toEqual(pristine)
  expect(Object.keys({})).toEqual([])
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
})

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

test.each(FORMATS)(
  '020 names of properties are tables, columns and values like any other, through the whole node: %s',
  async (_name, format) => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ format: format() })
    const follower = await cluster.follower('constructor', { format: format() })
    const [writer, reader] = [await cluster.client(leader), await cluster.client(follower)]
    const columns = NAMES.map((name) => `${quoted(name)} text`).join(', ')
    for (const name of NAMES) {
      const { position } = await writer.write([
        { sql: `create table ${quoted(name)} (id integer primary key, ${columns})` },
        {
          sql: `insert into ${quoted(name)} values (1, ${NAMES.map(() => '?').join(', ')})`,
          params: NAMES.map((value) => `polluted ${value}`),
        },
        { sql: `update ${quoted(name)} set ${quoted(name)} = 'changed'` },
      ])
      const found = await reader.read(`select * from ${quoted(name)}`, [], { after: position })
      expect(found.columns).toEqual(['id', ...NAMES])
      expect(found.rows).toEqual([
        [1, ...NAMES.map((value) => (value === name ? 'changed' : `polluted ${value}`))],
      ])
      // Rows as objects have what was asked for as own properties, or nothing.
      const row = await follower.read((tx) => tx.get(`select * from ${quoted(name)}`))
      expect(Object.keys(row ?? {}).toSorted()).toEqual(['id', ...NAMES].toSorted())
      expect(Object.hasOwn(row ?? {}, '__proto__')).toBe(true)
    }
    const marker = await leader.mark()
    const digests = await leader.digest(marker, { keep: true })
    expect(digests.map(({ table }) => table)).toEqual(expect.arrayContaining(NAMES))
    for (const name of NAMES) expect(leader.rows(marker, name, 0)).toBeDefined()
    leader.release(marker)
    await cluster.verify(leader, follower)
    const status = JSON.parse(JSON.stringify(leader.status())) as unknown
    expect(JSON.stringify(status)).toContain('"constructor"')
  },
)

test('020 names of properties are parameters like any other, and only own ones count', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await leader.write((tx) => tx.exec('create table t (id integer primary key, v)'))
  const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf']
  for (const name of names) {
    // JSON makes an own property of every name, as a request from outside would.
    const parameters = JSON.parse(`{ "${name}": "value of ${name}" }`) as Record<string, string>
    await leader.write((tx) => tx.run(`insert into t (v) values ($${name})`, parameters))
    const row = await leader.read((tx) => tx.get(`select $${name} as v`, parameters))
    expect(row).toEqual({ v: `value of ${name}` })
    // What every object inherits is no parameter: SQLite binds NULL.
    expect(await leader.read((tx) => tx.get(`select :${name} as v`, {}))).toEqual({ v: null })
  }
  expect(await leader.read((tx) => tx.all('select v from t order by id'))).toEqual(
    names.map((name) => ({ v: `value of ${name}` })),
  )
})

test('020 a cluster works while the prototypes that every object has are frozen', () => {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-frozen-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const program = join(import.meta.dirname, 'programs/frozen-prototypes.ts')
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--conditions=@understudy/source', '--disable-warning=ExperimentalWarning', program, folder],
    { encoding: 'utf8', timeout: 30_000 },
  )
  expect(stderr).toBe('')
  expect(JSON.parse(stdout)).toEqual({
    rows: [
      [
        ['id', 1],
        ['__proto__', 'polluted'],
        ['constructor', 'polluted'],
      ],
      [
        ['id', 2],
        ['__proto__', 'a'],
        ['constructor', 'b'],
      ],
    ],
    table: '__proto__',
    status: true,
    inherited: [],
  })
})

test.each(FORMATS)('020 texts and numbers at every limit arrive as they are: %s', async (_name, format) => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader({ format: format() })
  const follower = await cluster.follower('b', { format: format() })
  const [writer, reader] = [await cluster.client(leader), await cluster.client(follower)]
  const values = [
    2n ** 63n - 1n,
    -(2n ** 63n),
    BigInt(Number.MAX_SAFE_INTEGER) + 1n,
    Number.MAX_SAFE_INTEGER,
    Number.MIN_VALUE,
    Number.MAX_VALUE,
    Number.NEGATIVE_INFINITY,
    '',
    '\0',
    'a\0b\0',
    '\uFEFFbom',
    '\u202Eright to left',
    '\u{10FFFF}',
    'é',
    "'; drop table v; --",
    'x'.repeat(1_000_000),
    new Uint8Array(1_000_000).fill(255),
  ]
  await writer.write([{ sql: 'create table v (id integer primary key, x)' }])
  const { position } = await writer.write(
    values.map((x, id) => ({ sql: 'insert into v values (?, ?)', params: [id, x] })),
  )
  const { rows } = await reader.read('select x from v order by id', [], { after: position })
  expect(rows.map(([x]) => x)).toEqual(values)
  await cluster.verify(leader, follower)
})

test.each(FORMATS)(
  '020 SQL at every limit is run or refused by name, and the node goes on: %s',
  async (_name, format) => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ format: format() })
    const follower = await cluster.follower('b', { format: format() })
    const writer = await cluster.client(leader)
    await writer.write([{ sql: 'create table t (id integer primary key, v)' }])
    const many = (count: number): string => Array.from({ length: count }, () => '(?)').join()
    const run = async (sql: string, params: readonly (string | number | bigint)[] = []): Promise<string> => {
      try {
        await writer.write([{ sql, params }])
        return 'done'
      } catch (error) {
        return isUnderstudyError(error) ? error.code : String(error)
      }
    }
    const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
    expect(await run(`insert into t (v) values ('${'y'.repeat(1_000_000)}')`)).toBe('done')
    expect(await run(`insert into t (v) values ${many(32_766)}`, numbers(32_766))).toBe('done')
    expect(await run(`insert into t (v) values ${many(32_767)}`, numbers(32_767))).toMatch(
      /SQL_FAILED|INVALID_ARGUMENT/,
    )
    expect(await run('insert into t (v) values (?)', [2n ** 63n])).toMatch(/SQL_FAILED|INVALID_ARGUMENT/)
    expect(await run('insert into t (v) values (?)', [-(2n ** 63n) - 1n])).toMatch(
      /SQL_FAILED|INVALID_ARGUMENT/,
    )
    expect(await run("insert into t (v) values ('a\0b')")).toBe('INVALID_ARGUMENT')
    expect(await run('insert into t (v) values (1); drop table t')).toBe('INVALID_ARGUMENT')
    expect(await run('')).toBe('INVALID_ARGUMENT')
    expect(await run('-- only a comment')).toBe('INVALID_ARGUMENT')
    expect(await run(`select ${'('.repeat(100_000)}1`)).toBe('SQL_FAILED')
    expect(await run(`select ${'1 + '.repeat(100_000)}1`)).toBe('SQL_FAILED')
    expect(await run(`select '${"''".repeat(100_000)}`)).toBe('SQL_FAILED')
    expect(await run(`insert into ${'x'.repeat(100_000)} values (1)`)).toBe('SQL_FAILED')
    expect(await run('insert into t (v) values (zeroblob(2000000000))')).toBe('SQL_FAILED')
    const { receipt } = await leader.write([{ sql: 'insert into t (v) values (?)', params: ['the last'] }])
    expect(
      await follower.read((tx) => tx.get("select count(*) as n from t where v = 'the last'"), {
        after: receipt.position,
      }),
    ).toEqual({ n: 1 })
    expect(await leader.read((tx) => tx.get('select count(*) as n from t'))).toEqual({ n: 32_768 })
    expect(leader.failure).toBeUndefined()
    expect(follower.failure).toBeUndefined()
  },
)

test('020 lone surrogates become the replacement character at the node, the same on every node', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  const follower = await cluster.follower('b')
  await leader.write((tx) => tx.exec('create table t (id integer primary key, v)'))
  await leader.write((tx) => tx.run('insert into t (v) values (?)', ['a\uD800b']))
  await caughtUp(leader, follower)
  const [here, there] = [
    await leader.read((tx) => tx.get('select v, hex(v) as h from t')),
    await follower.read((tx) => tx.get('select v, hex(v) as h from t')),
  ]
  expect(here).toEqual({ v: 'a\uFFFDb', h: '61EFBFBD62' })
  expect(there).toEqual(here)
})

/** A value that nobody but the database and whoever reads it should see. */
const MARKER = 'secret-7f3a-of-a-row'
const NUMBER = 987_654_321_987_654_321n

/** All that an error tells: of itself, in fields, in what caused it. */
function told(error: unknown): string {
  const parts: string[] = []
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const details = isUnderstudyError(at) ? at.details : {}
    parts.push(
      at.message,
      at.stack ?? '',
      inspect(details, { depth: 10 }),
      inspect(Object.entries(at), { depth: 10 }),
    )
  }
  return parts.join('\n')
}

const FAILURES: readonly (readonly [string, string, readonly (string | bigint)[]])[] = [
  ['UNIQUE', 'insert into s (k) values (?)', [MARKER]],
  ['NOT NULL', 'insert into s (k, v) values (?, null)', [`${MARKER} 2`]],
  ['CHECK', 'insert into s (k, n) values (?, ?)', [`${MARKER} 3`, NUMBER]],
  ['STRICT', 'insert into s (k, n) values (?, ?)', [`${MARKER} 4`, MARKER]],
  ['a deferred foreign key', 'insert into c values (1, ?)', [MARKER]],
  ['a datatype of a rowid', 'insert into s (rowid, k) values (?, ?)', [MARKER, MARKER]],
  ['OR ROLLBACK', 'insert or rollback into s (k) values (?)', [MARKER]],
  ['no such table', 'insert into nowhere values (?)', [MARKER]],
  ['a parameter too many', 'insert into s (k) values (?)', [MARKER, MARKER]],
  ['an integer too large', 'insert into s (k, n) values (?, ?)', [MARKER, 2n ** 70n]],
  ['what belongs to the node', 'update _understudy_position set lsn = ?', [MARKER]],
]

test.each(FORMATS)(
  '020 no error, event or status carries a value of a row or a parameter: %s',
  async (name, format) => {
    const cluster = new TcpCluster()
    const setup = { format: format() }
    const leader = await cluster.leader(setup)
    let follower = await cluster.follower('b', { format: format() })
    await leader.write((tx) =>
      tx.exec(`create table s (id integer primary key, k text not null unique, v text not null default 'x',
      n integer check (n < 1000)) strict; create table p (k text primary key);
      create table c (id integer primary key, k text references p (k) deferrable initially deferred)`),
    )
    await leader.write((tx) => tx.run('insert into s (k) values (?)', [MARKER]))
    await caughtUp(leader, follower)
    const client = await cluster.client(leader)
    const errors: unknown[] = []
    for (const [what, sql, params] of FAILURES) {
      for (const attempt of [
        () => leader.write((tx) => tx.run(sql, params)),
        () => leader.write([{ sql, params }]),
        () => client.write([{ sql, params }]),
        () => leader.read((tx) => tx.all(sql, params)),
      ]) {
        const error = await attempt().then(
          () => undefined,
          (thrown: unknown) => thrown,
        )
        expect([what, error instanceof Error]).toEqual([what, true])
        errors.push(error)
      }
    }

    // A follower whose row is another one stops with what it found.
    if (name !== 'wal') {
      await follower.close()
      const path = generationPaths(cluster.directory('b'), 1).database
      rmSync(`${path}.closed`)
      const database = new DatabaseSync(path)
      database.prepare('update s set v = ?').run(`${MARKER} planted`)
      database.close()
      follower = await cluster.follower('b', { format: format() })
      await leader.write((tx) => tx.run('update s set v = v || ?, n = 7', [MARKER]))
      await expect(caughtUp(leader, follower)).rejects.toMatchObject({ code: 'DIVERGED' })
      errors.push(follower.failure)
      expect(follower.failure?.code).toBe('DIVERGED')
    }
    const events = Object.values(cluster.events).flatMap(({ all }) => all)
    const everything = [
      ...errors.map((error) => told(error)),
      ...events.flatMap((event) => Object.values(event).map((value) => told(value))),
      inspect(events, { depth: 10 }),
      inspect(leader.status(), { depth: 10 }),
      inspect(follower.status(), { depth: 10 }),
      inspect(leader.slots(), { depth: 10 }),
    ]
    const leaks = everything.filter((text) => text.includes(MARKER) || text.includes(String(NUMBER)))
    // They say what failed, all the same.
    expect(everything.join('\n')).toContain('UNIQUE constraint failed: s.k')
    expect(leaks).toEqual([])
    expect(errors.length).toBeGreaterThan(40)
  },
)
