/** A follower that is a million rows behind at a failover catches up without a snapshot. */
import { performance } from 'node:perf_hooks'
import { expect, test } from 'vitest'
import { promote } from './support/parted.ts'
import { TcpCluster, caughtUp, countOf, fill, load } from './support/tcp-cluster.ts'

const ROWS = 1_000_000
const WRITERS = 256

test('032 a follower a million rows behind streams from the new leader', async () => {
  const cluster = new TcpCluster()
  const a = await cluster.leader()
  await fill(a, 10)
  const b = await cluster.follower('b')
  const late = await cluster.follower('c')
  await caughtUp(a, b, late)
  await late.close()
  const writing = load(WRITERS, () =>
    a.write((tx) => tx.run('insert into note (body) values (?)', ['x'.repeat(100)])),
  )
  await writing.more(ROWS)
  await writing.stop()
  await caughtUp(a, b)
  await b.close()
  await a.close()

  promote(cluster, 'b')
  const leader = await cluster.start('b', { role: 'leader', listen: 'tcp://127.0.0.1:0' })
  const startMs = performance.now()
  const c = await cluster.follower('c', { leader: leader.address ?? '' })
  await caughtUp(leader, c)
  const seconds = (performance.now() - startMs) / 1000
  expect(cluster.events['c']?.of('bootstrapped')).toEqual([])
  expect(await countOf(c)).toBeGreaterThanOrEqual(ROWS)
  const at = await leader.mark()
  const [ours, theirs] = await Promise.all([leader, c].map((node) => node.digest(at, { timeoutMs: 120_000 })))
  expect(theirs).toEqual(ours)
  process.stdout.write(
    `${writing.writes} rows behind: caught up in ${seconds.toFixed(1)} s, without a snapshot\n`,
  )
}, 300_000)
