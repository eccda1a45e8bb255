import { describe, expect, test } from 'vitest'
import { confirm, mayLead, type ConfirmInput, type LeaderView, type LeadershipInput } from '../src/index.ts'

function view(from: string, hears: boolean, more: Partial<LeaderView> = {}): LeaderView {
  const by = hears ? 'heartbeat' : 'silence'
  return { from, hears, silentMs: hears ? 0 : 900, by, isCertain: false, stalled: false, ageMs: 10, ...more }
}

function ask(views: LeaderView[], more: Partial<ConfirmInput> = {}): ReturnType<typeof confirm> {
  return confirm({
    nowMs: 1000,
    leader: 'a',
    members: ['a', 'b', 'c', 'd'],
    views,
    quorum: 'majority',
    viewMsMax: 500,
    ...more,
  })
}

describe('confirm', () => {
  test('a quorum of silence is a dead leader', () => {
    const verdict = ask([view('b', false), view('c', false, { silentMs: 700 })])
    expect(verdict).toMatchObject({ verdict: 'dead', silentMs: 700 })
    expect(ask([view('b', false)])).toMatchObject({ verdict: 'undecided' })
  })

  test('one follower that hears it is enough: cut off from others is not dead', () => {
    expect(ask([view('b', false), view('c', false), view('d', true)])).toMatchObject({
      verdict: 'alive',
      reasons: ['d hears a'],
    })
  })

  test('old views, views of nodes that were stopped, and views of strangers count for nothing', () => {
    expect(ask([view('b', false), view('c', false, { ageMs: 501 })]).verdict).toBe('undecided')
    expect(ask([view('b', false), view('c', false, { stalled: true })]).verdict).toBe('undecided')
    expect(ask([view('b', false), view('x', false)]).verdict).toBe('undecided')
    expect(ask([view('b', false), view('c', false), view('d', true, { ageMs: 501 })]).verdict).toBe('dead')
  })

  test('the word of the leader that it leads is none; that it does not lead needs no quorum', () => {
    expect(ask([view('a', true), view('b', false), view('c', false)]).verdict).toBe('dead')
    expect(ask([view('a', false)]).verdict).toBe('dead')
    expect(ask([view('a', false), view('b', true)]).verdict).toBe('alive')
    expect(ask([view('a', false, { stalled: true })]).verdict).toBe('undecided')
  })

  test('a lease that is not free yet outweighs all silence', () => {
    const silence = [view('b', false), view('c', false), view('d', false)]
    expect(ask(silence, { leaseFreeAtMs: 1001 }).verdict).toBe('undecided')
    expect(ask(silence, { leaseFreeAtMs: 1000 }).verdict).toBe('dead')
  })

  test('the quorum is chosen: all, most, or a number, and never nobody', () => {
    const two = [view('b', false), view('c', false)]
    expect(ask(two, { quorum: 'all' }).verdict).toBe('undecided')
    expect(ask(two, { quorum: 3 }).verdict).toBe('undecided')
    expect(ask([], { quorum: 0 }).verdict).toBe('undecided')
    expect(ask([view('b', false)], { quorum: 'all', members: ['a', 'b'] }).verdict).toBe('dead')
  })
})

describe('leadership', () => {
  const input: LeadershipInput = {
    nowMs: 1000,
    coordinator: 'lease',
    superseded: false,
    members: ['b', 'c'],
    grants: [],
    marginMs: 10,
  }

  test('by a lease, until it ends and no longer', () => {
    expect(mayLead({ ...input, leaseValidUntilMs: 1001 })).toMatchObject({
      may: true,
      untilMs: 1001,
      by: 'lease',
    })
    expect(mayLead({ ...input, leaseValidUntilMs: 1000 })).toMatchObject({ may: false, by: 'nobody' })
  })

  test('without one, by the word of all followers, counted from before they were asked', () => {
    const grants = [
      { from: 'b', askedAtMs: 900, forMs: 200 },
      { from: 'c', askedAtMs: 850, forMs: 200 },
    ]
    expect(mayLead({ ...input, grants })).toMatchObject({ may: true, untilMs: 1040, by: 'followers' })
    expect(mayLead({ ...input, nowMs: 1040, grants }).may).toBe(false)
    expect(mayLead({ ...input, grants: grants.slice(0, 1) })).toMatchObject({
      may: false,
      reason: 'its lease is over, and c did not say that it follows',
    })
    expect(mayLead({ ...input, members: [] }).may).toBe(false)
  })

  test('never after a higher epoch was promised or seen', () => {
    expect(mayLead({ ...input, leaseValidUntilMs: 9999, superseded: true }).may).toBe(false)
    expect(mayLead({ ...input, coordinator: 'manual', superseded: true }).may).toBe(false)
    expect(mayLead({ ...input, coordinator: 'manual' })).toMatchObject({ may: true, by: 'manual' })
  })
})
