/** A second format is recorded beside the one in force: measured, never logged, of no effect on anybody's data. */
import type { LogFormat, SqliteConnection } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { statementFormat } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'
import type { NodeStatus, UnderstudyNode } from '@understudy/node'
import { describe, expect, test } from 'vitest'
import { TcpCluster, caughtUp, fill, insertNote, load } from './support/tcp-cluster.ts'

type Format = LogFormat<SqliteConnection>
const row = rowFormat()
const wal = walFormat()
const lenient = statementFormat({ unsafe: 'row', row })
const FORMATS: readonly Format[] = [row, lenient, wal]
/** Without what appliers of rows keep on a follower, a shadow or not. */
const SCHEMA = "select name from sqlite_schema where name <> '_understudy_trigger' order by name"

function shadowOf(node: UnderstudyNode): NonNullable<NodeStatus['shadow']> {
  const { shadow } = node.status()
  if (shadow === undefined) throw new Error('no shadow is recorded')
  return shadow
}

/** What a client gets over the wire is the same report. */
async function shadowByClient(cluster: TcpCluster, node: UnderstudyNode): Promise<unknown> {
  const client = await cluster.client(node)
  return ((await client.status()) as unknown as NodeStatus).shadow
}

function tableNames(node: UnderstudyNode): Promise<string[]> {
  return node.read((tx) => tx.all(SCHEMA).map((each) => String(each['name'])))
}

const mixed = (leader: UnderstudyNode, n: number): Promise<unknown> =>
  leader.write((tx) => {
    tx.run('insert into note (body) values (?)', [`n${n}`])
    if (n % 3 === 0) tx.run("update note set body = body || datetime('now') where id = ?", [(n % 40) + 1])
    if (n % 5 === 0) tx.run('insert into named (name, at) values (?, random())', [`name ${n}`])
    if (n % 11 === 0)
      tx.exec(`create table t${n} (id integer primary key, x); insert into t${n} (x) values (1)`)
  })

const PAIRS: readonly { readonly format: Format; readonly shadow: Format }[] = FORMATS.flatMap((format) =>
  FORMATS.filter((shadow) => shadow !== format).map((shadow) => ({ format, shadow })),
)

describe('016 shadow', () => {
  test.for(PAIRS)('$format.name with a shadow of $shadow.name', async ({ format, shadow }) => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ format, formats: FORMATS, shadow })
    await fill(leader, 50)
    // Its key may be NULL, so that a row format in force guards it with TEMP triggers.
    await leader.write((tx) => tx.exec('create table named (name text primary key, at)'))
    const follower = await cluster.follower('b', { format, formats: FORMATS })
    const writers = load(8, (n) => mixed(leader, n))
    await writers.more(300)
    await cluster.verify(leader, follower)
    await writers.stop()
    await caughtUp(leader, follower)
    await cluster.verify(leader, follower)
    const report = shadowOf(leader)
    expect(report).toMatchObject({ format: shadow.name, refused: 0, primary: { format: format.name } })
    expect(report.groups).toBe(report.primary.groups)
    expect(report.groups).toBeGreaterThan(10)
    for (const side of [report, report.primary]) {
      // Every write has a text of its own of some bytes, and pages of 4 KiB bound the rest.
      expect(side.bytes).toBeGreaterThan(1000)
      expect(side.bytes).toBeLessThan(side.groups * 100_000)
      expect(side.ms).toBeGreaterThan(0)
    }
    expect(await shadowByClient(cluster, leader)).toEqual(report)
    const names = await tableNames(follower)
    expect(await tableNames(leader)).toEqual(names)
    const dictionary = names.filter((name) => name.startsWith('_understudy_statement'))
    expect(dictionary.length > 0).toBe(format === lenient)
  })

  test('the bytes of a shadow are those that the format takes when it is in force', async () => {
    const measured = async (format: Format, shadow: Format): Promise<NonNullable<NodeStatus['shadow']>> => {
      const cluster = new TcpCluster()
      const leader = await cluster.leader({ format, formats: FORMATS, shadow })
      await fill(leader, 20)
      for (let n = 0; n < 40; n++) await insertNote(leader, `note ${n}`)
      return shadowOf(leader)
    }
    const one = await measured(row, lenient)
    const other = await measured(lenient, row)
    expect(one.bytes).toBe(other.primary.bytes)
    expect(one.primary.bytes).toBe(other.bytes)
  })

  test('statements that are unsafe run as ever, and their groups count as refused', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ shadow: statementFormat() })
    await fill(leader, 20)
    const follower = await cluster.follower('b')
    const before = shadowOf(leader)
    await leader.write((tx) => tx.run('update note set body = 1 where id in (select id from note limit 3)'))
    expect(shadowOf(leader)).toMatchObject({ refused: 1, groups: before.groups, bytes: before.bytes })
    expect(shadowOf(leader).lastReason).toMatch(/^STATEMENT_UNSAFE /)
    expect(shadowOf(leader).primary.groups).toBe(before.primary.groups + 1)
    await insertNote(leader, 'after')
    expect(shadowOf(leader)).toMatchObject({ refused: 1, groups: before.groups + 1 })
    await caughtUp(leader, follower)
    await cluster.verify(leader, follower)
  })

  test('a refusal goes with the write that is rolled back', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ shadow: statementFormat() })
    await fill(leader, 20)
    const bad = leader.write((tx) => {
      tx.run('update note set body = 1 where id in (select id from note limit 3)')
      throw new Error('mine')
    })
    const good = insertNote(leader, 'good')
    await expect(bad).rejects.toThrow('mine')
    await good
    expect(shadowOf(leader)).toMatchObject({ refused: 0 })
  })

  test('tables without a key and NULL keys work beside a row shadow, the former as refused groups', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ format: wal, shadow: row })
    const follower = await cluster.follower('b', { format: wal })
    await leader.write((tx) => tx.exec('create table keyed (k text primary key)'))
    await leader.write((tx) => tx.run('insert into keyed (k) values (null)'))
    expect(shadowOf(leader)).toMatchObject({ refused: 0, groups: 2 })
    await leader.write((tx) => tx.exec('create table loose (x)'))
    await leader.write((tx) => tx.run('insert into loose (x) values (1)'))
    expect(shadowOf(leader)).toMatchObject({ refused: 2, groups: 2 })
    expect(shadowOf(leader).lastReason).toMatch(/^TABLE_WITHOUT_PRIMARY_KEY /)
    await leader.write((tx) => tx.run("insert into keyed (k) values ('a')"))
    expect(shadowOf(leader)).toMatchObject({ refused: 2, groups: 3 })
    await caughtUp(leader, follower)
    await cluster.verify(leader, follower)
  })

  test('a table without a key that is made in a write which is rolled back refuses nothing', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ format: wal, shadow: row })
    await fill(leader, 5)
    const bad = leader.write((tx) => {
      tx.exec('create table loose (x); insert into loose (x) values (1)')
      throw new Error('mine')
    })
    const good = insertNote(leader, 'good')
    await expect(bad).rejects.toThrow('mine')
    await good
    expect(shadowOf(leader)).toMatchObject({ refused: 0 })
  })

  test('what SQLite refuses it refuses beside a shadow too, in statements that the shadow refuses', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ shadow: statementFormat() })
    await fill(leader, 5)
    await leader.write((tx) =>
      tx.exec('create table c (id integer primary key, d check (datetime(d) is not null))'),
    )
    const unsafe = 'insert into c (d) select ? from note where id in (select id from note limit 3)'
    await leader.write((tx) => tx.run(unsafe, ['2026-01-01']))
    expect(shadowOf(leader).lastReason).toMatch(/^STATEMENT_UNSAFE /)
    await expect(leader.write((tx) => tx.run(unsafe, ['now']))).rejects.toThrow(
      /non-deterministic use of datetime/,
    )
  })

  test('results of functions are those without a shadow; a write that only reads makes no record', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ format: wal, shadow: statementFormat() })
    await fill(leader, 20)
    const at = leader.applied
    const { value } = await leader.write((tx) => {
      const [first, second] = tx.all("select strftime('%f', 'now') as at from note limit 2")
      return [first?.['at'] === second?.['at'], tx.get('select changes() as n, last_insert_rowid() as id')]
    })
    expect(leader.applied).toEqual(at)
    expect(value).toEqual([true, { n: 1, id: 20 }])
    const { value: after } = await leader.write((tx) => {
      tx.run('update note set body = ? where id < 4', ['x'])
      return tx.get('select changes() as n')
    })
    expect(after).toEqual({ n: 3 })
  })

  test('a change of format keeps the shadow and counts anew; one to the shadow itself ends it', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ formats: FORMATS, shadow: lenient })
    await fill(leader, 20)
    const follower = await cluster.follower('b', { formats: FORMATS })
    await leader.switchFormat('wal')
    expect(shadowOf(leader)).toMatchObject({
      format: 'statement',
      groups: 0,
      primary: { format: 'wal', groups: 0 },
    })
    await insertNote(leader, 'wal')
    expect(shadowOf(leader)).toMatchObject({ groups: 1, primary: { groups: 1 } })
    await leader.switchFormat('statement')
    expect(leader.status().shadow).toBeUndefined()
    await insertNote(leader, 'statement')
    await leader.switchFormat('row')
    expect(leader.status().shadow).toBeUndefined()
    await insertNote(leader, 'row')
    await caughtUp(leader, follower)
    await cluster.verify(leader, follower)
  })

  test('an FTS5 table beside a shadow of statements', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ shadow: lenient })
    await leader.write((tx) => tx.exec('create virtual table doc using fts5(body)'))
    const follower = await cluster.follower('b')
    for (let n = 0; n < 20; n++)
      await leader.write((tx) => tx.run('insert into doc (body) values (?)', [`word${n} all`]))
    await caughtUp(leader, follower)
    await cluster.verify(leader, follower)
    const found = await follower.read((tx) => tx.get("select count(*) as n from doc where doc match 'all'"))
    expect(found).toEqual({ n: 20 })
  })

  test('what a format of a user throws while it watches reaches nobody', async () => {
    const cluster = new TcpCluster()
    const fails = (): never => {
      throw new Error('mine')
    }
    const shadow: Format = {
      ...lenient,
      id: 40_000,
      name: 'mine',
      recorder: (connection) => {
        connection.observe({ before: fails, after: fails })
        return lenient.recorder(connection, { unapplied: true })
      },
    }
    const leader = await cluster.leader({ shadow })
    await fill(leader, 5)
    expect(shadowOf(leader)).toMatchObject({ format: 'mine', groups: 0, refused: 1, lastReason: 'mine' })
    expect(await leader.read((tx) => tx.get('select count(*) as n from note'))).toEqual({ n: 5 })
  })

  test('a shadow that cannot be is refused before anything is started', async () => {
    const cluster = new TcpCluster()
    await expect(cluster.leader({ shadow: rowFormat() })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(cluster.follower('b', { shadow: wal })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})
