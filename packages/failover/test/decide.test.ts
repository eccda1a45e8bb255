import { describe, expect, test } from 'vitest'
import { decide, rulesAfter, type Decision, type Intent, type Promised } from '../src/index.ts'
import { any, ATTEMPT, gone, held, HISTORY, member, observed, RUN_1, RUN_2 } from './observed.ts'

const PERSON: Intent = { kind: 'promote', acceptLoss: false }
const LOSS: Intent = { kind: 'promote', acceptLoss: true }

function rejectedOf(decision: Decision): Record<string, string> {
  return Object.fromEntries(decision.rejected.map(({ name, reason }) => [name, reason]))
}

describe('the steps of a failover, each from what is observed then', () => {
  test('receivers stop before anything is promised', () => {
    expect(decide(observed([member('b', 10), member('c', 10)]))).toMatchObject({
      action: { kind: 'stopReceivers', names: ['b', 'c'] },
      actor: 'b',
    })
  })

  test('then all are asked for a promise above every number that anybody knows', () => {
    const stopped = { receiversStopped: true }
    const promised = { epoch: 5, runId: RUN_2, candidate: 'c' }
    const members = [member('b', 10, stopped), member('c', 10, { ...stopped, promised })]
    expect(decide(observed(members)).action).toEqual({ kind: 'promise', epoch: 6, voters: ['b', 'c'] })
  })

  test('nothing is compared before all that answer have promised', () => {
    const members = [held('b', 10), member('c', 12, { receiversStopped: true })]
    expect(decide(observed(members, { attempt: ATTEMPT })).action).toEqual({
      kind: 'promise',
      epoch: 2,
      runId: RUN_2,
      voters: ['c'],
    })
    const moving = [held('b', 10), held('c', 12, { receiversStopped: false })]
    expect(decide(observed(moving, { attempt: ATTEMPT })).action).toMatchObject({
      kind: 'promise',
      voters: ['c'],
    })
  })

  test('a tail that another one has is fetched first', () => {
    const members = [held('b', 10), held('c', 12)]
    expect(decide(observed(members, { attempt: ATTEMPT })).action).toMatchObject({
      kind: 'fetchTail',
      from: 'c',
      to: 'b',
      after: { epoch: 1, lsn: 10 },
      upTo: { epoch: 1, lsn: 12 },
    })
  })

  test('also from one that may not lead itself', () => {
    const never = [held('b', 10), held('c', 12, {}, { neverPromote: true })]
    expect(decide(observed(never, { attempt: ATTEMPT })).action).toMatchObject({
      kind: 'fetchTail',
      from: 'c',
    })
    const broken = [held('b', 10), held('c', 12, { state: 'diverged' })]
    expect(decide(observed(broken, { attempt: ATTEMPT })).action).toMatchObject({
      kind: 'fetchTail',
      from: 'c',
    })
  })

  test('then it is promoted, over exactly the state that was seen, with the old leader in its place', () => {
    const members = [held('b', 12, { appliedLsn: 9 }), held('c', 12)]
    expect(decide(observed(members, { attempt: ATTEMPT }))).toMatchObject({
      action: {
        kind: 'promote',
        name: 'b',
        epoch: 2,
        runId: RUN_2,
        from: { epoch: 1, lsn: 12 },
        backlog: 3,
        acks: { rule: any(1, 'a', 'c') },
        expectedRevision: '7',
        raiseIds: false,
      },
      proof: { isProven: true },
    })
  })

  test('an attempt that was outbid is over', () => {
    const outbid = { promised: { epoch: 3, runId: '3'.repeat(16), candidate: 'c' } }
    const decision = decide(observed([held('b', 12), held('c', 12, outbid)], { attempt: ATTEMPT }))
    expect(decision.action.kind).toBe('refuse')
    expect(decision.reasons.at(-1)).toBe('c promised the epoch 3, above 2: another attempt is under way')
  })
})

describe('who is chosen', () => {
  const chosen = (...members: Parameters<typeof observed>[0]): string | undefined =>
    decide(observed(members)).actor

  test('by epoch, then LSN, then priority, then name', () => {
    expect(chosen(member('c', 99), member('b', 10, { end: { epoch: 2, lsn: 10, crc: 1 } }))).toBe('b')
    expect(chosen(member('b', 10), member('c', 11))).toBe('c')
    expect(chosen(member('b', 10), member('c', 10, {}, { priority: 1 }))).toBe('c')
    expect(chosen(member('c', 10), member('b', 10))).toBe('b')
  })

  test('whose log parted from the most advanced one comes last', () => {
    const two = { number: 2, runId: RUN_2, leader: 'b', firstLsn: 21, crcBefore: 140 }
    const best = member(
      'b',
      30,
      { end: { epoch: 2, lsn: 30, crc: 1 }, history: [...HISTORY, two] },
      { neverPromote: true },
    )
    const named = (...members: Parameters<typeof observed>[0]): string | undefined =>
      decide(observed(members, { intent: { kind: 'promote', acceptLoss: true } })).actor
    expect(named(best, member('c', 25), member('d', 20))).toBe('d')
    expect(named(best, member('c', 25))).toBe('c')
  })

  test('everybody else is named with a reason', () => {
    const rule = any(5, 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j')
    const members = [
      member('b', 10),
      member('c', 9),
      gone('d'),
      member('e', 10, { logDamaged: true }),
      member('f', 10, { state: 'bootstrapping' }),
      member('g', 10, { state: 'diverged' }),
      member('h', 10, { deltaUnverified: true }),
      member('i', 10, {}, { neverPromote: true }),
      member('j', 10, { idsProven: false }),
      member('k', 10, {}, { answers: false, refusal: 'it hears the leader' }),
    ]
    expect(rejectedOf(decide(observed(members, { rule })))).toEqual({
      a: 'does not answer',
      c: 'at 1/9, it comes after b',
      d: 'does not answer',
      e: 'its log is damaged: it may lack what it acknowledged',
      f: 'it has no copy of the database yet',
      g: 'its database differs from what its log says',
      h: 'its pages are not verified yet',
      i: 'it is never promoted, as it was told',
      j: 'it cannot prove the newest ceiling of ids: it could give one twice',
      k: 'it hears the leader',
    })
  })

  test('when the best one does not act, the next one has its turn, and so on', () => {
    const members = [member('b', 10), member('c', 9)]
    const actor = (confirmedAtMs: number): string | undefined =>
      decide(observed(members, { confirmedAtMs })).actor
    expect([actor(1000), actor(1), actor(0), actor(-999), actor(-1000)]).toEqual(['b', 'b', 'c', 'c', 'b'])
  })

  test('nobody: says of each why not', () => {
    const decision = decide(observed([member('b', 10, {}, { neverPromote: true })]))
    expect(decision.action).toEqual({
      kind: 'refuse',
      help: ['a: does not answer', 'b: it is never promoted, as it was told'],
    })
  })
})

describe('what is provable', () => {
  const isProven = (
    rule = any(1, 'b', 'c'),
    ...members: Parameters<typeof observed>[0]
  ): boolean | undefined => decide(observed(members, { rule })).proof?.isProven

  test('fewer are missing than had to have a commit: every N and W', () => {
    for (let n = 1; n <= 6; n++)
      for (let w = 1; w <= n; w++)
        for (let r = 1; r <= n; r++) {
          const names = ['b', 'c', 'd', 'e', 'f', 'g'].slice(0, n)
          const members = names.slice(0, r).map((name) => member(name, 10))
          for (const kind of ['any', 'first'] as const) {
            const rule = { level: 'durable', of: { kind, count: w, names } } as const
            expect(isProven(rule, ...members), `${kind} ${w} of ${n}, ${r} held`).toBe(r + w > n)
          }
        }
  })

  test('while a set changes both rules count', () => {
    const both = { rule: any(1, 'b', 'c'), next: any(1, 'd', 'e') }
    expect(decide(observed([member('b', 10), member('c', 10)], both)).action.kind).toBe('refuse')
    expect(decide(observed([member('d', 10), member('e', 10)], both)).action.kind).toBe('refuse')
    const all = ['b', 'c', 'd', 'e'].map((name) => member(name, 10))
    expect(decide(observed(all, both)).proof?.isProven).toBe(true)
  })

  test('of the level received only members whose process went on', () => {
    const rule = { level: 'received', of: { kind: 'any', count: 1, names: ['b', 'c'] } } as const
    expect(isProven(rule, member('b', 10), member('c', 10))).toBe(true)
    expect(isProven(rule, member('b', 10), member('c', 10, { keptReceived: false }))).toBe(false)
    expect(isProven(any(1, 'b', 'c'), member('b', 10), member('c', 10, { keptReceived: false }))).toBe(true)
  })

  test('a damaged log, or none, is as good as missing', () => {
    expect(isProven(any(1, 'b', 'c'), member('b', 10), member('c', 10, { logDamaged: true }))).toBe(false)
    expect(isProven(any(1, 'b', 'c'), member('b', 10), member('c', 10, { state: 'bootstrapping' }))).toBe(
      false,
    )
    expect(isProven(any(1, 'b', 'c'), member('b', 10), member('c', 10, { state: 'diverged' }))).toBe(true)
  })

  test('a refusal names whom it would take', () => {
    const decision = decide(observed([member('b', 10, { leaderEnd: { epoch: 1, lsn: 14 } })]))
    expect(decision).toMatchObject({
      action: {
        kind: 'refuse',
        help: [
          'bring back c',
          'bring back a, which has all of them',
          'promote with accept-loss, which may lose acknowledged commits',
        ],
      },
      mayLose: { after: { epoch: 1, lsn: 10 }, knownEnd: { epoch: 1, lsn: 14 }, records: 4 },
    })
  })

  test('asynchronous: nothing, unless the policy or a person accepts it, and then what may be lost is named', () => {
    const rule = { level: 'local' } as const
    const members = [member('b', 10, { leaderEnd: { epoch: 1, lsn: 12 } })]
    const policy = { ...observed([]).policy, allowAsyncFailover: true }
    expect(decide(observed(members, { rule })).action.kind).toBe('refuse')
    const loss = { mayLose: { after: { epoch: 1, lsn: 10 }, records: 2 } }
    expect(decide(observed(members, { rule, policy }))).toMatchObject({
      action: { kind: 'stopReceivers' },
      ...loss,
    })
    expect(decide(observed(members, { rule, intent: PERSON })).action.kind).toBe('refuse')
    expect(decide(observed(members, { rule, intent: LOSS }))).toMatchObject({
      action: { kind: 'stopReceivers' },
      ...loss,
    })
  })

  test('allowAsyncFailover gives nothing away where a rule was asked for', () => {
    const policy = { ...observed([]).policy, allowAsyncFailover: true }
    expect(decide(observed([member('b', 10)], { policy })).action.kind).toBe('refuse')
    expect(
      decide(observed([member('b', 10)], { rule: { level: 'local' }, next: any(1, 'b', 'c'), policy })).action
        .kind,
    ).toBe('refuse')
  })

  test('a rule that is lowered is asynchronous in what was written meanwhile, and only where the rest is proven', () => {
    const lowered = { rule: any(1, 'b', 'c'), next: { level: 'local' } as const }
    const policy = { ...observed([]).policy, allowAsyncFailover: true }
    const both = [member('b', 10, { leaderEnd: { epoch: 1, lsn: 12 } }), member('c', 9)]
    expect(decide(observed(both, lowered)).action.kind).toBe('refuse')
    expect(decide(observed(both, { ...lowered, policy }))).toMatchObject({
      action: { kind: 'stopReceivers' },
      mayLose: { after: { epoch: 1, lsn: 10 }, records: 2 },
    })
    expect(decide(observed([member('b', 10), gone('c')], { ...lowered, policy })).action.kind).toBe('refuse')
  })

  test('the old leader, when it takes part, has all of it; but not one that was published and never began', () => {
    const rule = { level: 'local' } as const
    const withA = { ...observed([]), members: [member('a', 12), member('b', 10), gone('c')] }
    const { coordinator } = observed([], { rule })
    expect(decide({ ...withA, coordinator }).proof).toMatchObject({ isProven: true })
    const published =
      coordinator.kind === 'reachable' && coordinator.state !== undefined
        ? { ...coordinator, state: { ...coordinator.state, epoch: 2, runId: RUN_2 } }
        : coordinator
    expect(decide({ ...withA, coordinator: published }).proof).toMatchObject({ isProven: false })
  })

  test('when every member takes part there is nobody else to ask', () => {
    const members = [member('a', 12), member('b', 10)]
    expect(
      decide({ ...observed([], { rule: { level: 'local' } }), leader: 'x', members }).proof?.isProven,
    ).toBe(true)
  })
})

describe('the rule of the new leader', () => {
  test('has the old leader where its own name stood', () => {
    expect(rulesAfter({ rule: any(1, 'b', 'c'), next: any(2, 'b', 'd') }, 'b', 'a')).toEqual({
      rule: any(1, 'a', 'c'),
      next: any(2, 'a', 'd'),
    })
    expect(rulesAfter({ rule: any(1, 'b', 'c') }, 'd', 'a')).toEqual({ rule: any(1, 'b', 'c') })
    expect(rulesAfter({ rule: any(2, 'b', 'c') }, 'b', undefined)).toEqual({ rule: any(1, 'c') })
    expect(rulesAfter({ rule: any(1, 'b') }, 'b', undefined)).toEqual({ rule: { level: 'local' } })
  })

  test('keeps every acknowledged commit with as many of its members as before', () => {
    const names = ['b', 'c', 'd', 'e']
    for (let holders = 0; holders < 16; holders++)
      for (const winner of [...names, 'x']) {
        const has = new Set(['a', winner, ...names.filter((_, at) => (holders & (1 << at)) !== 0)])
        const count = names.filter((name) => has.has(name)).length
        const { rule } = rulesAfter({ rule: any(1, ...names) }, winner, 'a')
        expect(rule.of?.names.filter((name) => has.has(name)).length).toBeGreaterThanOrEqual(count)
      }
  })
})

describe('when nothing may be done', () => {
  const members = [member('b', 10), member('c', 10)]
  const alive = { verdict: 'alive', silentMs: 0, reasons: ['c hears a'] } as const

  test('the leader is heard, or not held dead by enough', () => {
    expect(decide(observed(members, { verdict: alive }))).toMatchObject({
      action: { kind: 'none' },
      reasons: ['c hears a', 'a is not held dead'],
    })
  })

  test('paused, on this node or for the cluster, where nobody asks; a person may all the same', () => {
    const policy = { ...observed([]).policy, paused: true }
    expect(decide(observed(members, { policy })).action).toEqual({ kind: 'none' })
    expect(decide(observed(members, { policy, intent: PERSON })).action.kind).toBe('stopReceivers')
    const { coordinator } = observed([])
    if (coordinator.kind !== 'reachable' || coordinator.state === undefined) throw new Error('no state')
    const paused = { ...coordinator, state: { ...coordinator.state, paused: true } }
    expect(decide(observed(members, { coordinator: paused })).action).toEqual({ kind: 'none' })
  })

  test('observing only says what would be done', () => {
    const policy = { ...observed([]).policy, mode: 'observe' } as const
    expect(decide(observed(members, { policy }))).toMatchObject({
      action: { kind: 'none' },
      observed: { kind: 'stopReceivers', names: ['b', 'c'] },
    })
  })

  test('the coordinator is gone: a leader goes on as long as its followers agree, and no person gets around it', () => {
    const coordinator = { kind: 'unreachable', sinceMs: 500 } as const
    expect(decide(observed(members, { coordinator })).action).toEqual({ kind: 'none' })
    expect(decide(observed(members, { coordinator, intent: LOSS })).action.kind).toBe('refuse')
  })

  test('a lease that may be in force is waited for, by a person too', () => {
    const { coordinator } = observed([])
    if (coordinator.kind !== 'reachable') throw new Error('unreachable')
    const leased = { ...coordinator, lease: { holder: 'a', epoch: 1, freeAtMs: 1200 } }
    expect(decide(observed(members, { coordinator: leased })).action).toEqual({ kind: 'wait', untilMs: 1200 })
    expect(decide(observed(members, { coordinator: leased, intent: LOSS })).action).toEqual({
      kind: 'wait',
      untilMs: 1200,
    })
  })

  test('right after a promotion, or another attempt, it is waited', () => {
    const policy = { ...observed([]).policy, restMs: 500 }
    expect(decide(observed(members, { policy, promotedAtMs: 800 })).action).toEqual({
      kind: 'wait',
      untilMs: 1300,
    })
    expect(decide(observed(members, { holdUntilMs: 1100 })).action).toEqual({ kind: 'wait', untilMs: 1100 })
    expect(decide(observed(members, { holdUntilMs: 1000 })).action.kind).toBe('stopReceivers')
  })

  test('somebody follows an epoch that this node has not seen published: it looks again', () => {
    const later = [...HISTORY, { number: 2, runId: RUN_2, leader: 'c', firstLsn: 11, crcBefore: 70 }]
    const ahead = [member('b', 10), member('c', 11, { history: later, end: { epoch: 2, lsn: 11, crc: 5 } })]
    expect(decide(observed(ahead)).action).toEqual({ kind: 'none' })
  })
})

describe('without a coordinator', () => {
  const rules = { rule: any(1, 'b', 'c'), mayBeLowered: false }
  const manual = { coordinator: { kind: 'manual' } } as const

  test('nobody is promoted unless a person asks', () => {
    const members = [member('b', 10, { rules }), member('c', 10, { rules })]
    expect(decide(observed(members, manual)).action).toEqual({ kind: 'none' })
    expect(decide(observed(members, { ...manual, intent: PERSON })).proof).toMatchObject({ isProven: true })
  })

  test('a person does not get around what is not proven without accepting the loss', () => {
    const members = [member('b', 10, { rules }), gone('c')]
    expect(decide(observed(members, { ...manual, intent: PERSON })).action.kind).toBe('refuse')
    expect(decide(observed(members, { ...manual, intent: LOSS })).mayLose).toEqual({
      after: { epoch: 1, lsn: 10 },
    })
  })

  test('a leader that is heard is not promoted over', () => {
    const verdict = { verdict: 'alive', silentMs: 0, reasons: ['c hears a'] } as const
    const members = [member('b', 10, { rules }), member('c', 10, { rules })]
    expect(decide(observed(members, { ...manual, verdict, intent: LOSS })).action).toEqual({
      kind: 'refuse',
      help: ['use switchover, which loses nothing', 'stop a first'],
    })
  })

  test('the rule is what the newest logs say; one that may be lowered unheard, or that nobody knows, proves nothing', () => {
    const lowered = { ...rules, mayBeLowered: true }
    const proof = (mine: typeof rules | undefined): unknown => {
      const more = mine && { rules: mine }
      const members = [member('b', 10, more), member('c', 10, more)]
      return decide(observed(members, { ...manual, intent: PERSON })).proof
    }
    expect(proof(rules)).toMatchObject({ isProven: true })
    expect(proof(lowered)).toMatchObject({ isProven: false })
    expect(proof(undefined)).toMatchObject({
      isProven: false,
      rules: [{ why: 'no member knows which rule is in force' }],
    })
  })

  test('a leader that was cut off does not take itself for the last one', () => {
    const alone = {
      ...observed([], { ...manual, intent: PERSON, self: 'a' }),
      members: [member('a', 12, { rules }), gone('b'), gone('c')],
    }
    expect(decide(alone).action.kind).toBe('refuse')
  })

  test('nor does it count while it takes part, unless W members say that nobody else was promised anything after it', () => {
    const led = { epoch: 1, runId: RUN_1, candidate: 'a' }
    const later = { epoch: 5, runId: '5'.repeat(16), candidate: 'c' }
    const isProven = (promised: Promised | undefined, attempt?: typeof ATTEMPT): boolean | undefined => {
      const more = { rules, receiversStopped: attempt !== undefined, ...(promised && { promised }) }
      const members = [member('a', 12, more), member('b', 12, more), gone('c')]
      return decide({ ...observed([], { ...manual, intent: PERSON, ...(attempt && { attempt }) }), members })
        .proof?.isProven
    }
    expect(isProven(led)).toBe(true)
    expect(isProven(undefined)).toBe(true)
    expect(isProven(later)).toBe(false)
    expect(isProven({ ...led, runId: RUN_2 })).toBe(false)
    // Once they promised this attempt, what they promised before it counts.
    expect(isProven({ ...ATTEMPT, previous: led }, ATTEMPT)).toBe(true)
    expect(isProven({ ...ATTEMPT, previous: later }, ATTEMPT)).toBe(false)
  })

  test('two promotions of one number are told apart by their run, and a person chooses', () => {
    const fork = (runId: string, lsn: number): object => ({
      rules,
      end: { epoch: 2, lsn, crc: lsn },
      history: [...HISTORY, { number: 2, runId, leader: 'b', firstLsn: 11, crcBefore: 70 }],
    })
    const members = [member('b', 11, fork(RUN_1, 11)), member('c', 12, fork(RUN_2, 12))]
    const decision = decide(observed(members, { ...manual, intent: LOSS }))
    expect(decision.action.kind).toBe('refuse')
    expect(decision.reasons.at(-1)).toMatch(/^epoch 2 of (b|c) is the run .*: two promotions$/)
    // With a coordinator the published run is the right one.
    const { coordinator } = observed([])
    if (coordinator.kind !== 'reachable' || coordinator.state === undefined) throw new Error('no state')
    const published = { ...coordinator, state: { ...coordinator.state, epoch: 2, runId: RUN_2, leader: 'c' } }
    expect(
      rejectedOf(decide(observed(members, { coordinator: published, leader: 'c', intent: LOSS })))['b'],
    ).toMatch(/another history/)
  })

  test('other records at one position are no one history', () => {
    const members = [
      member('b', 10, { rules }),
      member('c', 10, { rules, end: { epoch: 1, lsn: 10, crc: 1 } }),
    ]
    expect(decide(observed(members, { ...manual, intent: LOSS })).reasons.at(-1)).toBe(
      'b and c have different records at 1/10',
    )
  })
})

describe('a switchover', () => {
  const verdict = { verdict: 'alive', silentMs: 0, reasons: ['c hears a'] } as const
  const leading = member('a', 12, { state: 'leading' })
  const given = (members: Parameters<typeof observed>[0], target?: string): ReturnType<typeof observed> => ({
    ...observed([], { verdict, intent: { kind: 'switchover', ...(target !== undefined && { target }) } }),
    members,
  })

  test('asks the leader to stop too, and it loses nothing whatever the rule', () => {
    const members = [leading, member('b', 10), member('c', 11)]
    expect(decide(given(members))).toMatchObject({
      action: { kind: 'stopReceivers', names: ['a', 'b', 'c'] },
      actor: 'c',
      proof: { isProven: true },
    })
  })

  test('to whom was named, who fetches what it lacks', () => {
    const members = [held('a', 12, { state: 'leading' }), held('b', 10), held('c', 11)]
    const decision = decide({ ...given(members, 'b'), attempt: ATTEMPT })
    expect(decision).toMatchObject({ action: { kind: 'fetchTail', from: 'a', to: 'b' }, actor: 'b' })
    expect(rejectedOf(decision)['c']).toBe('b was named')
  })

  test('waits for the leader to give its lease back', () => {
    const { coordinator } = observed([])
    if (coordinator.kind !== 'reachable') throw new Error('unreachable')
    const leased = { ...coordinator, lease: { holder: 'a', epoch: 1, freeAtMs: 5000 } }
    const members = [held('a', 12, { state: 'leading' }), held('b', 12)]
    expect(decide({ ...given(members), attempt: ATTEMPT, coordinator: leased }).action).toEqual({
      kind: 'wait',
      untilMs: 5000,
    })
  })

  test('is refused where the leader takes no part', () => {
    expect(decide(given([gone('a'), member('b', 10)])).action).toEqual({
      kind: 'refuse',
      help: ['use promote'],
    })
  })
})
