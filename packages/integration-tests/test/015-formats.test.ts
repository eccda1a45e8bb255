/** The same application on each log format, and a cluster that changes between them while writes go on. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LogFormat, SqliteConnection } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { statementFormat } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'
import type { UnderstudyNode } from '@understudy/node'
import { describe, expect, test } from 'vitest'
import { TcpCluster, caughtUp, countOf, fill, load } from './support/tcp-cluster.ts'

type Format = LogFormat<SqliteConnection>
const row = rowFormat()
const FORMATS: readonly Format[] = [row, statementFormat({ unsafe: 'row', row }), walFormat()]

const insert = (leader: UnderstudyNode, n: number): Promise<unknown> =>
  leader.write((tx) => {
    tx.run('insert into note (body) values (?)', [`n${n}`])
    if (n % 7 === 0) tx.run('update note set body = body || ? where id = ?', ['+', (n % 50) + 1])
  })

/** Every file of the database as it is once all of it is checkpointed. */
function fileOf(cluster: TcpCluster, name: string, generation: number): Buffer {
  return readFileSync(join(cluster.directory(name), `generation-${generation}`, 'database.sqlite'))
}

describe('015 formats', () => {
  test.for(FORMATS)('$name: load, a late follower, restarts of both, equal data', async (format) => {
    const cluster = new TcpCluster()
    let leader = await cluster.leader({ format, formats: FORMATS })
    await fill(leader, 50)
    let follower = await cluster.follower('b', { format, formats: FORMATS })
    let writers = load(16, (n) => insert(leader, n))
    await writers.more(400)
    const late = await cluster.follower('c', { format, formats: FORMATS })
    await writers.more(400)
    await cluster.verify(leader, follower, late)
    await follower.close()
    await writers.more(200)
    follower = await cluster.follower('b', { format, formats: FORMATS })
    await writers.stop()
    await leader.close()
    leader = await cluster.leader({ format, formats: FORMATS })
    expect(leader.status().format).toBe(format.name)
    writers = load(4, (n) => insert(leader, n))
    await writers.more(100)
    await writers.stop()
    await caughtUp(leader, follower, late)
    await cluster.verify(leader, follower, late)
    expect(await countOf(follower)).toBe(await countOf(leader))
    // A restart is no reason for a second snapshot.
    expect(cluster.events['b']?.of('bootstrapped')).toEqual([])
  })

  test('every change between formats under load, with a restart of each node after it', async () => {
    const cluster = new TcpCluster()
    let format = FORMATS[0] as Format
    let leader = await cluster.leader({ format, formats: FORMATS })
    await fill(leader, 50)
    await leader.write((tx) => {
      tx.exec(
        'create table audit (id integer primary key, note integer); create trigger t after insert on note begin insert into audit (note) values (new.id); end',
      )
    })
    let follower = await cluster.follower('b', { formats: FORMATS })
    for (const name of ['statement', 'wal', 'row', 'wal', 'statement', 'row']) {
      const writers = load(8, (n) => insert(leader, n))
      await writers.more(50)
      const point = await leader.switchFormat(name)
      expect(leader.status().format).toBe(name)
      await writers.more(50)
      await follower.read(() => 0, { after: point, timeoutMs: 30_000 })
      await cluster.verify(leader, follower)
      await writers.stop()
      await caughtUp(leader, follower)
      await leader.close()
      format = FORMATS.find((each) => each.name === name) as Format
      leader = await cluster.leader({ format, formats: FORMATS })
      await insert(leader, 1)
      await follower.close()
      follower = await cluster.follower('b', { formats: FORMATS })
      await caughtUp(leader, follower)
      await cluster.verify(leader, follower)
      expect(await countOf(follower, 'audit')).toBe(await countOf(leader, 'audit'))
    }
  })

  test('statement to row and back needs no snapshot; a change to wal sends only what differs', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ formats: FORMATS })
    await fill(leader, 20_000)
    const follower = await cluster.follower('b', { formats: FORMATS })
    const events = cluster.events['b']
    const snapshots = (): number => events?.of('bootstrapped').length ?? 0
    await leader.switchFormat('statement')
    await insert(leader, 1)
    await leader.switchFormat('row')
    await insert(leader, 2)
    await caughtUp(leader, follower)
    expect(snapshots()).toBe(1)
    const point = await leader.switchFormat('wal')
    await insert(leader, 3)
    await follower.read(() => 0, { after: point, timeoutMs: 30_000 })
    await caughtUp(leader, follower)
    expect(snapshots()).toBe(2)
    const delta = events?.of('bootstrapped')[1]
    expect(delta?.bytes).toBeGreaterThan(2_000_000)
    expect(delta?.transferredBytes).toBeLessThan((delta?.bytes ?? 0) / 2)
    await leader.switchFormat('row')
    await insert(leader, 4)
    await caughtUp(leader, follower)
    await cluster.verify(leader, follower)
    expect(snapshots()).toBe(2)
  })

  test('a format that the node was not given is refused, and the old one stays', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader()
    await expect(leader.switchFormat('wal')).rejects.toMatchObject({ code: 'FORMAT_UNKNOWN' })
    await expect(leader.switchFormat(walFormat())).rejects.toMatchObject({ code: 'FORMAT_UNKNOWN' })
    expect(leader.status().format).toBe('row')
  })

  test('wal: the files of leader and follower are equal byte for byte once closed', async () => {
    const cluster = new TcpCluster()
    const format = walFormat()
    const leader = await cluster.leader({ format })
    await fill(leader, 500)
    const follower = await cluster.follower('b', { format })
    const writers = load(8, (n) => insert(leader, n))
    await writers.more(500)
    await writers.stop()
    await caughtUp(leader, follower)
    await follower.close()
    await leader.close()
    expect(fileOf(cluster, 'b', 1).equals(fileOf(cluster, 'a', 1))).toBe(true)
  })
})
