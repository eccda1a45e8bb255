/** What a monitor shows of failover: metrics, health, and the role that a load balancer asks for. */
import type { NodeStatus } from '@understudy/node'
import { describe, expect, test } from 'vitest'
import { healthOf, roleOf } from '../src/index.ts'
import { createMetrics } from '../src/metrics.ts'
import { ask, askUntil, Cluster, monitor, parsePrometheus } from './helpers.ts'

const FAILOVER: NonNullable<NodeStatus['failover']> = {
  mode: 'act',
  coordinator: { kind: 'sqlite', reached: true, paused: false },
  leader: { name: 'a', epoch: 3 },
  leads: true,
  leaseMs: 612,
  phase: 'leading',
  verdict: { verdict: 'alive', reasons: [] },
  members: ['self', 'alive', 'unreachable'].map((heard, at) => ({
    name: 'abc'[at] ?? '',
    address: `tcp://${at}`,
    priority: 0,
    neverPromote: false,
    heard: heard as 'alive',
    reason: '',
    ...(at < 2 && { promised: 3 }),
  })),
  forecast: { outcome: 'promote', name: 'b', tookMs: 1240, unreplicated: 2, summary: 'b would lead.' },
}

function status(more: Partial<NodeStatus> = {}): NodeStatus {
  const log = { first: 1, end: '3/5', slots: [] }
  const base = { node: 'a', cluster: 'c', role: 'leader', state: 'leading', position: '3/5', durable: 5, log }
  return { ...base, failover: FAILOVER, ...more } as never
}

async function samplesOf(shown: NodeStatus): Promise<ReadonlyMap<string, number>> {
  const text = await createMetrics({ status: () => shown, measures: () => undefined }).text()
  return parsePrometheus(text).samples
}

describe('metrics', () => {
  test('say who leads, what is left of the lease, who is heard, and what would happen', async () => {
    const samples = await samplesOf(status())
    const expected: Record<string, number> = {
      leads: 1,
      leader_epoch: 3,
      lease_remaining_seconds: 0.612,
      'leader_verdict{verdict="alive"}': 1,
      failover_paused: 0,
      failover_observes: 0,
      coordinator_reached: 1,
      failover_possible: 1,
      failover_forecast_seconds: 1.24,
      failover_forecast_unreplicated_records: 2,
      members: 3,
      members_heard: 2,
      'member_heard{member="b"}': 1,
      'member_heard{member="c"}': 0,
      'member_promised_epoch{member="b"}': 3,
      failovers_total: 0,
      promotions_refused_total: 0,
    }
    for (const [name, value] of Object.entries(expected))
      expect([name, samples.get(`understudy_${name}`)]).toEqual([name, value])
    expect(samples.has('understudy_member_promised_epoch{member="c"}')).toBe(false)
  })

  test('have no sample of a lease, a leader or a time that there is not', async () => {
    const { leader: _, leaseMs: __, ...rest } = FAILOVER
    const forecast = { outcome: 'refuse', unreplicated: 0, summary: 'Nobody would be promoted.' } as const
    const samples = await samplesOf(status({ failover: { ...rest, leads: false, forecast } }))
    expect(samples.get('understudy_leads')).toBe(0)
    expect(samples.get('understudy_failover_possible')).toBe(0)
    for (const name of ['leader_epoch', 'lease_remaining_seconds', 'failover_forecast_seconds'])
      expect(samples.has(`understudy_${name}`)).toBe(false)
  })

  test('of a node without failover there are none', async () => {
    const { failover: _, ...without } = status()
    const names = [...(await samplesOf(without)).keys()]
    expect(
      names.filter((name) =>
        /_leads|_leader_(epoch|verdict)|failover|member|lease|promot|step_down|coord/.test(name),
      ),
    ).toEqual([])
  })

  test('count each change of the leader once, and not the first that is seen', async () => {
    const metrics = createMetrics({ status: () => status(), measures: () => undefined })
    const leader = (name: string, epoch: number): void => metrics.told({ kind: 'leader', name, epoch }, 'a')
    const refused = { kind: 'refuse', help: [] } as const
    const place = { name: 'b', epoch: 1, runId: '0'.repeat(16), address: 'tcp://b' }
    metrics.told({ kind: 'follows', leader: place }, 'a')
    leader('b', 1)
    leader('a', 2)
    leader('a', 2)
    leader('a', 3)
    leader('c', 4)
    metrics.told({ kind: 'decided', action: refused, reasons: [] }, 'a')
    metrics.told({ kind: 'decided', action: { kind: 'none' }, reasons: [] }, 'a')
    const { samples } = parsePrometheus(await metrics.text())
    expect(samples.get('understudy_failovers_total')).toBe(2)
    expect(samples.get('understudy_promotions_total')).toBe(2)
    expect(samples.get('understudy_promotions_refused_total')).toBe(1)
    expect(samples.get('understudy_step_downs_total')).toBe(0)
    expect(samples.get('understudy_events_total{kind="leader"}')).toBe(5)
  })
})

describe('health', () => {
  test('says the role, and warns where a failover would not happen', () => {
    expect(healthOf(status(), 0)).toMatchObject({ healthy: true, role: 'leader', warnings: [] })
    const { leader: _, ...rest } = FAILOVER
    const codes = (failover: NodeStatus['failover']): string[] =>
      healthOf(status({ failover: failover as NonNullable<typeof failover> }), 0).warnings.map(
        ({ code }) => code,
      )
    expect(codes(rest)).toEqual(['NO_LEADER'])
    expect(
      codes({
        ...FAILOVER,
        mode: 'observe',
        coordinator: { kind: 'etcd', reached: false, problem: 'No answer.', paused: true },
        forecast: { outcome: 'refuse', unreplicated: 0, summary: 'Nobody would be promoted.' },
      }),
    ).toEqual(['COORDINATOR_NOT_REACHED', 'FAILOVER_PAUSED', 'FAILOVER_OBSERVES', 'NO_FAILOVER'])
  })
})

describe('the role', () => {
  const codes = (shown: NodeStatus | undefined, asked: 'leader' | 'follower'): string[] =>
    roleOf(shown, asked).reasons.map(({ code }) => code)
  const follower = status({ role: 'follower', state: 'streaming', following: {} as never })

  test('is that of a node that works, and that the members let lead', () => {
    expect(roleOf(status(), 'leader')).toEqual({
      ok: true,
      role: 'leader',
      node: 'a',
      leader: 'a',
      epoch: 3,
      reasons: [],
    })
    expect(codes(status(), 'follower')).toEqual(['IS_LEADER'])
    expect(codes(follower, 'follower')).toEqual([])
    expect(codes(follower, 'leader')).toEqual(['IS_FOLLOWER'])
    expect(codes(status({ failover: { ...FAILOVER, leads: false } }), 'leader')).toEqual(['NOT_LEADING'])
    const { failover: _, ...without } = status()
    expect(codes(without, 'leader')).toEqual([])
  })

  test('is none before the start, after the end, with a failure, without data', () => {
    expect(codes(undefined, 'leader')).toEqual(['NOT_STARTED'])
    expect(codes(status({ state: 'starting' }), 'leader')).toContain('NOT_STARTED')
    expect(codes(status({ state: 'closed' }), 'leader')).toEqual(['NODE_CLOSED'])
    expect(codes(status({ failure: { code: 'LOG_FAILED', message: 'x' } }), 'leader')).toEqual(['LOG_FAILED'])
    expect(codes(status({ role: 'follower', state: 'bootstrapping' }), 'follower')).toEqual(['NO_DATA'])
  })
})

test(
  'a cluster that changes its leader: load balancers and scrapers see it',
  { timeout: 30_000 },
  async () => {
    const cluster = new Cluster()
    const names = ['a', 'b']
    const failover = {
      members: names.map((name) => ({ name, address: `memory://${name}` })),
      allowAsyncFailover: true,
    }
    const [ofA, ofB] = [await monitor(), await monitor()]
    const a = await cluster.start('a', 'leader', { failover, observe: ofA.observe })
    await cluster.start('b', 'follower', { failover, leader: undefined as never, observe: ofB.observe })
    await a.write((tx) => tx.exec('create table note (id text primary key not null)'))
    await askUntil(`${ofB.address}/follower`, ({ status: code }) => code === 200)
    await askUntil(`${ofA.address}/metrics`, ({ text }) => text.includes('understudy_members_heard 2'))
    expect((await ask(`${ofA.address}/leader`)).json).toMatchObject({ ok: true, role: 'leader', epoch: 1 })
    expect((await ask(`${ofA.address}/follower`)).status).toBe(503)
    expect((await ask(`${ofB.address}/leader`)).status).toBe(503)
    expect(await a.switchover({ target: 'b' })).toMatchObject({ leader: 'b', epoch: 2 })
    await askUntil(`${ofB.address}/leader`, ({ status: code }) => code === 200)
    await askUntil(`${ofA.address}/follower`, ({ status: code }) => code === 200)
    const led = parsePrometheus((await ask(`${ofB.address}/metrics`)).text).samples
    expect(led.get('understudy_leads')).toBe(1)
    expect(led.get('understudy_promotions_total')).toBe(1)
    expect(led.get('understudy_failovers_total')).toBe(1)
    const left = parsePrometheus((await ask(`${ofA.address}/metrics`)).text).samples
    expect(left.get('understudy_leads')).toBe(0)
    expect(left.get('understudy_step_downs_total')).toBe(1)
    expect((await ask(`${ofA.address}/health`)).json).toMatchObject({ healthy: true, role: 'follower' })
  },
)
