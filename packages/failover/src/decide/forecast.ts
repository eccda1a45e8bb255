/**
 * "If the leader died now": who would lead, how long it would take, what would be lost. Always answerable, for a status page.
 *
 * Decides: nothing of its own. It asks `decide` as if the leader were dead, pretends that each action worked, and goes on until
 * one is final: so it cannot say anything else than what then happens. Leaves to others: measuring the estimates.
 *
 * Validity conditions:
 * 1. It holds for the observations that it was given: what moves afterwards moves the answer.
 * 2. Times are estimates; the rest is not.
 */
import { comparePositions, formatPosition, type Position } from '@understudy/contracts'
import { decide } from './decide.ts'
import type { Action, Decision, PossibleLoss } from './decision.ts'
import type { Member, MemberReport, Observations } from './observations.ts'

/** How long the parts take, as far as was measured. */
export interface Estimates {
  /** From the leader's death until a quorum holds it dead, in milliseconds. */
  readonly detectMs: number
  /** Time to live of a lease that was renewed just before; 0 without one. */
  readonly leaseMs: number
  /** One question to the members with an fsync there. */
  readonly stepMs: number
  /** Records that travel per second. */
  readonly fetchedPerSecond: number
  /** Records that are applied per second. */
  readonly appliedPerSecond: number
}

export interface Forecast {
  readonly outcome: 'promote' | 'refuse' | 'none'
  /** Who would lead. */
  readonly name?: string
  /** From the death to the first accepted write, in milliseconds. Absent: nobody would lead. */
  readonly tookMs?: number
  /** Acknowledged commits that could be lost. Absent: none could. */
  readonly mayLose?: PossibleLoss
  /** Records of the leader that the new one lacks, as far as is known, acknowledged or not. */
  readonly unreplicated: number
  /** The decision it ends with. */
  readonly decision: Decision
  /** For people. */
  readonly summary: string
}

/** More steps than any failover takes: each member stops, promises and gives a tail once. */
const STEPS_MAX = 16

const TENTATIVE = { epoch: 0, runId: 'f'.repeat(16) }

export function forecast(observations: Observations, estimates: Estimates): Forecast {
  let imagined = withoutLeader(observations)
  let steps = 0
  let fetched = 0
  for (;;) {
    const decision = decide(imagined)
    const { action } = decision
    if (steps++ >= STEPS_MAX || isFinal(action))
      return summed(observations, decision, { steps, fetched }, estimates)
    if (action.kind === 'fetchTail') fetched += action.upTo.lsn - action.after.lsn
    imagined = afterwards(imagined, decision)
  }
}

/** The same, with the leader dead, its lease over, and nothing under way. */
function withoutLeader(observations: Observations): Observations {
  const { nowMs, leader, coordinator, policy } = observations
  const {
    attempt: _attempt,
    holdUntilMs: _hold,
    promotedAtMs: _promoted,
    confirmedAtMs: _confirmed,
    ...rest
  } = observations
  const isManual = coordinator.kind === 'manual'
  return {
    ...rest,
    verdict: { verdict: 'dead', silentMs: 0, reasons: [`if ${leader ?? 'the leader'} died now`] },
    members: observations.members.map((member) => (member.name === leader ? withoutReport(member) : member)),
    coordinator:
      coordinator.kind === 'reachable' && coordinator.lease !== undefined
        ? { ...coordinator, lease: { ...coordinator.lease, freeAtMs: nowMs } }
        : coordinator,
    intent: isManual ? { kind: 'promote', acceptLoss: false } : { kind: 'automatic' },
    policy: { ...policy, mode: 'act' },
  }
}

/** What would be observed once the action was carried out. */
function afterwards(observations: Observations, { action, actor }: Decision): Observations {
  if (action.kind === 'stopReceivers')
    return changed(observations, action.names, (report) => ({ ...report, receiversStopped: true }))
  if (action.kind === 'promise') {
    const attempt = { ...TENTATIVE, epoch: action.epoch, candidate: actor ?? observations.self }
    const asked = changed(observations, action.voters, (report) => ({
      ...report,
      receiversStopped: true,
      promised: attempt,
    }))
    return { ...asked, attempt }
  }
  if (action.kind === 'fetchTail') {
    const source = observations.members.find((member) => member.name === action.from)?.report
    return changed(observations, [action.to], (report) => ({
      ...report,
      end: action.upTo,
      history: source?.history ?? report.history,
    }))
  }
  if (action.kind === 'wait') return { ...observations, nowMs: action.untilMs }
  return observations
}

function changed(
  observations: Observations,
  names: readonly string[],
  change: (report: MemberReport) => MemberReport,
): Observations {
  const members = observations.members.map((member) =>
    member.report !== undefined && names.includes(member.name)
      ? { ...member, report: change(member.report) }
      : member,
  )
  return { ...observations, members }
}

function summed(
  observations: Observations,
  decision: Decision,
  { steps, fetched }: { steps: number; fetched: number },
  estimates: Estimates,
): Forecast {
  const { action, mayLose } = decision
  if (action.kind !== 'promote')
    return {
      outcome: action.kind === 'refuse' ? 'refuse' : 'none',
      unreplicated: 0,
      decision,
      ...(mayLose && { mayLose }),
      summary: `Nobody would be promoted: ${decision.reasons.at(-1) ?? 'no reason'}.`,
    }
  const { detectMs, leaseMs, stepMs, fetchedPerSecond, appliedPerSecond } = estimates
  const isManual = observations.coordinator.kind === 'manual'
  const copying = (1000 * fetched) / fetchedPerSecond + (1000 * (action.backlog + fetched)) / appliedPerSecond
  const tookMs = Math.round((isManual ? 0 : Math.max(detectMs, leaseMs)) + (steps + 1) * stepMs + copying)
  const unreplicated = Math.max(0, (furthest(observations)?.lsn ?? 0) - action.from.lsn)
  const loss =
    mayLose === undefined
      ? 'no acknowledged commit would be lost'
      : `acknowledged commits after ${formatPosition(mayLose.after)} could be lost`
  return {
    outcome: 'promote',
    name: action.name,
    tookMs,
    ...(mayLose && { mayLose }),
    unreplicated,
    decision,
    summary: `${action.name} would lead ${isManual ? 'once a person promotes it, ' : ''}in about ${tookMs} ms; ${loss}, and ${unreplicated} records are not replicated yet.`,
  }
}

function furthest({ members }: Observations): Position | undefined {
  let known: Position | undefined
  for (const { report } of members)
    for (const end of [report?.leaderEnd, report?.end])
      if (end !== undefined && (known === undefined || comparePositions(end, known) > 0)) known = end
  return known
}

function withoutReport({ report: _report, ...member }: Member): Member {
  return member
}

function isFinal({ kind }: Action): boolean {
  return kind === 'promote' || kind === 'refuse' || kind === 'none'
}
