/** The rows that differ are found as of one position while writes go on; a node that stopped says which tables differ. */
import { rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { verifyCluster, type OneSide } from '@understudy/client'
import { statementFormat, type DivergenceReport } from '@understudy/format-statement'
import { generationPaths } from '@understudy/node'
import { expect, test } from 'vitest'
import { TcpCluster, caughtUp, fill, insertNote, load } from './support/tcp-cluster.ts'

/** Changes a closed node's database as another program would after a crash, of which no node remembers anything. */
function plant(cluster: TcpCluster, name: string, sql: string): void {
  const path = generationPaths(cluster.directory(name), 1).database
  rmSync(`${path}.closed`)
  const database = new DatabaseSync(path)
  try {
    database.exec(sql)
  } finally {
    database.close()
  }
}

const values = ({ rows }: OneSide): unknown[] => rows.map((row) => row.values)

test('018 exactly the rows that differ are shown, by table and side, under load', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await fill(leader, 5000, 10)
  await leader.write((tx) => {
    tx.exec('create table side (k text collate nocase primary key, v) without rowid')
    tx.exec('create table same (id integer primary key)')
    tx.run('insert into same values (1)')
    tx.run(`insert into side values ('b', 1), ('A', 1), ('c', x'61')`)
  })
  let follower = await cluster.follower('b')
  await caughtUp(leader, follower)
  await follower.close()
  plant(
    cluster,
    'b',
    `update note set body = 'tampered' where id = 2;
     delete from note where id in (10, 4000);
     insert into note (id, body) values (-7, null);
     update side set v = 1.0 where k = 'A';
     update side set v = 'a' where k = 'c';`,
  )
  follower = await cluster.follower('b')
  const writers = load(8, (n) => insertNote(leader, `n${n}`))
  await writers.more(200)
  const clients = [await cluster.client(leader), await cluster.client(follower)] as const
  const seen: number[] = []
  for (let round = 0; round < 2; round++) {
    const report = await verifyCluster({
      leader: clients[0],
      nodes: clients,
      rows: { max: 2, onProgress: ({ rows }) => seen.push(rows) },
    })
    await writers.more(100)
    expect(report).toMatchObject({ ok: false, failures: {} })
    const [note, side, ...others] = report.differences ?? []
    expect(others).toEqual([])
    expect(note).toMatchObject({
      table: 'note',
      node: 'b',
      key: ['id'],
      columns: ['id', 'body'],
      onlyLeader: { count: 3 },
      onlyNode: { count: 2 },
      complete: true,
    })
    if (note === undefined || side === undefined) throw new Error('two tables differ')
    expect(values(note.onlyLeader)).toEqual([
      [2, '1 '.padEnd(10, 'x')],
      [10, '9 '.padEnd(10, 'x')],
    ])
    expect(values(note.onlyNode)).toEqual([
      [-7, null],
      [2, 'tampered'],
    ])
    expect(side).toMatchObject({ table: 'side', key: ['k'], complete: true })
    expect(side.onlyLeader.rows).toEqual([
      { types: 'ti', values: ['A', 1] },
      { types: 'tb', values: ['c', Uint8Array.of(97)] },
    ])
    expect(side.onlyNode.rows).toEqual([
      { types: 'tr', values: ['A', 1] },
      { types: 'tt', values: ['c', 'a'] },
    ])
    // Let go of: a view holds back the restart of the log file.
    await expect(clients[0].rows(report.position, 'note', 0)).rejects.toMatchObject({ code: 'POSITION_LOST' })
  }
  expect(Math.max(...seen)).toBeGreaterThan(10_000)
  await writers.stop()
})

test('018 rows of a view that was kept come page by page, in order, and only where the last page ended', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await fill(leader, 5000, 10)
  const client = await cluster.client(leader)
  const at = await client.mark()
  await expect(client.rows(at, 'note', 0)).rejects.toMatchObject({ code: 'POSITION_LOST' })
  await client.digest(at, { keep: true })
  await leader.write((tx) => tx.exec('delete from note'))
  const ids: unknown[] = []
  for (;;) {
    const { rows } = await client.rows(at, 'note', ids.length)
    if (rows.length === 0) break
    expect(rows.length).toBeLessThan(5000)
    ids.push(...rows.map((row) => row[1]))
  }
  expect(ids).toEqual(Array.from({ length: 5000 }, (_, i) => i + 1))
  await expect(client.rows(at, 'note', 17)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  await expect(client.rows(at, 'nothing', 0)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  await expect(client.rows(at, '_understudy_position', 0)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
})

test('018 a follower that did otherwise stops before the record, reports its rows, and verify says so', async () => {
  const cluster = new TcpCluster()
  const reports: DivergenceReport[] = []
  const format = statementFormat({ onDivergence: (report) => reports.push(report) })
  const leader = await cluster.leader({ format })
  await fill(leader, 5, 3)
  let follower = await cluster.follower('b', { format })
  await caughtUp(leader, follower)
  const before = follower.applied
  await follower.close()
  plant(cluster, 'b', `update note set body = 'tampered' where id = 2`)
  follower = await cluster.follower('b', { format })
  await leader.write([{ sql: "update note set body = body || '!' where id < 4" }])
  await cluster.events['b']?.untilState('diverged')
  expect(follower.applied.lsn).toBe(before.lsn)
  expect(reports).toMatchObject([
    {
      statements: ["update note set body = body || '!' where id < 4"],
      tables: [{ table: 'note', leaderRows: 3, ownRows: 3 }],
    },
  ])
  expect(JSON.stringify(reports[0]?.tables[0]?.changes)).toContain('tampered!')
  const clients = [await cluster.client(leader), await cluster.client(follower)] as const
  const report = await verifyCluster({ leader: clients[0], nodes: clients, rows: {} })
  expect(report).toMatchObject({ ok: false, differences: [], failures: { b: { code: 'DIVERGED' } } })
  expect(report.failures['b']?.message).toContain('the rows of note')
  expect(report.failures['b']?.message).toContain('cannot be compared')
})
