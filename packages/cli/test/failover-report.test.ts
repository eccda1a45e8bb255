/** What members say, as lines and tables. */
import { stripVTControlCharacters } from 'node:util'
import { UnderstudyError } from '@understudy/contracts'
import type { FailoverStatus, MemberEvent, NodeEvent } from '@understudy/node'
import { describe, expect, test } from 'vitest'
import { describeFailover } from '../src/failover-report.ts'
import { showJson, showText } from '../src/node-events.ts'
import { parse } from './helpers.ts'

const PROMOTE: Extract<MemberEvent, { kind: 'decided' }> = {
  kind: 'decided',
  action: {
    kind: 'promote',
    name: 'b',
    epoch: 4,
    runId: '0123456789abcdef',
    from: { epoch: 3, lsn: 1042, crc: 1 },
    backlog: 0,
    raiseIds: false,
  },
  reasons: ['a is dead', 'b has all that was acknowledged'],
}

function lines(...events: NodeEvent[]): string[] {
  const out: string[] = []
  const show = showText({
    out: (line) => void out.push(stripVTControlCharacters(line)),
    error: () => undefined,
  })
  for (const event of events) show(event)
  return out
}

describe('one line at each change', () => {
  const place = { name: 'b', epoch: 4, runId: '0123456789abcdef', address: 'tcp://127.0.0.1:7402' }

  test('who leads, whom it follows, that it stepped down', () => {
    expect(
      lines(
        { kind: 'leader', name: 'b', epoch: 4 },
        { kind: 'follows', leader: place },
        { kind: 'steppedDown', error: new UnderstudyError('NOT_LEADER', 'Node a stopped leading: x.') },
      ),
    ).toEqual([
      'b leads, epoch 4',
      'follows b at tcp://127.0.0.1:7402, epoch 4',
      'stepped down: Node a stopped leading: x.',
    ])
  })

  test('the end of a reign is told once, by the node or by its member', () => {
    const error = new UnderstudyError('LEASE_LOST', 'The lease of a is over.')
    expect(
      lines(
        { kind: 'stoppedLeading', error },
        { kind: 'steppedDown', error },
        { kind: 'state', state: 'disconnected', error: undefined },
      ),
    ).toEqual(['stepped down: The lease of a is over.', 'disconnected'])
  })

  test('what is decided: the promotion, and what would have been', () => {
    const { action, ...rest } = PROMOTE
    const reasons = [...rest.reasons, 'observing only: nothing is done']
    expect(lines(PROMOTE, { ...rest, reasons, action: { kind: 'none' }, observed: action })).toEqual([
      'decided to promote b in the epoch 4, from 3/1042',
      'would promote b in the epoch 4, from 3/1042: b has all that was acknowledged',
    ])
  })

  test('steps on the way are not told', () => {
    const reasons = ['because']
    expect(
      lines(
        { kind: 'decided', action: { kind: 'none' }, reasons },
        { kind: 'decided', action: { kind: 'wait', untilMs: 7 }, reasons },
        { kind: 'decided', action: { kind: 'stopReceivers', names: ['b'] }, reasons },
        { kind: 'decided', action: { kind: 'promise', epoch: 4, voters: ['b'] }, reasons },
      ),
    ).toEqual([])
  })

  test('a refusal that is found again is told once, until something else happens', () => {
    const refusal: NodeEvent = {
      kind: 'decided',
      action: { kind: 'refuse', help: ['start c'] },
      reasons: ['c may have commits'],
    }
    const line = 'nobody is promoted: c may have commits; what helps: start c'
    expect(lines(refusal, refusal, { kind: 'leader', name: 'b', epoch: 4 }, refusal)).toEqual([
      line,
      'b leads, epoch 4',
      line,
    ])
  })

  test('for machines each event is whole', () => {
    const out: string[] = []
    const show = showJson({ out: (line) => void out.push(line), error: () => undefined })
    show({ kind: 'trouble', error: new UnderstudyError('FOREIGN_CLUSTER', 'c is of another cluster.') })
    show(PROMOTE)
    expect(parse(out[0])).toEqual({
      kind: 'trouble',
      error: { code: 'FOREIGN_CLUSTER', message: 'c is of another cluster.' },
    })
    expect(parse(out[1])).toEqual(PROMOTE)
  })
})

describe('the status', () => {
  const status: FailoverStatus = {
    mode: 'act',
    coordinator: { kind: 'sqlite', reached: true, paused: false },
    leader: { name: 'a', epoch: 3, address: 'tcp://127.0.0.1:7401' },
    leads: false,
    phase: 'idle',
    verdict: { verdict: 'alive', reasons: ['b hears it'] },
    members: [
      {
        name: 'a',
        address: 'tcp://127.0.0.1:7401',
        priority: 0,
        neverPromote: false,
        heard: 'alive',
        reason: 'a was heard 20 ms ago',
        state: 'leading',
        position: '3/1042',
        promised: 3,
      },
      {
        name: 'b',
        address: 'tcp://127.0.0.1:7402',
        priority: 5,
        neverPromote: false,
        heard: 'self',
        reason: 'it is this node',
        state: 'streaming',
        position: '3/1042',
      },
      {
        name: 'c',
        address: 'tcp://127.0.0.1:7403',
        priority: 0,
        neverPromote: true,
        heard: 'unreachable',
        reason: 'it was heard 9 s ago',
      },
    ],
    forecast: {
      outcome: 'promote',
      name: 'b',
      tookMs: 1050,
      unreplicated: 0,
      summary: 'b would lead in about 1050 ms; no acknowledged commit would be lost.',
    },
  }
  const shown = (more: Partial<FailoverStatus> = {}): string[] =>
    describeFailover('b', { ...status, ...more }).flatMap((line) =>
      stripVTControlCharacters(line).split('\n'),
    )

  test('of a follower', () => {
    expect(shown()).toEqual([
      'b follows a, epoch 3; coordinator sqlite',
      'member     address               heard        state      position  promised  priority  why',
      'a (leads)  tcp://127.0.0.1:7401  alive        leading    3/1042    3         0',
      'b          tcp://127.0.0.1:7402  itself       streaming  3/1042              5',
      'c          tcp://127.0.0.1:7403  unreachable  unknown    unknown             never     it was heard 9 s ago',
      'the leader is held alive: b hears it',
      'if the leader died now: b would lead in about 1050 ms; no acknowledged commit would be lost.',
    ])
  })

  test('of a leader, with what is left of its lease', () => {
    const leader = { name: 'b', epoch: 4 }
    expect(shown({ leads: true, leader, leaseMs: 612 })[0]).toBe(
      'b leads, epoch 4, 612 ms of its lease left; coordinator sqlite',
    )
  })

  test('while nobody leads: why not, and who was not chosen', () => {
    const { leader: _, ...without } = status
    const said = describeFailover('b', {
      ...without,
      coordinator: { kind: 'etcd', reached: false, problem: 'No answer.', paused: true },
      mode: 'observe',
      phase: 'promising',
      decision: {
        action: { kind: 'none' },
        observed: PROMOTE.action,
        reasons: ['a is dead'],
        rejected: [{ name: 'c', reason: 'it is never promoted' }],
      },
    }).map(stripVTControlCharacters)
    expect(said[0]).toBe(
      'b knows no leader; coordinator etcd, not reached (No answer.), automatic failover is paused, observes only',
    )
    expect(said.slice(3)).toEqual([
      'its own promotion is promising',
      'last decision: would promote b in the epoch 4, from 3/1042: a is dead',
      '  not c: it is never promoted',
      'if the leader died now: b would lead in about 1050 ms; no acknowledged commit would be lost.',
    ])
  })
})
