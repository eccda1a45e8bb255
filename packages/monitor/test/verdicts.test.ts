/** Health and readiness as functions of a status: what a restart would mend, and what work may be sent. */
import type { NodeStatus } from '@understudy/node'
import { describe, expect, test } from 'vitest'
import { healthOf, readinessOf, stalenessOf } from '../src/index.ts'

const NOW = Date.parse('2026-01-01T00:00:00Z')
const BASE = { node: 'a', position: '1/5', durable: 5, log: { first: 1, end: '1/5', slots: [] } }
const ACKS = {
  rule: 'durable FIRST 1 (b)',
  effective: 'durable FIRST 1 (b)',
  degraded: false,
  onUnmet: 'block',
  visibility: 'acked',
  pending: undefined,
  pendingMs: 0,
  recovering: false,
}

function leader(more: object = {}): NodeStatus {
  return {
    ...BASE,
    role: 'leader',
    state: 'leading',
    writes: { queued: 0, waitingMs: 0 },
    acks: ACKS,
    ...more,
  } as never
}

function follower(following: object | undefined, state = 'streaming'): NodeStatus {
  return { ...BASE, role: 'follower', state, following } as never
}

const LAG = { records: 3, bytes: 10, ageMs: 200, ageIsAtLeast: false }

function codes(status: NodeStatus, query: { for?: 'reads' | 'writes'; ms?: number } = {}): string[] {
  const { ms = 1000, ...what } = query
  return readinessOf(status, { ...what, stalenessMsMax: ms, waitMsMax: ms }).reasons.map(({ code }) => code)
}

describe('health', () => {
  test('is lost with a failure, and with writes that stand still for no reason', () => {
    expect(healthOf(leader(), NOW)).toMatchObject({ healthy: true, reasons: [], warnings: [] })
    expect(healthOf(leader({ failure: { code: 'LOG_FAILED', message: 'x' } }), NOW)).toMatchObject({
      healthy: false,
      reasons: [{ code: 'LOG_FAILED' }],
    })
    const stalled = { writes: { queued: 9, waitingMs: 40_000 } }
    expect(healthOf(leader(stalled), NOW).reasons).toMatchObject([{ code: 'WRITES_STALLED' }])
    // Followers that do not acknowledge are not mended by a restart.
    const waiting = { ...stalled, acks: { ...ACKS, pending: '1/5', pendingMs: 40_000 } }
    expect(healthOf(leader(waiting), NOW).healthy).toBe(true)
    expect(healthOf(follower({ lag: undefined, heardMs: undefined }, 'disconnected'), NOW).healthy).toBe(true)
  })

  test('warns of what a person should look at', () => {
    const status = leader({
      acks: { ...ACKS, degraded: true, effective: 'local' },
      certificate: { identities: [], expires: '2026-01-15T00:00:00Z', problem: 'unreadable' },
      credentialsProblem: { code: 'CREDENTIALS_INVALID', message: 'x' },
      absentFollowers: [{ name: 'b', slot: { state: 'lost' } }],
    })
    const { healthy, warnings } = healthOf(status, NOW)
    expect(healthy).toBe(true)
    expect(warnings.map(({ code }) => code)).toEqual([
      'ACKS_DEGRADED',
      'CERTIFICATE_EXPIRES',
      'CERTIFICATE_NOT_TAKEN',
      'CREDENTIALS_INVALID',
      'FOLLOWER_LOST_SLOT',
    ])
  })
})

describe('ready for writes', () => {
  test('is a leader that answers them in time', () => {
    expect(codes(leader())).toEqual([])
    expect(codes(leader({ state: 'recovering' }))).toEqual(['RECOVERING'])
    expect(codes(leader({ acks: { ...ACKS, pending: '1/5', pendingMs: 1001 } }))).toEqual(['ACKS_MISSING'])
    expect(codes(leader({ acks: { ...ACKS, pending: '1/5', pendingMs: 999 } }))).toEqual([])
    expect(codes(leader({ writes: { queued: 1, waitingMs: 1001 } }))).toEqual(['WRITES_WAIT'])
    expect(codes(leader({ state: 'closed' }))).toEqual(['NODE_CLOSED'])
    expect(codes(follower({ lag: LAG, heardMs: 1 }), { for: 'writes' })).toEqual(['IS_FOLLOWER'])
  })
})

describe('ready for reads', () => {
  test('is a follower within the staleness that is asked for, by the older of what it lacks and what it heard', () => {
    const known = follower({ lag: LAG, heardMs: 50 })
    expect(stalenessOf(known)).toBe(200)
    expect(codes(known, { ms: 200 })).toEqual([])
    expect(codes(known, { ms: 199 })).toEqual(['STALE'])
    const silent = follower({ lag: { ...LAG, records: 0, ageMs: 0 }, heardMs: 900 })
    expect(stalenessOf(silent)).toBe(900)
    expect(codes(silent, { ms: 899 })).toEqual(['STALE'])
  })

  test('is none that does not know: no link, older than known, no data', () => {
    for (const following of [
      { lag: undefined, heardMs: undefined },
      { lag: undefined, heardMs: 3000 },
      { lag: { ...LAG, ageIsAtLeast: true }, heardMs: 1 },
    ])
      expect(codes(follower(following), { ms: 1e9 })).toEqual(['STALENESS_UNKNOWN'])
    expect(codes(follower(undefined, 'bootstrapping'))).toEqual(['NO_DATA'])
  })

  test('is a leader, also while its end waits for acks, but not one that failed', () => {
    expect(codes(leader({ state: 'recovering' }), { for: 'reads' })).toEqual([])
    expect(codes(leader({ failure: { code: 'LOG_FAILED', message: 'x' } }), { for: 'reads' })).toEqual([
      'LOG_FAILED',
    ])
  })
})
