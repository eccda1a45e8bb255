/** All nodes are compared at one position while writes go on; a node whose data someone else changed does not pass. */
import { execFileSync } from 'node:child_process'
import { verifyCluster } from '@understudy/client'
import { generationPaths } from '@understudy/node'
import { expect, test } from 'vitest'
import { TcpCluster, caughtUp, countOf, fill, insertNote, load } from './support/tcp-cluster.ts'

test('008 the digests of three nodes are equal at positions in the middle of a load', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader({ checkpointBytes: 512 * 1024 })
  await fill(leader, 500)
  await leader.write((tx) => tx.exec('create table side (k text primary key, v real) without rowid'))
  const followers = [await cluster.follower('b'), await cluster.follower('c')]
  const writers = load(16, (n) =>
    leader.write([
      { sql: 'insert into note (body) values (?)', params: [`n${n}`] },
      { sql: 'insert or replace into side values (?, ?)', params: [`k${n % 50}`, n / 7] },
      { sql: 'delete from note where id = ?', params: [n - 100] },
    ]),
  )
  const positions: number[] = []
  for (let round = 0; round < 3; round++) {
    await writers.more(100)
    const report = await cluster.verify(leader, ...followers)
    expect(report.tables.map(({ table }) => table).toSorted()).toEqual([
      '_understudyids',
      'note',
      'side',
      'sqlite_sequence',
    ])
    positions.push(report.position.lsn)
  }
  expect(positions).toEqual(positions.toSorted((a, b) => a - b))
  await writers.stop()
  expect(leader.applied.lsn).toBeGreaterThan(positions.at(-1) ?? 0)
})

test('008 a follower whose file someone else changed stops before its next record and says so', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await fill(leader, 5)
  const follower = await cluster.follower('b')
  await caughtUp(leader, follower)
  const { database } = generationPaths(cluster.directory('b'), 1)
  // In another process: the same process would share, and drop, SQLite's locks.
  execFileSync(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    '--eval',
    `new (require('node:sqlite').DatabaseSync)(process.argv[1]).exec("update note set body = 'tampered' where id = 2")`,
    database,
  ])
  await insertNote(leader, 'next')
  const failed = await cluster.events['b']?.until('failed')
  expect(failed?.error.code).toBe('FOREIGN_WRITE')
  expect(await countOf(follower)).toBe(5)
  const clients = [await cluster.client(leader), await cluster.client(follower)] as const
  const verdict = await verifyCluster({ leader: clients[0], nodes: [clients[1]], timeoutMs: 300 }).then(
    ({ ok }) => ok,
    () => false,
  )
  expect(verdict).toBe(false)
})
