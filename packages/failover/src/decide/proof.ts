/**
 * Whether the survivors provably hold every acknowledged commit.
 *
 * Decides: R + W > N, for each rule in force. Leaves to others: who is held (candidates), which rules are in force (rules).
 *
 * A commit is on the leader and on W of the N members of the set. R members are held: their logs are whole, and they
 * acknowledge nothing to the old leader any more. When fewer than W are missing, every set of W has one that is held; then the
 * most advanced of the held ones, by epoch and then LSN, has the commit, because logs that share a position share all before.
 *
 * Validity conditions:
 * 1. It is the same for FIRST and ANY: which members of a FIRST set were chosen for a commit is not published, so any could be.
 * 2. A leader that is held itself holds all that it acknowledged, whatever the rule, and all that leaders before it did. Only if it
 *    began its epoch: one that was published and stopped before that may lack what the one before it acknowledged alone.
 *    And only if nobody led after it: a coordinator says so, or W members do that promised nobody else anything (`hasNoHeir`). By itself
 *    a leader that was cut off knows nothing of the one that was promoted meanwhile.
 * 3. When every member is held, there is nobody else who could have a commit.
 * 4. Of the level `received`, a member whose process ended since may have lost what it acknowledged: it is not held.
 */
import type { Proof, RuleProof } from './decision.ts'
import type { Member, Observations, Rule } from './observations.ts'
import { ruleText, type RulesInForce } from './rules.ts'

export function prove(inForce: RulesInForce, held: readonly Member[], observations: Observations): Proof {
  const whole = wholly(inForce, held, observations)
  if (inForce.doubt !== undefined && whole === undefined)
    return {
      isProven: false,
      rules: [{ rule: 'unknown', isProven: false, held: [], missing: [], why: inForce.doubt }],
    }
  const rules = inForce.rules.map((rule) => proveRule(rule, held, whole, observations.leader))
  return { isProven: whole !== undefined || rules.every((rule) => rule.isProven), rules }
}

/** Why those that are held have everything, whatever the rule; `undefined`: the rule decides. */
function wholly(
  inForce: RulesInForce,
  held: readonly Member[],
  observations: Observations,
): string | undefined {
  const { leader, members, coordinator } = observations
  if (members.every(({ name }) => held.some((member) => member.name === name)))
    return 'every member takes part'
  const history = held.find((member) => member.name === leader)?.report?.history
  if (history === undefined) return undefined
  if (coordinator.kind === 'reachable' && coordinator.state !== undefined) {
    const { epoch, runId } = coordinator.state
    const hasBegun = history.some((entry) => entry.number === epoch && entry.runId === runId)
    return hasBegun ? `${leader} itself takes part` : undefined
  }
  return hasNoHeir(inForce, held, observations)
    ? `${leader} itself takes part, and nobody was promoted after it`
    : undefined
}

/**
 * Without a coordinator nobody wrote down who leads: another one could have been promoted unheard. Not so for the rule `local`, where a
 * person is responsible. Else whoever was promoted had the promise of all members but fewer than W: so not when W of them take part,
 * and the leader, and none of these promised a later epoch, or another run of its own, before this attempt.
 */
function hasNoHeir(
  inForce: RulesInForce,
  held: readonly Member[],
  { leader, members, attempt }: Observations,
): boolean {
  const last = held.find((member) => member.name === leader)?.report?.history.at(-1)
  const newest = Math.max(...members.map(({ report }) => report?.history.at(-1)?.number ?? 0))
  if (inForce.doubt !== undefined || last === undefined || last.number !== newest || last.leader !== leader)
    return false
  const isFree = ({ report }: Member): boolean => {
    const promised = report?.promised
    const isOurs = attempt !== undefined && promised?.runId === attempt.runId
    const before = isOurs ? promised?.previous : promised
    const epoch = before?.epoch ?? 0
    return epoch < last.number || (epoch === last.number && before?.runId === last.runId)
  }
  const free = held.filter(isFree).map((member) => member.name)
  return inForce.rules.every(
    ({ of }) =>
      of === undefined ||
      (free.includes(last.leader) && of.names.filter((name) => free.includes(name)).length >= of.count),
  )
}

function proveRule(
  rule: Rule,
  all: readonly Member[],
  whole: string | undefined,
  leader: string | undefined,
): RuleProof {
  const text = ruleText(rule)
  const { of } = rule
  if (of === undefined) {
    const why = whole ?? `nobody but ${leader ?? 'the leader'} had to have a commit`
    return { rule: text, isProven: whole !== undefined, held: [], missing: [], why }
  }
  const counts = all.filter((member) => rule.level !== 'received' || member.report?.keptReceived === true)
  const held = of.names.filter((name) => counts.some((member) => member.name === name))
  const missing = of.names.filter((name) => !held.includes(name))
  const isEnough = missing.length < of.count
  const sum = `${held.length} of ${of.names.length} are held and ${of.count} had to have a commit`
  const unproven = whole ?? `${sum}: one could be on ${missing.join(', ')} alone`
  return {
    rule: text,
    isProven: isEnough || whole !== undefined,
    held,
    missing,
    why: isEnough ? `${sum}: each commit is on one that is held` : unproven,
  }
}
