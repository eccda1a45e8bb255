/** Three members, of which some are killed, stopped or cut off. */
import { isUnderstudyError, type Coordinator } from '@understudy/contracts'
import { keepLeases, processClock } from '@understudy/coordination'
import { etcdCoordinator } from '@understudy/coordinator-etcd'
import { until } from '@understudy/testkit/until'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { HAS_ETCD, startEtcd, WHY_SKIPPED, type EtcdCluster, type Member } from './support/etcd.ts'
import { startRelay } from './support/relay.ts'
import { STATE } from './support/state.ts'
import { Watched } from './support/watched.ts'

if (!HAS_ETCD) process.stderr.write(`skipped: ${WHY_SKIPPED}\n`)

const clock = processClock()

describe.skipIf(!HAS_ETCD)('three members', () => {
  let etcd: EtcdCluster
  let coordinator: Coordinator

  beforeEach(async () => {
    etcd = await startEtcd({ members: 3 })
    coordinator = etcdCoordinator({ endpoints: etcd.endpoints, cluster: 'c', attemptMs: 300, refreshMs: 300 })
  })
  afterEach(async () => {
    await coordinator.close()
    await etcd[Symbol.asyncDispose]()
  })

  const others = (member: Member): string[] => etcd.endpoints.filter((url) => url !== member.url)

  test.each(['SIGKILL', 'SIGSTOP'] as const)(
    'the leader of etcd gets %s: a lease outlives the election, and nobody else gets it',
    async (signal) => {
      const leader = await etcd.leader()
      // The leader is asked first, so that its end is noticed in a renewal.
      const endpoints = [leader.url, ...others(leader)]
      const holder = etcdCoordinator({ endpoints, cluster: 'c', attemptMs: 300 })
      const keeper = await keepLeases({ coordinator: holder, ttlMs: 5000 })
      const lease = await keeper.acquire({ holder: 'a', epoch: 1 })
      const before = (await coordinator.observe()).lease!
      if (signal === 'SIGKILL') await leader.kill()
      else leader.signal(signal)
      // Until it was renewed by the new quorum.
      for (let renewals = 0, { beat } = before; renewals < 2;) {
        const seen = await coordinator.observe().catch(() => undefined)
        expect(lease.isValid()).toBe(true)
        if (seen === undefined) continue
        expect(seen.lease?.grant).toBe(lease.grant)
        if (seen.lease?.beat !== beat) renewals += 1
        beat = seen.lease?.beat ?? beat
        const rival = coordinator.acquire({ holder: 'b', epoch: 2, ttlMs: 5000 })
        await expect(rival).rejects.toMatchObject({
          code: expect.stringMatching(/LEASE_HELD|COORDINATOR_UN/),
        })
      }
      await lease.release()
      await keeper.close()
      await holder.close()
    },
  )

  test('without a quorum nothing is done, and the lease ends; with it again everything is there', async () => {
    const lease = await coordinator.acquire({ holder: 'a', epoch: 1, ttlMs: 1000 })
    const revision = await coordinator.publish(STATE, { expected: '0' })
    const [first, second] = etcd.members
    await Promise.all([first!.kill(), second!.kill()])
    await expect(coordinator.observe({ timeoutMs: 400 })).rejects.toMatchObject({
      code: 'COORDINATOR_UNAVAILABLE',
    })
    await expect(lease.renew({ timeoutMs: 300 })).rejects.toMatchObject({
      code: expect.stringMatching(/COORDINATOR_UN/),
    })
    await until(clock, lease.validUntilMs)
    expect(lease.lost.aborted).toBe(true)
    first!.start()
    const seen = await coordinator.observe({ timeoutMs: 20_000 })
    expect(seen).toMatchObject({ revision, lease: { grant: lease.grant } })
    // The renewal that nobody answered may still be carried out, and is waited for like any other.
    for (let { freeAtMs } = seen.lease!; ; freeAtMs = (await coordinator.observe()).lease!.freeAtMs) {
      await until(clock, freeAtMs)
      const next = await coordinator
        .acquire({ holder: 'b', epoch: 2, ttlMs: 1000, timeoutMs: 20_000 })
        .catch((error: unknown) => error)
      if (isUnderstudyError(next, 'LEASE_HELD')) continue
      expect(next).toMatchObject({ holder: 'b', epoch: 2 })
      break
    }
    expect(lease.lost.aborted).toBe(true)
  })

  test('a member that is stopped or gone is left for another one, by calls and by a watch', async () => {
    const follower = etcd.members.find(({ url }) => url !== etcd.endpoints[0])!
    const leader = await etcd.leader()
    const member = leader === follower ? etcd.members[0]! : follower
    const watching = etcdCoordinator({
      endpoints: [member.url, ...others(member)],
      cluster: 'c',
      attemptMs: 300,
      refreshMs: 300,
    })
    const watched = new Watched()
    watching.watch(watched.watcher)
    await watched.until(({ last }) => last?.revision === '0')
    member.signal('SIGSTOP')
    const startMs = clock.monotonic()
    await watching.observe()
    expect(clock.monotonic() - startMs).toBeLessThan(1500)
    const first = await coordinator.publish(STATE, { expected: '0' })
    await watched.until(({ last }) => last?.revision === first)
    await member.kill()
    const second = await coordinator.publish({ ...STATE, paused: true }, { expected: first })
    await watched.until(({ last }) => last?.revision === second)
    expect(watched.unreachable).toBe(0)
    await watching.close()
  })

  test('a node that is cut off from one member after the other goes on while one is left', async () => {
    const relays = await Promise.all(etcd.endpoints.map((url) => startRelay(url)))
    const cut = etcdCoordinator({ endpoints: relays.map(({ url }) => url), cluster: 'c', attemptMs: 200 })
    const lease = await cut.acquire({ holder: 'a', epoch: 1, ttlMs: 3000 })
    await relays[0]!.begin('silent')
    await lease.renew({ timeoutMs: 1500 })
    await relays[1]!.begin('refused')
    await lease.renew({ timeoutMs: 1500 })
    await relays[2]!.begin('silent')
    const { validUntilMs } = lease
    await expect(lease.renew({ timeoutMs: 700 })).rejects.toMatchObject({ code: 'COORDINATOR_UNCERTAIN' })
    expect(lease.validUntilMs).toBe(validUntilMs)
    await relays[1]!.end()
    await lease.renew({ timeoutMs: 1500 })
    expect(lease.validUntilMs).toBeGreaterThan(validUntilMs)
    await cut.close()
    await Promise.all(relays.map((relay) => relay[Symbol.asyncDispose]()))
  })

  test('of candidates that promote themselves while etcd elects its leader, one succeeds', async () => {
    const names = ['a', 'b', 'c', 'd']
    const leader = await etcd.leader()
    const candidates = names.map(() =>
      etcdCoordinator({ endpoints: [leader.url, ...others(leader)], cluster: 'c', attemptMs: 300 }),
    )
    const killing = leader.kill()
    const outcomes = await Promise.allSettled(
      candidates.map(async (candidate, at) => {
        const name = names[at]!
        const call = { timeoutMs: 20_000 }
        const lease = await candidate.acquire({ holder: name, epoch: 1, ttlMs: 30_000, ...call })
        const state = { ...STATE, runId: name, leader: { name, addresses: [] } }
        await candidate.publish(state, { expected: '0', grant: lease.grant, ...call })
        return name
      }),
    )
    await killing
    const won = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    expect(won).toHaveLength(1)
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'LEASE_HELD' })
    const seen = await coordinator.observe({ timeoutMs: 20_000 })
    expect([seen.state?.leader?.name, seen.lease?.holder]).toEqual([won[0], won[0]])
    await Promise.all(candidates.map((candidate) => candidate.close()))
  })
})
