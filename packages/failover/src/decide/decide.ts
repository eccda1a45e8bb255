/**
 * Who leads next, and what is done about it now.
 *
 * Decides: one next action, with all reasons and everybody who was not chosen. A pure function: called again after each action
 * with what is observed then, until it says `promote`. Leaves to others: doing it (promotion), observing.
 *
 * The order of a failover: receivers stop → a dry run of the proof, so that no epoch is used up for nothing → promises are
 * durable → positions are compared → a missing tail is fetched → promote.
 *
 * Validity conditions:
 * 1. Same observations, same decision.
 * 2. Positions count only of members that stopped and promised this attempt: others may move.
 * 3. A promotion that could lose acknowledged commits happens only when a person or the policy accepted that beforehand, and the
 *    decision names what.
 */
import { comparePositions, formatPosition, type Position } from '@understudy/contracts'
import {
  acceptsLoss,
  candidates,
  forkAmong,
  isHeldFor,
  nextEpoch,
  wholeLogs,
  type Reporting,
} from './candidates.ts'
import type { Action, Decision, PossibleLoss, Proof, PromoteAction, Rejected } from './decision.ts'
import { gate } from './gates.ts'
import type { AttemptView, Observations } from './observations.ts'
import { prove } from './proof.ts'
import { rulesAfter, rulesInForce, type RulesInForce } from './rules.ts'

/** What is known once the members are looked at. */
interface Standing {
  readonly observations: Observations
  readonly inForce: RulesInForce
  readonly whole: readonly Reporting[]
  readonly eligible: readonly Reporting[]
  readonly rejected: readonly Rejected[]
  readonly reasons: readonly string[]
}

export function decide(observations: Observations): Decision {
  const decision = decideToAct(observations)
  const { action } = decision
  if (observations.policy.mode !== 'observe' || action.kind === 'none') return decision
  return {
    ...decision,
    action: { kind: 'none' },
    observed: action,
    reasons: [...decision.reasons, 'observing only: nothing is done'],
  }
}

function decideToAct(observations: Observations): Decision {
  const closed = gate(observations)
  if (closed !== undefined) return { ...closed, rejected: [] }
  const { whole, rejected: broken } = wholeLogs(observations)
  const { eligible, rejected: unfit } = candidates(observations, whole)
  const standing: Standing = {
    observations,
    inForce: rulesInForce(observations),
    whole,
    eligible,
    rejected: [...broken, ...unfit],
    reasons: observations.verdict.reasons,
  }
  const fork = forkAmong(whole)
  if (fork !== undefined)
    return refuse(standing, fork, [
      'keep one of the two histories: stop the nodes of the other, promote once more, and rejoin them then',
    ])
  if (eligible.length === 0) return refuse(standing, 'nobody may lead', helpOf(standing.rejected))
  const { attempt } = observations
  return attempt === undefined ? begin(standing) : goOn(standing, attempt)
}

/** Nothing was promised yet: stop those that still receive, and see whether it would be enough. */
function begin(standing: Standing): Decision {
  const { observations, whole, inForce } = standing
  const chosen = inTurn(standing)
  const askable = whole.filter((member) => member.answers !== false)
  const why = `${chosen.name} is at ${formatPosition(chosen.report.end)}: ${whyChosen(chosen, standing)}`
  const told: Standing = { ...standing, reasons: [...standing.reasons, why] }
  const proof = prove(inForce, askable, observations)
  const verdict = permitted(told, proof, askable)
  if ('refused' in verdict) return verdict.refused
  const common = {
    actor: chosen.name,
    reasons: verdict.reasons,
    rejected: passedOver(told, chosen),
    proof,
    ...verdict.loss,
  }
  const receiving = askable.filter((member) => !member.report.receiversStopped).map((member) => member.name)
  if (receiving.length > 0) return { ...common, action: { kind: 'stopReceivers', names: receiving.sort() } }
  return {
    ...common,
    action: {
      kind: 'promise',
      epoch: nextEpoch(observations),
      voters: askable.map((member) => member.name).sort(),
    },
  }
}

/** Some promised this attempt: ask the rest, then compare. */
function goOn(standing: Standing, attempt: AttemptView): Decision {
  const { observations, whole, inForce } = standing
  const outbid = observations.members.find((member) => (member.report?.promised?.epoch ?? 0) > attempt.epoch)
  if (outbid !== undefined)
    return refuse(
      standing,
      `${outbid.name} promised the epoch ${outbid.report?.promised?.epoch}, above ${attempt.epoch}: another attempt is under way`,
      ['it is tried again by itself once that attempt is over'],
    )
  const chosen = standing.eligible.find((member) => member.name === attempt.candidate)
  if (chosen === undefined)
    return refuse(
      standing,
      `${attempt.candidate}, whom the promises are for, may not lead any more`,
      helpOf(standing.rejected),
    )
  const missing = whole.filter((member) => member.answers !== false && !isHeldFor(member, attempt))
  if (missing.length > 0)
    return {
      action: {
        kind: 'promise',
        epoch: attempt.epoch,
        runId: attempt.runId,
        voters: missing.map((member) => member.name).sort(),
      },
      actor: chosen.name,
      reasons: [
        ...standing.reasons,
        `${missing.map((member) => member.name).join(', ')} did not promise yet`,
      ],
      rejected: passedOver(standing, chosen),
    }
  // What cannot be fetched from a member is no use: then the others must have it.
  const held = whole.filter((member) => member.answers !== false && isHeldFor(member, attempt))
  const proof = prove(inForce, held, observations)
  const verdict = permitted(standing, proof, held)
  if ('refused' in verdict) return verdict.refused
  const common = { actor: chosen.name, rejected: passedOver(standing, chosen), proof, ...verdict.loss }
  const action = compared(standing, chosen, { held, isProven: proof.isProven }, attempt)
  const promised = `${held.map((member) => member.name).join(', ')} promised the epoch ${attempt.epoch}`
  return { ...common, reasons: [...verdict.reasons, promised, action.reason], action: action.action }
}

/** All that is held stands still: fetch what is missing, or lead. */
function compared(
  standing: Standing,
  chosen: Reporting,
  { held, isProven }: { readonly held: readonly Reporting[]; readonly isProven: boolean },
  attempt: AttemptView,
): { action: Action; reason: string } {
  const { observations, inForce } = standing
  const best = held[0] ?? chosen
  const { end } = chosen.report
  if (comparePositions(best.report.end, end) > 0)
    return {
      action: { kind: 'fetchTail', from: best.name, to: chosen.name, after: end, upTo: best.report.end },
      reason: `${best.name} is at ${formatPosition(best.report.end)}, ${chosen.name} at ${formatPosition(end)}`,
    }
  const { coordinator } = observations
  if (coordinator.kind === 'reachable') {
    const { lease } = coordinator
    if (lease !== undefined && lease.freeAtMs > observations.nowMs)
      return {
        action: { kind: 'wait', untilMs: lease.freeAtMs },
        reason: `${lease.holder} has not given back its lease`,
      }
  }
  const promote: PromoteAction = {
    kind: 'promote',
    name: chosen.name,
    epoch: attempt.epoch,
    runId: attempt.runId,
    from: end,
    backlog: Math.max(0, end.lsn - chosen.report.appliedLsn),
    ...(inForce.acks && { acks: rulesAfter(inForce.acks, chosen.name, observations.leader) }),
    ...(coordinator.kind === 'reachable' && { expectedRevision: coordinator.revision }),
    raiseIds: !chosen.report.idsProven || losesCeilings(observations, chosen, isProven),
  }
  return { action: promote, reason: `nobody that is held is ahead of ${chosen.name}` }
}

/** A loss takes ceilings of ids with it, unless the coordinator has them. A first leader has none. */
function losesCeilings({ coordinator }: Observations, { report }: Reporting, isProven: boolean): boolean {
  return !isProven && coordinator.kind !== 'reachable' && report.end.lsn > 0
}

/** Whether it may go on without losing anything, or with a loss that was accepted; what was refused otherwise. */
function permitted(
  standing: Standing,
  proof: Proof,
  held: readonly Reporting[],
): { reasons: string[]; loss: { mayLose?: PossibleLoss } } | { refused: Decision } {
  const { observations, inForce } = standing
  const whys = proof.rules.map((rule) => `${rule.rule}, from ${inForce.source}: ${rule.why}`)
  const reasons = [...standing.reasons, ...whys]
  if (proof.isProven) return { reasons, loss: {} }
  const loss = { mayLose: lossOf(observations, held) }
  // A rule that is lowered has `local` beside it: what it protected is proven, what was written meanwhile is asynchronous.
  const isAsync =
    inForce.doubt === undefined &&
    inForce.rules.every(({ of }, index) => of === undefined || proof.rules[index]?.isProven === true)
  if (acceptsLoss(observations))
    return { reasons: [...reasons, 'a person accepted that acknowledged commits may be lost'], loss }
  if (isAsync && observations.policy.allowAsyncFailover && observations.intent.kind === 'automatic')
    return {
      reasons: [...reasons, 'the policy accepts that an asynchronous cluster may lose its newest commits'],
      loss,
    }
  const missing = [...new Set(proof.rules.flatMap((rule) => (rule.isProven ? [] : rule.missing)))]
  const help = [
    ...(missing.length > 0 ? [`bring back ${missing.join(' or ')}`] : []),
    ...(observations.leader === undefined
      ? []
      : [`bring back ${observations.leader}, which has all of them`]),
    ...(isAsync ? ['set allowAsyncFailover, or a rule of acks, beforehand'] : []),
    'promote with accept-loss, which may lose acknowledged commits',
  ]
  const refused = refuse({ ...standing, reasons }, 'nobody provably holds every acknowledged commit', help)
  return { refused: { ...refused, proof, ...loss } }
}

function lossOf({ members }: Observations, held: readonly Reporting[]): PossibleLoss {
  const after = held[0]?.report.end ?? { epoch: 0, lsn: 0 }
  let known: Position | undefined
  for (const { report } of members)
    for (const end of [report?.leaderEnd, report?.end])
      if (end !== undefined && (known === undefined || comparePositions(end, known) > 0)) known = end
  const isFurther = known !== undefined && comparePositions(known, after) > 0
  return {
    after: { epoch: after.epoch, lsn: after.lsn },
    ...(isFurther &&
      known !== undefined && {
        knownEnd: { epoch: known.epoch, lsn: known.lsn },
        records: Math.max(0, known.lsn - after.lsn),
      }),
  }
}

/** Whose turn it is: the best one first; when it does not act in time, the next. */
function inTurn({ observations, eligible }: Standing): Reporting {
  const { nowMs, confirmedAtMs = nowMs, policy, intent } = observations
  const turn =
    intent.kind === 'automatic' ? Math.max(0, Math.floor((nowMs - confirmedAtMs) / policy.turnMs)) : 0
  return eligible[turn % eligible.length] as Reporting
}

function whyChosen(chosen: Reporting, { eligible }: Standing): string {
  const [best] = eligible as [Reporting]
  if (chosen !== best) return `${best.name} had its turn and did not act`
  const rival = eligible[1]
  if (rival === undefined) return 'the only one that may lead'
  if (comparePositions(best.report.end, rival.report.end) > 0) return 'the most advanced'
  return (best.priority ?? 0) > (rival.priority ?? 0)
    ? 'as advanced as any, with the highest priority'
    : 'as advanced as any, first by name'
}

function passedOver({ eligible, rejected }: Standing, chosen: Reporting): Rejected[] {
  const others = eligible
    .filter((member) => member !== chosen)
    .map((member) => ({
      name: member.name,
      reason: `at ${formatPosition(member.report.end)}, it comes after ${chosen.name}`,
    }))
  return [...rejected, ...others]
}

function refuse(standing: Standing, reason: string, help: readonly string[]): Decision {
  return {
    action: { kind: 'refuse', help },
    reasons: [...standing.reasons, reason],
    rejected: standing.rejected,
  }
}

function helpOf(rejected: readonly Rejected[]): string[] {
  return rejected.map(({ name, reason }) => `${name}: ${reason}`)
}
