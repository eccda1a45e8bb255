/**
 * Which rules of acks an election has to respect, and which ones the new leader begins with.
 *
 * Validity conditions:
 * 1. The published rules, where there are any; else what the members with the newest epoch say. While a set changes there are
 *    two, and both count.
 * 2. A rule that its leader may lower without asking proves nothing: nobody here would know.
 * 3. The leader of an epoch holds all that was acknowledged in it. So in the new rule it takes the place of the one that was
 *    promoted: whoever satisfied the old rule satisfies the new one, and no commit loses a holder by the change of names.
 * 4. A rule that was lowered has `local` beside it while it is. The new leader begins with the rule alone, and lowers it again where it must.
 */
import type { LogPoint } from '@understudy/contracts'
import type { KnownRules, Member, Observations, Rule, Rules } from './observations.ts'

export interface RulesInForce {
  readonly rules: readonly Rule[]
  /** For the new leader. Absent: nobody knows. */
  readonly acks?: Rules
  /** Why they cannot be relied on. Absent: they can. */
  readonly doubt?: string
  readonly source: string
}

type Told = Member & { readonly report: { readonly end: LogPoint; readonly rules: KnownRules } }

export function rulesInForce(observations: Observations): RulesInForce {
  const { coordinator, members } = observations
  if (coordinator.kind === 'reachable' && coordinator.state !== undefined) {
    const { acks } = coordinator.state
    return { rules: listed(acks), acks, source: 'the coordinator' }
  }
  const newest = Math.max(0, ...members.map((member) => member.report?.end.epoch ?? 0))
  const told = members.filter(
    (member): member is Told => member.report?.end.epoch === newest && member.report.rules !== undefined,
  )
  if (told.length === 0)
    return { rules: [], doubt: 'no member knows which rule is in force', source: 'nobody' }
  const rules = new Map<string, Rule>()
  let furthest = told[0] as Told
  for (const member of told) {
    for (const rule of listed(member.report.rules)) rules.set(ruleText(rule), rule)
    if (member.report.end.lsn > furthest.report.end.lsn) furthest = member
  }
  const { rule, next } = furthest.report.rules
  const lowering = told.some((member) => member.report.rules.mayBeLowered)
  return {
    rules: [...rules.values()],
    acks: { rule, ...(next && { next }) },
    source: `the logs of ${told.map((member) => member.name).join(', ')}`,
    ...(lowering && { doubt: 'the leader may have lowered its rule without asking anybody' }),
  }
}

/** The rules of a new leader: where its own name stands, the old leader's takes its place. */
export function rulesAfter(acks: Rules, newLeader: string, oldLeader: string | undefined): Rules {
  const replaced = (rule: Rule): Rule => {
    const { of } = rule
    if (of === undefined || !of.names.includes(newLeader)) return rule
    const isFree = oldLeader !== undefined && oldLeader !== newLeader && !of.names.includes(oldLeader)
    const names = of.names.flatMap((name) => (name !== newLeader ? [name] : isFree ? [oldLeader] : []))
    if (names.length === 0) return { level: 'local' }
    return { level: rule.level, of: { kind: of.kind, count: Math.min(of.count, names.length), names } }
  }
  const rule = replaced(acks.rule)
  // A next rule that asks nobody is a rule that was lowered, or a change to none: whoever leads next asks again.
  const next = acks.next?.of === undefined ? undefined : replaced(acks.next)
  return { rule, ...(next?.of !== undefined && { next }) }
}

/** `local`, or such as `durable ANY 1 (b, c)`. */
export function ruleText({ level, of }: Rule): string {
  return of === undefined ? level : `${level} ${of.kind.toUpperCase()} ${of.count} (${of.names.join(', ')})`
}

function listed({ rule, next }: Rules): Rule[] {
  return next === undefined ? [rule] : [rule, next]
}
