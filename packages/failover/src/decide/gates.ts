/**
 * What comes before any choice: whether anything may be done at all now.
 *
 * Validity conditions:
 * 1. Without anybody's wish only a leader that the cluster holds dead is replaced, and only with the coordinator's say.
 * 2. A person may do more, but not have two leaders: a leader that is heard, or whose lease may be in force, is not replaced
 *    behind its back.
 * 3. Whoever begins an epoch published it before. So a member with a newer one than was seen published has a leader that this
 *    node did not hear of yet: nothing is done against it.
 */
import type { Action } from './decision.ts'
import type { Observations } from './observations.ts'

export interface Gate {
  readonly action: Action
  readonly reasons: readonly string[]
}

/** Why nothing is chosen now; `undefined`: go on. */
export function gate(observations: Observations): Gate | undefined {
  const { intent } = observations
  if (intent.kind === 'automatic') return automaticGate(observations) ?? lapsing(observations)
  return personGate(observations) ?? (intent.kind === 'promote' ? lapsing(observations) : undefined)
}

function automaticGate(observations: Observations): Gate | undefined {
  const { coordinator, policy, verdict, nowMs, promotedAtMs, leader, members } = observations
  const none = (reason: string): Gate => ({ action: { kind: 'none' }, reasons: [...verdict.reasons, reason] })
  if (policy.paused) return none('automatic failover is paused on this node')
  if (coordinator.kind === 'manual') return none('there is no coordinator: a person promotes')
  if (coordinator.kind === 'unreachable')
    return none('the coordinator is not reached: nobody is promoted without it')
  if (coordinator.state?.paused === true) return none('automatic failover is paused for the cluster')
  if (leader === undefined) return none('nobody ever led: a person promotes the first leader')
  if (verdict.verdict !== 'dead') return none(`${leader} is not held dead`)
  const published = coordinator.state?.epoch
  const ahead = members.find(
    (member) => (member.report?.history.at(-1)?.number ?? 0) > (published ?? Infinity),
  )
  if (ahead !== undefined)
    return none(
      `${ahead.name} follows an epoch above ${published}, the newest that was seen published: look again`,
    )
  const rested = (promotedAtMs ?? -Infinity) + policy.restMs
  if (rested > nowMs)
    return { action: { kind: 'wait', untilMs: rested }, reasons: ['the last promotion was only just'] }
  const { holdUntilMs } = observations
  if (observations.attempt === undefined && holdUntilMs !== undefined && holdUntilMs > nowMs)
    return { action: { kind: 'wait', untilMs: holdUntilMs }, reasons: ['another attempt was under way'] }
  return undefined
}

function personGate(observations: Observations): Gate | undefined {
  const { coordinator, verdict, intent, leader, members } = observations
  const refuse = (reason: string, ...help: string[]): Gate => ({
    action: { kind: 'refuse', help },
    reasons: [...verdict.reasons, reason],
  })
  if (coordinator.kind === 'unreachable')
    return refuse(
      'the coordinator is not reached, and could let another one lead',
      'bring the coordinator back',
      'if it is gone for good, start the nodes without one, and promote then',
    )
  if (intent.kind === 'switchover') {
    const old = members.find((member) => member.name === leader)
    if (old?.report === undefined || old.answers === false)
      return refuse(`${leader ?? 'the leader'} takes no part, and could not hand over`, 'use promote')
    return undefined
  }
  if (verdict.verdict === 'alive')
    return refuse(`${leader} leads`, 'use switchover, which loses nothing', `stop ${leader} first`)
  return undefined
}

/** A lease that somebody may still hold: this node too, when it was restarted meanwhile. */
function lapsing({ coordinator, nowMs }: Observations): Gate | undefined {
  if (coordinator.kind !== 'reachable') return undefined
  const { lease } = coordinator
  if (lease === undefined || lease.freeAtMs <= nowMs) return undefined
  return {
    action: { kind: 'wait', untilMs: lease.freeAtMs },
    reasons: [`the lease of ${lease.holder} may be in force for ${Math.ceil(lease.freeAtMs - nowMs)} ms`],
  }
}
