/** One leader, its followers, the real log on simulated disks: streaming, crashes, power losses, cut networks. */
import { isUnderstudyError, type Log, type LogPoint } from '@understudy/contracts'
import { describe, expect, test } from 'vitest'
import { SimulatedCluster, type SimulatedNode } from './support/simulated-cluster.ts'

/** Every record of a log as one byte string. */
function bytesOf(log: Log, from: number): Buffer {
  const parts: Uint8Array[] = []
  for (let lsn = from; ;) {
    const records = log.read(lsn)
    if (records === undefined) return Buffer.concat(parts)
    parts.push(records.bytes)
    lsn = records.last + 1
  }
}

function expectEqual(leader: SimulatedNode, follower: SimulatedNode): void {
  const { log } = leader.alive
  const from = Math.max(log.first, follower.alive.log.first)
  expect(follower.alive.log.end).toEqual(log.end)
  expect(follower.alive.log.history).toEqual(log.history)
  expect(bytesOf(follower.alive.log, from).equals(bytesOf(log, from))).toBe(true)
  expect(follower.storage.digest()).toBe(leader.storage.digest())
}

describe('001 stream', () => {
  test('a leader and two followers hold the same records and the same data', async () => {
    const cluster = new SimulatedCluster('001')
    const [a, b, c] = [cluster.node('a'), cluster.node('b'), cluster.node('c')]
    await cluster.startLeader(a)
    cluster.startFollower(b, 'a')
    const writers = Array.from({ length: 32 }, async (_, i) => {
      for (let n = 0; n < 20; n++) await cluster.set(a, `k${i}`, `${n} ${'x'.repeat(i * 3)}`)
    })
    await cluster.clock.complete(Promise.all(writers))
    cluster.startFollower(c, 'a')
    await cluster.converge(a, b)
    await cluster.converge(a, c)
    expectEqual(a, b)
    expectEqual(a, c)
  })

  test('a transaction of many parts over many segments arrives whole', async () => {
    const cluster = new SimulatedCluster('002', { recordBytesMax: 1000 })
    const [a, b] = [cluster.node('a'), cluster.node('b')]
    await cluster.startLeader(a)
    cluster.startFollower(b, 'a')
    await cluster.clock.complete(cluster.set(a, 'big', 'x'.repeat(200_000)))
    expect(a.alive.log.end.lsn).toBeGreaterThan(200)
    await cluster.converge(a, b)
    expectEqual(a, b)
  })
})

/** What clients were told: the last acknowledged value of each key, and those whose outcome they do not know. */
class Promises {
  readonly acked = new Map<string, { readonly value: string; readonly point: LogPoint }>()
  readonly unknown = new Map<string, Set<string>>()

  async write(cluster: SimulatedCluster, node: SimulatedNode, key: string, value: string): Promise<void> {
    const unknown = this.unknown.get(key) ?? new Set()
    this.unknown.set(key, unknown.add(value))
    try {
      const point = await cluster.set(node, key, value)
      this.acked.set(key, { value, point })
      // Writes are taken in order: those sent before are overwritten, those sent after may still come.
      for (const sent of unknown) {
        unknown.delete(sent)
        if (sent === value) break
      }
    } catch (error) {
      if (isUnderstudyError(error, 'NOT_WRITTEN')) unknown.delete(value)
    }
  }

  /** Nothing that was acknowledged is lost: each key holds its last acknowledged value, or one sent after it. */
  check(node: SimulatedNode): void {
    for (const [key, { value }] of this.acked) {
      const found = node.storage.get(key)
      if (found !== value) expect([...(this.unknown.get(key) ?? [])]).toContain(found)
    }
  }
}

async function randomLife(seed: string): Promise<void> {
  const cluster = new SimulatedCluster(seed, { recordBytesMax: 300, groupWritesMax: 8 })
  const [a, b] = [cluster.node('a'), cluster.node('b')]
  const promises = new Promises()
  const dice = cluster.random.fork('dice')
  await cluster.startLeader(a)
  cluster.startFollower(b, 'a')
  // From here on its slot holds the leader's log back.
  await cluster.converge(a, b)
  let serial = 0
  for (let round = 0; round < 25; round++) {
    for (let i = dice.below(6); i > 0; i--) {
      void promises.write(cluster, a, `k${dice.below(10)}-${i}`, `${serial++} ${'x'.repeat(dice.below(900))}`)
    }
    await cluster.clock.advance(dice.between(0, 20))
    const event = dice.below(10)
    if (event === 0 || event === 1) {
      cluster.crash(b, event === 0 ? 'process' : 'machine')
      await cluster.clock.advance(dice.between(0, 50))
      cluster.startFollower(b, 'a')
    } else if (event === 2 || event === 3) {
      cluster.crash(a, event === 2 ? 'process' : 'machine')
      await cluster.clock.advance(dice.between(0, 50))
      await cluster.startLeader(a)
      promises.check(a)
    } else if (event === 4) {
      const [from, to] = dice.chance(0.5) ? [a, b] : [b, a]
      cluster.network.cut(from.name, to.name)
      await cluster.clock.advance(dice.between(0, 12_000))
      cluster.network.healAll()
    } else if (event === 5) {
      await cluster.checkpoint(dice.chance(0.5) ? a : b)
    }
    expect(b.alive.log.durable).toBeLessThanOrEqual(a.alive.log.end.lsn)
    expect([...a.alive.errors, ...b.alive.errors]).toEqual([])
  }
  await cluster.clock.advance(100)
  await cluster.converge(a, b)
  promises.check(a)
  promises.check(b)
  expectEqual(a, b)
}

describe('crashes, power losses and cut networks at random', () => {
  const seeds = Array.from({ length: Number(process.env['SEEDS'] ?? 40) }, (_, i) => `stream-${i}`)
  for (const seed of seeds) {
    test(`nothing acknowledged is lost and both nodes end equal: seed ${seed}`, async () => {
      await randomLife(seed)
    })
  }
})
