/** One member that is killed, stopped, cut off or compacted. */
import type { Coordinator } from '@understudy/contracts'
import { keepLeases, processClock } from '@understudy/coordination'
import { etcdCoordinator } from '@understudy/coordinator-etcd'
import { until } from '@understudy/testkit/until'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { HAS_ETCD, post, startEtcd, WHY_SKIPPED, type EtcdCluster } from './support/etcd.ts'
import { startRelay } from './support/relay.ts'
import { STATE } from './support/state.ts'
import { Watched } from './support/watched.ts'

if (!HAS_ETCD) process.stderr.write(`skipped: ${WHY_SKIPPED}\n`)

const clock = processClock()

describe.skipIf(!HAS_ETCD)('one member', () => {
  let etcd: EtcdCluster
  let coordinator: Coordinator

  beforeEach(async () => {
    etcd = await startEtcd()
    coordinator = etcdCoordinator({ endpoints: etcd.endpoints, cluster: 'c', refreshMs: 200 })
  })
  afterEach(async () => {
    await coordinator.close()
    await etcd[Symbol.asyncDispose]()
  })

  test('killed: the lease ends in time; restarted: everything is there, and the epoch is used up', async () => {
    const [member] = etcd.members
    const keeper = await keepLeases({ coordinator, ttlMs: 800 })
    const lease = await keeper.acquire({ holder: 'a', epoch: 7 })
    const revision = await coordinator.publish({ ...STATE, epoch: 7 }, { expected: '0', grant: lease.grant })
    const watched = new Watched()
    coordinator.watch(watched.watcher)
    await watched.until(({ last }) => last?.revision === revision)
    const killedMs = clock.monotonic()
    await member!.kill()
    await new Promise<void>((resolve) => {
      lease.lost.addEventListener('abort', () => resolve())
    })
    expect(clock.monotonic() - killedMs).toBeLessThan(800)
    await watched.until(({ unreachable }) => unreachable === 1)
    await expect(coordinator.observe({ timeoutMs: 200 })).rejects.toMatchObject({
      code: 'COORDINATOR_UNAVAILABLE',
    })
    const count = watched.observed.length
    member!.start()
    await watched.until(({ observed }) => observed.length > count)
    expect(watched.last).toMatchObject({ revision, state: { epoch: 7 }, lease: { holder: 'a', epoch: 7 } })
    expect(lease.isValid()).toBe(false)
    const { freeAtMs } = watched.last!.lease!
    await until(clock, freeAtMs)
    await expect(keeper.acquire({ holder: 'a', epoch: 7 })).rejects.toMatchObject({ code: 'LEASE_HELD' })
    const seen = watched.last!.lease!
    await expect(keeper.acquire({ holder: 'a', epoch: 7, seen })).rejects.toMatchObject({
      code: 'EPOCH_STALE',
    })
    const next = await keeper.acquire({ holder: 'a', epoch: 8, seen })
    expect(next.isValid()).toBe(true)
    await keeper.close()
  })

  test('stopped: nothing hangs, a lease ends in time; continued: it goes on', async () => {
    const [member] = etcd.members
    const lease = await coordinator.acquire({ holder: 'a', epoch: 1, ttlMs: 800 })
    const watched = new Watched()
    coordinator.watch(watched.watcher)
    await watched.until(({ last }) => last?.lease?.grant === lease.grant)
    member!.signal('SIGSTOP')
    const startMs = clock.monotonic()
    await expect(lease.renew({ timeoutMs: 200 })).rejects.toMatchObject({ code: 'COORDINATOR_UNCERTAIN' })
    await expect(coordinator.observe({ timeoutMs: 200 })).rejects.toMatchObject({
      code: 'COORDINATOR_UNAVAILABLE',
    })
    expect(clock.monotonic() - startMs).toBeLessThan(700)
    const publishing = coordinator.publish(STATE, { expected: '0', timeoutMs: 60_000 })
    await watched.until(({ unreachable }) => unreachable === 1)
    await until(clock, lease.validUntilMs)
    expect(lease.lost.aborted).toBe(true)
    member!.signal('SIGCONT')
    // It waited for all this time, and is carried out once.
    const revision = await publishing
    await watched.until(({ last }) => last?.revision === revision)
    expect(watched.unreachable).toBe(1)
    await expect(lease.renew()).rejects.toMatchObject({ code: 'LEASE_LOST' })
  })

  test('compacted under a watch whose connection breaks: it goes on with the newest state', async () => {
    await using relay = await startRelay(etcd.endpoints[0]!)
    const cut = etcdCoordinator({ endpoints: [relay.url], cluster: 'c', refreshMs: 60_000 })
    const watched = new Watched()
    cut.watch(watched.watcher)
    await watched.until(({ last }) => last?.revision === '0')
    await relay.begin('silent')
    let revision = '0'
    for (let round = 0; round < 30; round++)
      revision = await coordinator.publish({ ...STATE, paused: round % 2 === 0 }, { expected: revision })
    const range = (await post(etcd.endpoints[0]!, '/v3/kv/range', { key: 'AA==' }))!
    const newest = (range['header'] as { revision: string }).revision
    expect(
      await post(etcd.endpoints[0]!, '/v3/kv/compaction', { revision: newest, physical: true }),
    ).toBeDefined()
    await relay.end()
    relay.reset()
    await watched.until(({ last }) => last?.revision === revision)
    // And hears of what comes after, without looking by itself.
    const next = await coordinator.publish(STATE, { expected: revision })
    await watched.until(({ last }) => last?.revision === next)
    await cut.close()
  })

  test('what was written by something else is no lease', async () => {
    await coordinator.acquire({ holder: 'a', epoch: 1, ttlMs: 800 })
    for (const [value, code] of [
      ['{', 'STATE_CORRUPT'],
      ['{"version":1,"holder":"a"}', 'STATE_CORRUPT'],
      ['{"version":2}', 'FORMAT_VERSION'],
    ] as const) {
      const key = Buffer.from('/understudy/c/lease').toString('base64')
      await post(etcd.endpoints[0]!, '/v3/kv/put', { key, value: Buffer.from(value).toString('base64') })
      await expect(coordinator.observe()).rejects.toMatchObject({ code })
    }
  })

  test('clusters of one etcd know nothing of each other', async () => {
    const other = etcdCoordinator({ endpoints: etcd.endpoints, cluster: 'c-2' })
    await coordinator.acquire({ holder: 'a', epoch: 1, ttlMs: 800 })
    await coordinator.publish(STATE, { expected: '0' })
    expect(await other.observe()).toMatchObject({ revision: '0' })
    await other.acquire({ holder: 'b', epoch: 1, ttlMs: 800 })
    expect((await coordinator.observe()).lease?.holder).toBe('a')
    await other.close()
  })
})
