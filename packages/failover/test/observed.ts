/** Observations for tests: a cluster whose leader `a` is dead, with followers where they are said to be. */
import type { EpochHistory } from '@understudy/contracts'
import type { AttemptView, Member, MemberReport, Observations, Rule } from '../src/index.ts'

export const RUN_1: string = '1'.repeat(16)
export const RUN_2: string = '2'.repeat(16)
export const ATTEMPT: AttemptView = { epoch: 2, runId: RUN_2, candidate: 'b' }

export const HISTORY: EpochHistory = [{ number: 1, runId: RUN_1, leader: 'a', firstLsn: 1, crcBefore: 0 }]

export function any(count: number, ...names: string[]): Rule {
  return { level: 'durable', of: { kind: 'any', count, names } }
}

export function report(lsn: number, more: Partial<MemberReport> = {}): MemberReport {
  return {
    end: { epoch: 1, lsn, crc: lsn * 7 },
    history: HISTORY,
    appliedLsn: lsn,
    state: 'streaming',
    deltaUnverified: false,
    logDamaged: false,
    receiversStopped: false,
    keptReceived: true,
    idsProven: true,
    ...more,
  }
}

export function member(
  name: string,
  lsn: number,
  more: Partial<MemberReport> = {},
  rest: Partial<Member> = {},
): Member {
  return { name, report: report(lsn, more), ...rest }
}

/** As `member`, stopped and bound to the attempt. */
export function held(
  name: string,
  lsn: number,
  more: Partial<MemberReport> = {},
  rest: Partial<Member> = {},
): Member {
  return member(name, lsn, { receiversStopped: true, promised: ATTEMPT, ...more }, rest)
}

export function gone(name: string): Member {
  return { name }
}

export interface Given extends Partial<Observations> {
  readonly rule?: Rule
  readonly next?: Rule
}

/** A dead leader, a coordinator that lets somebody else lead, one rule. */
export function observed(members: readonly Member[], given: Given = {}): Observations {
  const { rule = any(1, 'b', 'c'), next, ...rest } = given
  return {
    nowMs: 1000,
    self: 'b',
    leader: 'a',
    verdict: { verdict: 'dead', silentMs: 900, reasons: ['nobody hears a'] },
    members: [gone('a'), ...members],
    coordinator: {
      kind: 'reachable',
      revision: '7',
      state: { epoch: 1, runId: RUN_1, leader: 'a', acks: { rule, ...(next && { next }) }, paused: false },
      lease: { holder: 'a', epoch: 1, freeAtMs: 900 },
    },
    intent: { kind: 'automatic' },
    policy: { mode: 'act', paused: false, allowAsyncFailover: false, turnMs: 1000, restMs: 0 },
    ...rest,
  }
}
