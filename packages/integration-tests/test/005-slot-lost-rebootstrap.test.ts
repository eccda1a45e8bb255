/** A follower that was away for too long bootstraps again by itself, by what differs. */
import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { TcpCluster, caughtUp, countOf, fill, insertNote } from './support/tcp-cluster.ts'

const SMALL = { segmentBytes: 64 * 1024, slotBytesMax: 256 * 1024 }

function generations(cluster: TcpCluster, name: string): string[] {
  return readdirSync(cluster.directory(name)).filter((entry) => entry.startsWith('generation-'))
}

test('005 a slot over its cap is lost, and its follower bootstraps again by delta', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader(SMALL)
  await fill(leader, 20_000, 500)
  const first = await cluster.follower('b')
  await caughtUp(leader, first)
  const whole = cluster.events['b']?.of('bootstrapped')[0]?.transferredBytes ?? 0
  await first.close()

  for (let i = 0; i < 10; i++) {
    await leader.write((tx) => tx.run("update note set body = body || '!' where id <= 100"))
    await fill(leader, 100, 500)
  }
  await leader.checkpoint()
  expect(leader.slots().find(({ name }) => name === 'b')?.state).toBe('lost')

  const again = await cluster.follower('b')
  const events = cluster.events['b']
  await events?.until('bootstrapped')
  expect(events?.of('state').map(({ state }) => state)).toContain('snapshotRequired')
  await events?.untilState('streaming')
  await caughtUp(leader, again)
  const delta = events?.of('bootstrapped')[0]
  expect(delta?.bytes).toBeGreaterThan(whole)
  expect(delta?.transferredBytes).toBeLessThan(whole / 2)
  expect(await countOf(again)).toBe(21_000)
  await cluster.verify(leader, again)
  expect(leader.slots().find(({ name }) => name === 'b')?.state).toBe('reserved')
  // The old one was kept until the new one streamed, then it went.
  expect(generations(cluster, 'b')).toEqual(['generation-2'])
}, 120_000)

test('005 a read that waits for a position goes on in the new data', async () => {
  const cluster = new TcpCluster()
  let leader = await cluster.leader(SMALL)
  await fill(leader, 100)
  const { address } = leader
  const first = await cluster.follower('b')
  await caughtUp(leader, first)
  await first.close()
  await fill(leader, 5000)
  await leader.checkpoint()
  await fill(leader, 5000)
  await leader.checkpoint()
  expect(leader.slots().find(({ name }) => name === 'b')?.state).toBe('lost')
  const { receipt } = await insertNote(leader, 'the last')
  await leader.close()

  // It serves old data until the leader tells it that its log is gone.
  const follower = await cluster.follower('b')
  const waiting = follower.read((tx) => tx.get('select body from note order by id desc limit 1'), {
    after: receipt.position,
    timeoutMs: 60_000,
  })
  leader = await cluster.leader(SMALL)
  expect(leader.address).toBe(address)
  expect(await waiting).toEqual({ body: 'the last' })
  expect(cluster.events['b']?.of('bootstrapped')).toHaveLength(1)
}, 120_000)
