import { describe, expect, test } from 'vitest'
import { explain, readDecisions } from '../../src/index.ts'
import { FakeCluster, SEMI_SYNC, type ClusterOptions } from './cluster.ts'

async function running(options: ClusterOptions = {}): Promise<FakeCluster> {
  const cluster = new FakeCluster(options)
  await cluster.startAll()
  await cluster.untilWhole()
  await writesGoOn(cluster)
  return cluster
}

async function writesGoOn(cluster: FakeCluster): Promise<number> {
  const { length } = cluster.acked
  return cluster.until('writes are acknowledged', () => cluster.acked.length > length + 20)
}

/** Until another node than before leads. */
function replaced(cluster: FakeCluster, name: string, withinMs?: number): Promise<number> {
  return cluster.until(
    `another one than ${name} leads`,
    () => cluster.leaders.some((leader) => leader !== name),
    withinMs,
  )
}

function epochsOf(cluster: FakeCluster, name: string): number {
  return cluster.node(name).host?.history.at(-1)?.number ?? 0
}

function followers(cluster: FakeCluster): [string, string] {
  const [leader] = cluster.leaders
  return [...cluster.nodes.keys()].filter((name) => name !== leader) as [string, string]
}

describe('with a coordinator', () => {
  test('the founder leads the first epoch, the others follow', async () => {
    const cluster = await running()
    expect(cluster.leaders).toEqual(['a'])
    expect(cluster.node('b').member?.status().leader).toMatchObject({ name: 'a', epoch: 1 })
    expect(cluster.node('b').member?.leader()).toMatchObject({ name: 'a', epoch: 1, address: 'sim://a' })
    expect(cluster.node('a').member?.status()).toMatchObject({ leads: true, phase: 'leading' })
  })

  test('a leader that is killed is replaced; nothing that was acknowledged is lost', async () => {
    const cluster = await running()
    cluster.kill('a')
    expect(await replaced(cluster, 'a')).toBeLessThan(1500)
    await writesGoOn(cluster)
    expect(cluster.lost()).toEqual([])
    await cluster.start('a')
    await cluster.untilWhole()
    expect(cluster.lost()).toEqual([])
  })

  test('a leader that was stopped shows nothing before it looked, and follows', async () => {
    const cluster = await running()
    cluster.node('a').machine.pause()
    expect(await replaced(cluster, 'a')).toBeLessThan(3000)
    await writesGoOn(cluster)
    const before = cluster.acked.length
    cluster.node('a').machine.resume()
    await cluster.until('it stopped leading', () => cluster.node('a').host?.role !== 'leading', 500)
    expect(cluster.acked.slice(before).filter(({ leader }) => leader === 'a')).toEqual([])
    await cluster.untilWhole()
    expect(cluster.lost()).toEqual([])
  })

  test('a short stop, or one within the lease, replaces nobody', async () => {
    const cluster = await running()
    cluster.node('a').machine.pause()
    await cluster.clock.advance(400)
    cluster.node('a').machine.resume()
    await cluster.clock.advance(5000)
    expect(cluster.leaders).toEqual(['a'])
    expect(epochsOf(cluster, 'a')).toBe(1)
  })

  test('a leader that is cut off is replaced, and gives up what only it had', async () => {
    const cluster = await running()
    cluster.network.partition(['a'], ['b', 'c'])
    const { coordinator } = cluster.node('a')
    if (coordinator !== undefined) coordinator.faults.silent = true
    await replaced(cluster, 'a')
    await cluster.until('the old one stopped', () => cluster.leaders.length === 1)
    await writesGoOn(cluster)
    cluster.network.healAll()
    coordinator?.mend()
    await cluster.untilWhole()
    expect(cluster.lost()).toEqual([])
    expect(cluster.node('a').disk.lost).toBeGreaterThan(0)
  })

  test('a leader that is cut off from its followers alone gives its lease back, within four seconds', async () => {
    const cluster = await running()
    cluster.network.partition(['a'], ['b', 'c'])
    const sinceMs = cluster.clock.monotonic()
    await replaced(cluster, 'a')
    expect(cluster.clock.monotonic() - sinceMs).toBeLessThan(4000)
    await writesGoOn(cluster)
    cluster.network.healAll()
    await cluster.untilWhole()
    expect(cluster.lost()).toEqual([])
  })

  test('a leader that lowered its rule keeps its lease when its followers have left: nobody could replace it', async () => {
    const rules = { rule: { level: 'durable', of: { kind: 'any', count: 1, names: ['b', 'c'] } } } as const
    const cluster = await running({ rules })
    const lowered = { acks: { ...rules, next: { level: 'local' } as const } }
    await cluster.clock.complete(cluster.node('a').member?.publish(lowered) as Promise<void>)
    cluster.network.partition(['a'], ['b', 'c'])
    await cluster.clock.advance(10_000)
    expect(cluster.leaders).toEqual(['a'])
    cluster.network.healAll()
    await writesGoOn(cluster)
    expect(epochsOf(cluster, 'a')).toBe(1)
  })

  test('a leader that lost one of two goes on', async () => {
    const cluster = await running()
    cluster.network.partition(['a'], ['b'])
    await cluster.clock.advance(10_000)
    expect(cluster.leaders).toEqual(['a'])
    cluster.network.healAll()
    await writesGoOn(cluster)
    expect(epochsOf(cluster, 'a')).toBe(1)
  })

  test('a leader that nobody answers waits for one of them, and begins no epoch after the other meanwhile', async () => {
    const cluster = await running()
    cluster.kill('b')
    cluster.kill('c')
    await cluster.until('it gave up', () => cluster.leaders.length === 0)
    await cluster.clock.advance(20_000)
    expect(cluster.leaders).toEqual([])
    await cluster.start('b')
    await cluster.until('one leads', () => cluster.leaders.length === 1)
    await writesGoOn(cluster)
    await cluster.start('c')
    await cluster.untilWhole()
    expect(cluster.node(cluster.leaders[0] ?? '').disk.log.at(-1)?.epoch).toBe(2)
    expect(cluster.lost()).toEqual([])
  })

  test.each([
    ['to its followers', 'a'],
    ['from its followers', 'b'],
  ])('cuts in one direction, %s: at most one acknowledges, and nothing is lost', async (_, from) => {
    const cluster = await running()
    for (const other of ['b', 'c'])
      cluster.network.cut(from === 'a' ? 'a' : other, from === 'a' ? other : 'a')
    await cluster.clock.advance(8000)
    cluster.network.healAll()
    await cluster.untilWhole()
    await writesGoOn(cluster)
    expect(cluster.lost()).toEqual([])
  })

  test('a flapping link replaces nobody while the leader has its lease', async () => {
    const cluster = await running()
    for (let round = 0; round < 20; round++) {
      cluster.network.cut('a', 'b')
      cluster.network.reset('a', 'c')
      await cluster.clock.advance(150)
      cluster.network.healAll()
      await cluster.clock.advance(150)
    }
    await cluster.untilWhole()
    expect(epochsOf(cluster, 'a')).toBe(1)
    await writesGoOn(cluster)
  })

  test('a second failover right after the first', async () => {
    const cluster = await running({ restMs: 0 })
    cluster.kill('a')
    await replaced(cluster, 'a')
    const [second] = cluster.leaders as [string]
    await writesGoOn(cluster)
    cluster.kill(second)
    await cluster.start('a')
    await cluster.until('one leads', () => cluster.leaders.length === 1)
    await writesGoOn(cluster)
    expect(cluster.lost()).toEqual([])
    await cluster.start(second)
    await cluster.untilWhole()
    expect(cluster.lost()).toEqual([])
  })

  test('one survivor of three, of whom one must have each commit, refuses and says who is missing', async () => {
    const cluster = await running()
    const [first, second] = followers(cluster)
    cluster.kill(second)
    await writesGoOn(cluster)
    cluster.kill('a')
    await cluster.clock.advance(5000)
    expect(cluster.leaders).toEqual([])
    expect(cluster.node(first).member?.status().verdict.verdict).toBe('undecided')
    await cluster.start(second)
    await cluster.until('one leads', () => cluster.leaders.length === 1)
    expect(cluster.lost()).toEqual([])
  })

  test('all at once: killed and started, they find one leader', async () => {
    const cluster = await running()
    for (const name of cluster.nodes.keys()) cluster.kill(name)
    for (const name of cluster.nodes.keys()) await cluster.start(name)
    await cluster.untilWhole()
    await writesGoOn(cluster)
    expect(cluster.lost()).toEqual([])
  })

  test('priorities choose among equals; neverPromote is for the options of a node', async () => {
    const cluster = await running({
      priorities: { c: 5 },
      rules: { rule: { level: 'durable', of: { kind: 'any', count: 2, names: ['b', 'c'] } } },
    })
    cluster.kill('a')
    await replaced(cluster, 'a')
    expect(cluster.leaders).toEqual(['c'])
  })
})

describe('the coordinator goes away', () => {
  function cutCoordinator(cluster: FakeCluster, how: 'refused' | 'silent'): void {
    for (const { coordinator } of cluster.nodes.values())
      if (coordinator !== undefined) coordinator.faults[how] = true
  }

  test.each(['refused', 'silent'] as const)(
    '%s: a leader whose followers all agree leads on',
    async (how) => {
      const cluster = await running()
      cutCoordinator(cluster, how)
      await cluster.clock.advance(10_000)
      expect(cluster.leaders).toEqual(['a'])
      await writesGoOn(cluster)
      for (const { coordinator } of cluster.nodes.values()) coordinator?.mend()
      for (const { coordinator } of cluster.nodes.values())
        if (coordinator !== undefined) coordinator.faults.refused = false
      for (const { coordinator } of cluster.nodes.values())
        if (coordinator !== undefined) coordinator.faults.silent = false
      await cluster.until('one leads with a lease', () => {
        const [leader] = cluster.leaders
        return leader !== undefined && (cluster.node(leader).member?.status().leaseMs ?? 0) > 0
      })
      await writesGoOn(cluster)
      expect(cluster.lost()).toEqual([])
    },
  )

  test('with a follower down as well it stops in time, and nobody else leads', async () => {
    const cluster = await running()
    cluster.kill('c')
    cutCoordinator(cluster, 'refused')
    await cluster.until('it stopped', () => cluster.leaders.length === 0, 3000)
    await cluster.clock.advance(5000)
    expect(cluster.leaders).toEqual([])
    for (const { coordinator } of cluster.nodes.values())
      if (coordinator !== undefined) coordinator.faults.refused = false
    await cluster.until('one leads', () => cluster.leaders.length === 1)
    expect(cluster.lost()).toEqual([])
  })
})

describe('what a leader publishes', () => {
  test('rules and ceilings, beside what others change', async () => {
    const cluster = await running()
    const next = { level: 'durable', of: { kind: 'any', count: 1, names: ['c'] } } as const
    const { rule } = SEMI_SYNC
    const { member } = cluster.node('a')
    const all = Promise.all([
      member?.publish({ acks: { rule, next } }),
      cluster.node('b').member?.pause(true),
      member?.publish({ ceilings: new Map([['t', 100n]]) }),
    ])
    await cluster.clock.complete(all, { withinMs: 2000 })
    const { state } = cluster.coordinator.place
    expect(state).toMatchObject({ acks: { rule, next }, paused: true, leader: { name: 'a' } })
    expect(state?.ceilings.get('t')).toBe(100n)
    await cluster.clock.complete(member?.publish({ ceilings: new Map([['t', 50n]]) }) as Promise<void>, {
      withinMs: 1000,
    })
    expect(cluster.coordinator.place.state?.ceilings.get('t')).toBe(100n)
  })

  test('both rules count while they change', async () => {
    const rules = { rule: { level: 'durable', of: { kind: 'any', count: 1, names: ['b', 'c'] } } } as const
    const cluster = await running({ rules })
    const next = { level: 'local' } as const
    await cluster.clock.complete(
      cluster.node('a').member?.publish({ acks: { ...rules, next } }) as Promise<void>,
      { withinMs: 1000 },
    )
    cluster.kill('a')
    await cluster.clock.advance(5000)
    expect(cluster.leaders).toEqual([])
    expect(cluster.node('b').member?.status().decision?.action.kind).toBe('refuse')
  })

  test('one that does not lead publishes nothing', async () => {
    const cluster = await running()
    const published = cluster.node('b').member?.publish({ acks: { rule: { level: 'local' } } })
    await expect(cluster.clock.complete(published as Promise<void>)).rejects.toMatchObject({
      code: 'NOT_LEADER',
    })
  })
})

describe('what a person asks', () => {
  test.each(['the leader', 'a follower'])(
    'switchover, asked at %s: under a second, nothing lost',
    async (where) => {
      const cluster = await running()
      const at = cluster.node(where === 'the leader' ? 'a' : 'c').member
      const changed = at?.switchover({ target: 'b' })
      await cluster.until('b leads', () => cluster.leaders.join() === 'b', 1000)
      const result = await cluster.clock.complete(changed as Promise<unknown>, { withinMs: 500 })
      expect(result).toMatchObject({ leader: 'b', epoch: 2 })
      // What was accepted when the cluster was founded says nothing of this one.
      expect(result).not.toHaveProperty('mayLose')
      await cluster.untilWhole()
      await writesGoOn(cluster)
      expect(cluster.lost()).toEqual([])
      expect(cluster.node('a').disk.lost).toBe(0)
    },
  )

  test('switchover without a target takes the best follower', async () => {
    const cluster = await running({ priorities: { c: 1 } })
    const changed = cluster.node('a').member?.switchover()
    await cluster.until('c leads', () => cluster.leaders.join() === 'c', 1500)
    await cluster.clock.complete(changed as Promise<unknown>, { withinMs: 500 })
  })

  test('switchover to one that is away: the old one leads on', async () => {
    const cluster = await running()
    cluster.kill('b')
    const changed = cluster.node('a').member?.switchover({ target: 'b', timeoutMs: 1000 })
    await expect(
      cluster.clock.complete(changed as Promise<unknown>, { withinMs: 3000 }),
    ).rejects.toMatchObject({ code: 'TIMEOUT' })
    await writesGoOn(cluster)
    expect(cluster.leaders).toEqual(['a'])
  })

  test('switchover to one that may not lead is refused with the reason, long before its time is over', async () => {
    const cluster = await running({ manual: true })
    const { host } = cluster.node('b')
    if (host !== undefined) host.idsProven = false
    const changed = cluster.node('a').member?.switchover({ target: 'b', timeoutMs: 20_000 })
    await expect(
      cluster.clock.complete(changed as Promise<unknown>, { withinMs: 3000 }),
    ).rejects.toMatchObject({
      code: 'FAILOVER_REFUSED',
      message: expect.stringContaining('cannot prove the newest ceiling of ids'),
    })
    await writesGoOn(cluster)
    expect(cluster.leaders).toEqual(['a'])
  })

  test('a leader has no decision about who leads: it does', async () => {
    const cluster = await running()
    expect(cluster.node('a').member?.status().decision).toBeUndefined()
    cluster.kill('a')
    await replaced(cluster, 'a')
    const [leader] = cluster.leaders as [string]
    expect(cluster.node(leader).member?.status().decision).toBeUndefined()
  })

  test('paused: nobody is promoted until it is not', async () => {
    const cluster = await running()
    await cluster.clock.complete(cluster.node('c').member?.pause(true) as Promise<void>, { withinMs: 1000 })
    cluster.kill('a')
    await cluster.clock.advance(5000)
    expect(cluster.leaders).toEqual([])
    expect(cluster.node('b').member?.status().coordinator.paused).toBe(true)
    await cluster.clock.complete(cluster.node('b').member?.pause(false) as Promise<void>, { withinMs: 1000 })
    expect(await replaced(cluster, 'a')).toBeLessThan(1000)
  })

  test('observing only: it says what it would do; a person is obeyed', async () => {
    const cluster = await running({ mode: 'observe' })
    cluster.kill('a')
    await cluster.clock.advance(5000)
    expect(cluster.leaders).toEqual([])
    const observed = ['b', 'c'].flatMap((name) =>
      cluster.node(name).events.flatMap((event) => (event.kind === 'decided' ? [event.observed?.kind] : [])),
    )
    expect(observed).toContain('stopReceivers')
    const promoted = cluster.node('b').member?.promote()
    await replaced(cluster, 'a', 1000)
    await cluster.clock.complete(promoted as Promise<unknown>, { withinMs: 500 })
    expect(cluster.lost()).toEqual([])
  })

  test('status says what would happen if the leader died now, and that happens', async () => {
    const cluster = await running()
    const { forecast } = cluster.node('b').member?.status() ?? {}
    expect(forecast).toMatchObject({ outcome: 'promote' })
    cluster.kill('a')
    await replaced(cluster, 'a')
    expect(forecast?.mayLose).toBeUndefined()
  })

  test('every decision is kept, and gives itself when it is replayed', async () => {
    const cluster = await running()
    cluster.kill('a')
    await replaced(cluster, 'a')
    const [leader] = cluster.leaders as [string]
    const files = cluster.node(leader).machine.life?.files
    const lines = readDecisions(files as NonNullable<typeof files>, '/node')
    const kinds = lines.map((line) => explain(line))
    expect(kinds.every(({ isSame }) => isSame)).toBe(true)
    expect(kinds.map(({ record }) => record.decision.action.kind)).toContain('promote')
  })
})

describe('without a coordinator', () => {
  test('nobody is promoted by itself; a person promotes, and nothing is lost', async () => {
    const cluster = await running({ manual: true })
    cluster.kill('a')
    await cluster.clock.advance(5000)
    expect(cluster.leaders).toEqual([])
    const promoted = cluster.node('b').member?.promote()
    await replaced(cluster, 'a', 2000)
    expect(await cluster.clock.complete(promoted as Promise<unknown>, { withinMs: 500 })).toMatchObject({
      leader: 'b',
    })
    await writesGoOn(cluster)
    expect(cluster.lost()).toEqual([])
    await cluster.start('a')
    await cluster.untilWhole()
    expect(cluster.leaders).toEqual(['b'])
  })

  test('a leader that is heard is not replaced behind its back', async () => {
    const cluster = await running({ manual: true })
    const promoted = cluster.node('b').member?.promote()
    await expect(
      cluster.clock.complete(promoted as Promise<unknown>, { withinMs: 5000 }),
    ).rejects.toMatchObject({
      code: 'FAILOVER_REFUSED',
      message: expect.stringContaining('switchover'),
    })
    expect(cluster.leaders).toEqual(['a'])
  })

  test('an asynchronous cluster needs a person who accepts the loss', async () => {
    const cluster = await running({ manual: true, rules: { rule: { level: 'local' } } })
    cluster.kill('a')
    const refused = cluster.node('b').member?.promote()
    await expect(
      cluster.clock.complete(refused as Promise<unknown>, { withinMs: 5000 }),
    ).rejects.toMatchObject({
      code: 'FAILOVER_REFUSED',
    })
    const promoted = cluster.node('b').member?.promote({ acceptLoss: true })
    expect(await cluster.clock.complete(promoted as Promise<unknown>, { withinMs: 3000 })).toMatchObject({
      leader: 'b',
      mayLose: { after: { epoch: 1 } },
    })
  })

  test('the leader that is started again leads again, with all that it had', async () => {
    const cluster = await running({ manual: true })
    cluster.kill('a')
    await cluster.start('a')
    await cluster.until('a leads', () => cluster.leaders.join() === 'a', 5000)
    await writesGoOn(cluster)
    expect(cluster.lost()).toEqual([])
  })

  test('switchover works', async () => {
    const cluster = await running({ manual: true })
    const changed = cluster.node('a').member?.switchover({ target: 'c' })
    await cluster.until('c leads', () => cluster.leaders.join() === 'c', 1000)
    await cluster.clock.complete(changed as Promise<unknown>, { withinMs: 500 })
    await writesGoOn(cluster)
    expect(cluster.lost()).toEqual([])
  })
})
