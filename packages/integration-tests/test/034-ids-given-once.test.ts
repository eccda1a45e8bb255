/**
 * The incident: an outside store is keyed by ids that a database gave. The leader is lost with commits that no follower had, a
 * follower takes its place, and gives the same ids to other rows: the store shows one customer what belongs to another.
 */
import type { LogFormat, SqliteConnection, WriteTransaction } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { statementFormat } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'
import type { UnderstudyNode } from '@understudy/node'
import { type WriteOptions, type WriteResult } from '@understudy/replication'
import { expect, test } from 'vitest'
import { promote } from './support/promoted.ts'
import { TcpCluster, caughtUp } from './support/tcp-cluster.ts'

const TABLE = 'create table customer (id integer primary key autoincrement, name text)'
const FORMATS: readonly LogFormat<SqliteConnection>[] = [rowFormat(), statementFormat(), walFormat()]

interface Writes {
  write<R>(body: (tx: WriteTransaction) => R, options?: WriteOptions): Promise<WriteResult<R>>
}

/** What some other system keeps, by the id that the database gave. */
class OutsideStore {
  readonly owners = new Map<number | bigint, string>()
  readonly mixedUp: (number | bigint)[] = []

  async add(leader: Writes, count: number, prefix: string): Promise<void> {
    const names = Array.from({ length: count }, (_, index) => `${prefix} ${index}`)
    await Promise.all(
      names.map(async (name) => {
        const { value: id } = await leader.write(
          (tx) => tx.run('insert into customer (name) values (?)', [name]).lastInsertRowid,
        )
        if (this.owners.has(id)) this.mixedUp.push(id)
        else this.owners.set(id, name)
      }),
    )
  }
}

const until = async (
  node: UnderstudyNode,
  is: (ids: NonNullable<ReturnType<UnderstudyNode['status']>['ids']>) => boolean,
): Promise<void> => {
  await expect
    .poll(
      () => {
        const { ids } = node.status()
        return ids !== undefined && is(ids)
      },
      { interval: 5, timeout: 10_000 },
    )
    .toBe(true)
}

test.each(FORMATS)('034 no id of a lost leader is given again: $name', async (format) => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader({ format, ids: {} })
  const follower = await cluster.follower('b', { format, link: { heartbeatMs: 20, deadlineMs: 2000 } })
  await leader.write((tx) => tx.exec(TABLE))
  const store = new OutsideStore()
  await store.add(leader, 50, 'before')
  await caughtUp(leader, follower)
  await until(leader, ({ members }) => members?.includes('b') === true)
  await follower.close()
  // Commits that nobody else has.
  await store.add(leader, 200, 'lost')
  await leader.close()

  const { pipeline, storage } = await promote(cluster.directory('b'), 'b', format)
  await store.add(pipeline, 300, 'after')
  expect(store.mixedUp).toEqual([])
  expect(store.owners.size).toBe(550)
  // Only what the follower had is there, beside what came after.
  const rows = await storage.read((tx) => tx.get('select count(*) as n from customer'))
  expect(Number(rows?.['n'])).toBe(350)
})
