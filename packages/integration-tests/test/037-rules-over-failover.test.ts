/** Rules of acks, profiles and what is told of protection while leaders change. */
import type { PublishedState } from '@understudy/contracts'
import { PROFILES, semiSync, sync, type UnderstudyNode } from '@understudy/node'
import { describe, expect, test } from 'vitest'
import type { FailoverNodes } from './support/failover-nodes.ts'
import { MuffledCluster } from './support/muffled.ts'

type Acks = PublishedState['acks']

const textOf = ({ level, of }: Acks['rule']): string =>
  of === undefined ? level : `${level} ${of.kind} ${of.count} (${of.names.join(', ')})`

/** `durable first 1 (b, c)`; with a next one both, joined by `then`. */
async function published(cluster: FailoverNodes): Promise<string> {
  const { rule, next } = ((await cluster.observe()).state as PublishedState).acks
  return next === undefined ? textOf(rule) : `${textOf(rule)} then ${textOf(next)}`
}

async function untilPublished(cluster: FailoverNodes, rules: string): Promise<void> {
  let found = ''
  let asking = false
  await cluster.until(`${rules} is published`, () => {
    if (!asking) {
      asking = true
      void published(cluster).then((now) => {
        found = now
        asking = false
      })
    }
    return found === rules
  })
}

const acksOf = (node: UnderstudyNode) => {
  const { acks } = node.status()
  if (acks === undefined) throw new Error(`${node.name} does not lead`)
  return acks
}

async function untilAnotherLeads(cluster: FailoverNodes): Promise<UnderstudyNode> {
  await cluster.until('another leads', () => cluster.leader !== undefined)
  return cluster.leader as UnderstudyNode
}

const insert = (node: UnderstudyNode, body: string): ReturnType<UnderstudyNode['write']> =>
  node.write([{ sql: 'insert into t (v) values (?)', params: [body] }])

const schema = (cluster: FailoverNodes): Promise<void> =>
  cluster.write((tx) => tx.exec('create table t (id integer primary key, v text)'))

describe('037 the ack rule', () => {
  test(
    'both rules are published while it changes, then the new one; the next leader keeps it, with the old one in its place',
    { timeout: 60_000 },
    async () => {
      const cut = new MuffledCluster()
      const { cluster } = cut
      const a = await cluster.startAll()
      await schema(cluster)
      expect(await published(cluster)).toBe('durable first 1 (b, c)')
      cut.of('a').isDeaf = true
      const change = a.setAcks('any 2 (b, c)')
      await cluster.until('it changes', () => acksOf(a).change !== undefined)
      expect(await published(cluster)).toBe('durable first 1 (b, c) then durable any 2 (b, c)')
      cut.of('a').isDeaf = false
      await change
      await untilPublished(cluster, 'durable any 2 (b, c)')
      await cluster.node('c').switchover({ target: 'c' })
      expect(acksOf(cluster.node('c')).rule).toBe('durable ANY 2 (b, a)')
      expect(await published(cluster)).toBe('durable any 2 (b, a)')
      await cluster.untilAllStream()
      const { receipt } = await insert(cluster.node('c'), 'x')
      expect(receipt?.members.map(({ name }) => name).toSorted()).toEqual(['a', 'b'])
    },
  )

  test(
    'a leader is replaced in the middle of a change: the next one goes on with it',
    { timeout: 60_000 },
    async () => {
      const cut = new MuffledCluster()
      const { cluster } = cut
      const a = await cluster.startAll()
      await schema(cluster)
      await insert(a, 'before')
      cut.of('a').isDeaf = true
      const outcome = a.setAcks('any 2 (b, c)').catch((error: unknown) => error)
      await cluster.until('it changes', () => acksOf(a).change !== undefined)
      const { durable } = a.status()
      await cluster.until('both have the record', () =>
        ['b', 'c'].every((name) => cluster.node(name).status().durable >= durable),
      )
      await cluster.close('a')
      expect(await outcome).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
      await cluster.until('another leads', () => cluster.nodes.some(({ role }) => role === 'leader'))
      const leader = cluster.nodes.find(({ role }) => role === 'leader') as UnderstudyNode
      const other = leader.name === 'b' ? 'c' : 'b'
      const names = leader.name === 'b' ? 'a, c' : 'b, a'
      expect(await published(cluster)).toBe(`durable first 1 (${names}) then durable any 2 (${names})`)
      await cluster.until('only a is missing', () => acksOf(leader).change?.missing.join() === 'a')
      expect(acksOf(leader).change?.to).toBe(`durable ANY 2 (${names})`)
      expect(leader.status().state).toBe('recovering')
      let isAnswered = false
      const write = insert(leader, 'meanwhile').then((answer) => {
        isAnswered = true
        return answer
      })
      await cluster.until('it waits behind the change', () => (leader.status().writes?.queued ?? 0) >= 1)
      expect(isAnswered).toBe(false)
      cut.of('a').isDeaf = false
      await cluster.start('a')
      const { receipt } = await write
      expect(receipt?.members.map(({ name }) => name).toSorted()).toEqual(['a', other])
      await untilPublished(cluster, `durable any 2 (${names})`)
      expect(acksOf(leader)).toMatchObject({ rule: `durable ANY 2 (${names})`, change: undefined })
    },
  )

  test('after the first epoch no options of a node change the rule', { timeout: 60_000 }, async () => {
    const acks = { a: semiSync(['b', 'c']), b: sync(['a', 'c']), c: sync(['a', 'b']) }
    const { cluster } = new MuffledCluster({ each: (name) => ({ acks: acks[name as keyof typeof acks] }) })
    await cluster.startAll()
    await schema(cluster)
    await cluster.close('a')
    const leader = await untilAnotherLeads(cluster)
    const names = leader.name === 'b' ? 'a, c' : 'b, a'
    expect(acksOf(leader)).toMatchObject({ rule: `durable FIRST 1 (${names})`, change: undefined })
    expect(await published(cluster)).toBe(`durable first 1 (${names})`)
    await insert(leader, 'x')
    await cluster.start('a', { acks: sync(['b', 'c']) })
    await cluster.untilAllStream()
    await leader.switchover({ target: 'a' })
    expect(acksOf(cluster.node('a'))).toMatchObject({ rule: 'durable FIRST 1 (b, c)', change: undefined })
  })

  test(
    'the first epoch begins with the rule of the node that founds the cluster, whoever was there before it',
    { timeout: 60_000 },
    async () => {
      const { cluster } = new MuffledCluster({
        each: (name) => ({
          role: name === 'c' ? 'leader' : 'follower',
          acks: semiSync(['a', 'b', 'c'].filter((other) => other !== name)),
        }),
      })
      await cluster.startAll()
      expect(cluster.leader?.name).toBe('c')
      expect(acksOf(cluster.node('c')).rule).toBe('durable FIRST 1 (a, b)')
      expect(await published(cluster)).toBe('durable first 1 (a, b)')
    },
  )
})

describe('037 profiles', () => {
  const RULES = { 'no-loss': 'durable any 1', balanced: 'durable first 1', fast: 'local' } as const

  test.each(PROFILES)(
    '%s is kept by each leader, with every other member',
    { timeout: 60_000 },
    async (profile) => {
      const { cluster } = new MuffledCluster({
        node: { profile },
        failover: { allowAsyncFailover: profile === 'fast' },
      })
      const check = async (leader: UnderstudyNode): Promise<void> => {
        expect(leader.status().profile).toBe(profile)
        expect(await published(cluster)).toMatch(RULES[profile])
        const { rule } = ((await cluster.observe()).state as PublishedState).acks
        const others = cluster.names.filter((name) => name !== leader.name)
        expect(rule.of?.names.toSorted() ?? others).toEqual(others)
        const { receipt } = await insert(leader, leader.name)
        const level = profile === 'fast' ? 'local' : 'durable'
        expect(receipt).toMatchObject({ asked: level, reached: level, degraded: false })
      }
      const a = await cluster.startAll()
      await schema(cluster)
      await check(a)
      await cluster.close('a')
      await check(await untilAnotherLeads(cluster))
      await cluster.start('a')
      await cluster.untilAllStream()
      for (const target of ['c', 'a', 'c'])
        if (cluster.leader?.name !== target) {
          await cluster.node(target).switchover({ target })
          await check(cluster.node(target))
          await cluster.untilAllStream()
        }
    },
  )

  test.each([false, true])(
    'balanced, while it is lowered: nobody is elected unless losses are allowed (%s), as is foretold',
    { timeout: 60_000 },
    async (allowAsyncFailover) => {
      const cut = new MuffledCluster({
        node: { profile: 'balanced' },
        failover: { allowAsyncFailover, leaseMs: 8000 },
      })
      const { cluster } = cut
      const a = await cluster.startAll()
      await schema(cluster)
      Object.assign(cut.of('a'), { isDeaf: true, isMute: true })
      const alone = await insert(a, 'alone')
      expect(alone.receipt).toMatchObject({ asked: 'durable', reached: 'local', degraded: true })
      expect(await published(cluster)).toBe('durable first 1 (b, c) then local')
      await cluster.until('it is foretold', () =>
        ['b', 'c'].every(
          (name) =>
            cluster.node(name).status().failover?.forecast.outcome ===
            (allowAsyncFailover ? 'promote' : 'refuse'),
        ),
      )
      const exposed = await a.exposure()
      expect(exposed.ranges).toMatchObject([{ why: 'lowered', state: 'exposed' }])
      await cluster.close('a')
      Object.assign(cut.of('a'), { isDeaf: false, isMute: false })
      if (allowAsyncFailover) {
        const leader = await untilAnotherLeads(cluster)
        expect(leader.verdict(alone.receipt)).toMatchObject({ verdict: 'lost' })
        await cluster.start('a')
        await cluster.untilAllStream()
        expect(cluster.node('a').verdict(alone.receipt)).toMatchObject({ verdict: 'lost' })
        // What is lost is exposed no more: it is in nobody's history.
        expect((await leader.exposure()).ranges).toEqual([])
        expect((await cluster.node('a').exposure()).ranges).toEqual([])
        return
      }
      await cluster.until('it is refused', () =>
        ['b', 'c'].some((name) => cluster.node(name).status().failover?.decision?.action.kind === 'refuse'),
      )
      expect(cluster.leader).toBeUndefined()
      await cluster.start('a')
      await cluster.untilAllStream()
      await untilPublished(cluster, textOfLeader(cluster))
      const leader = cluster.leader as UnderstudyNode
      await insert(leader, 'together')
      expect(leader.verdict(alone.receipt).verdict).toBe('committed')
      for (const node of cluster.nodes) {
        await node.read((tx) => tx.get('select 1'), { after: leader.applied })
        expect((await node.exposure()).ranges).toMatchObject([
          { why: 'lowered', from: exposed.ranges[0]!.from },
        ])
      }
      expect((await leader.exposure()).ranges).toMatchObject([{ state: 'covered' }])
    },
  )
})

describe('037 status', () => {
  test(
    'a new leader tells of those that follow it now, how far they are, and who is gone',
    { timeout: 60_000 },
    async () => {
      const { cluster } = new MuffledCluster()
      await cluster.startAll()
      await schema(cluster)
      await cluster.close('a')
      const leader = await untilAnotherLeads(cluster)
      const other = leader.name === 'b' ? 'c' : 'b'
      await insert(leader, 'x')
      await untilLevel(cluster, leader, [other])
      expect(leader.status().absentFollowers?.map(({ name }) => name)).toEqual(['a'])
      await cluster.start('a')
      await cluster.untilAllStream()
      await insert(leader, 'y')
      await untilLevel(cluster, leader, ['a', other])
      expect(leader.status().absentFollowers).toEqual([])
      await cluster.node('a').switchover({ target: 'a' })
      await cluster.untilAllStream()
      await insert(cluster.node('a'), 'z')
      await untilLevel(cluster, cluster.node('a'), ['b', 'c'])
      expect(cluster.node('a').status().absentFollowers).toEqual([])
      expect(leader.status().followers).toBeUndefined()
      expect(leader.status().acks).toBeUndefined()
      for (const node of cluster.nodes) {
        const { failover } = node.status()
        expect(failover?.leader).toMatchObject({ name: 'a', address: 'memory://a' })
      }
    },
  )
})

function textOfLeader(cluster: FailoverNodes): string {
  const { rule } = acksOf(cluster.leader as UnderstudyNode)
  return rule.replace('FIRST', 'first').replace('ANY', 'any')
}

/** These follow, and nobody else; all are where the leader is, and its lag says so. */
async function untilLevel(
  cluster: FailoverNodes,
  leader: UnderstudyNode,
  names: readonly string[],
): Promise<void> {
  await cluster.until(`${names.join(' and ')} are where ${leader.name} is`, () => {
    const { followers = [], durable } = leader.status()
    return (
      followers.length === names.length &&
      followers.every(
        (each) => each.durable === durable && each.applied === durable && each.state === 'streaming',
      ) &&
      names.every((name) => cluster.node(name).status().following?.lag?.records === 0)
    )
  })
  expect(
    leader
      .status()
      .followers?.map(({ name }) => name)
      .toSorted(),
  ).toEqual([...names])
  expect(leader.status().log.slots.map(({ name }) => name)).not.toContain(leader.name)
}
