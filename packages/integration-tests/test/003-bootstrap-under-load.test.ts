/** New followers get a snapshot while the leader goes on writing, and lose nothing between snapshot and stream. */
import { expect, test } from 'vitest'
import { TcpCluster, caughtUp, countOf, fill, insertNote, load } from './support/tcp-cluster.ts'

test('003 two followers bootstrap at once under load, one of them slowly', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader({ segmentBytes: 256 * 1024, checkpointBytes: 256 * 1024 })
  for (let i = 0; i < 4; i++) await fill(leader, 2000, 1000)
  const writers = load(8, (n) => insertNote(leader, `n${n}`))
  await writers.more(100)
  const before = writers.writes
  const [quick, slow] = await Promise.all([
    cluster.follower('b'),
    cluster.follower('c', { snapshotBytesPerSecondMax: 16 * 1024 * 1024 }),
  ])
  // The leader was not held up meanwhile.
  expect(writers.writes).toBeGreaterThan(before)
  await Promise.all([
    cluster.events['b']?.untilState('streaming'),
    cluster.events['c']?.untilState('streaming'),
  ])
  for (const name of ['b', 'c']) {
    const bootstrapped = cluster.events[name]?.of('bootstrapped')
    expect(bootstrapped).toHaveLength(1)
    expect(bootstrapped?.[0]?.bytes).toBeGreaterThan(8_000_000)
    const last = cluster.events[name]?.of('snapshot').at(-1)?.progress
    expect(last?.receivedBytes).toBe(last?.totalBytes)
  }
  const report = await cluster.verify(leader, quick, slow)
  expect(report.tables.map(({ table }) => table)).toContain('note')
  await writers.stop()
  await caughtUp(leader, quick, slow)
  for (const node of [quick, slow]) expect(await countOf(node)).toBe(8000 + writers.writes)
  expect(leader.slots().map(({ name }) => name)).toEqual(expect.arrayContaining(['b', 'c', 'local']))
}, 120_000)
