/**
 * How the ack rule of a cluster becomes another one, as the log tells it.
 *
 * Decides: which rules a commit must satisfy while the rule changes, which record says what, what holds at a start. No input or
 * output of its own. Leaves to others: reading the log (ack-log), writing the records (commit-pipeline), who has what (ack-tracker).
 *
 * Validity conditions:
 * 1. From the record of a change on both rules hold; the old one ends with a record of the new rule alone, which is written only
 *    after the record of the change satisfied both. So whoever reads a log without that record knows that both still hold.
 * 2. A change that has not ended was in force for nobody alone: no commit was acknowledged by the new rule only, and nobody was
 *    told that it holds. Therefore a start may change to a third rule, or go back: what must be satisfied is the old one and that.
 * 3. The rule `local` asks nobody: from it to another one the record of the new rule is enough, and must satisfy it.
 * 4. Only a record of the rule `local` ends a rule without its acks: when it is lowered, or when a person accepts the loss.
 */
import { UnderstudyError } from '@understudy/contracts'
import { LOCAL, formatRule, parseRule, type AckRule } from './ack-rule.ts'

/** What a log says of acks at some place: the rule in force, and the one that it is being changed to. */
export interface AckState {
  readonly rule: AckRule
  readonly to?: AckRule
  /** The leader lowers the rule by itself when the set does not answer. Only a leader that may be replaced says so. */
  readonly mayBeLowered?: boolean
}

/** What one record says: the rule from there on, or a change, which both rules hold for. */
export type AckRecord = (
  | { readonly kind: 'rule'; readonly rule: AckRule }
  | { readonly kind: 'change'; readonly rule: AckRule; readonly after: AckRule }
) & { readonly mayBeLowered?: boolean }

const OR_LOCAL = ' or local'

export function isSameRule(one: AckRule, other: AckRule): boolean {
  return one === other || formatRule(one) === formatRule(other)
}

/** The rules that ask for an ack, each once. */
export function asking(rules: readonly AckRule[]): AckRule[] {
  const found: AckRule[] = []
  for (const rule of rules)
    if (rule.of !== undefined && !found.some((known) => isSameRule(known, rule))) found.push(rule)
  return found
}

/** What every commit must satisfy. */
export function rulesInForce({ rule, to }: AckState): AckRule[] {
  return asking(to === undefined ? [rule] : [rule, to])
}

/** The record that begins the change from one rule to another. */
export function changeRecord(from: AckRule, to: AckRule): AckRecord {
  if (from.of === undefined || isSameRule(from, to)) return { kind: 'rule', rule: to }
  return { kind: 'change', rule: to, after: from }
}

/** The state after a record. */
export function stateAfter(record: AckRecord): AckState {
  const may = record.mayBeLowered === true && { mayBeLowered: true }
  return record.kind === 'rule'
    ? { rule: record.rule, ...may }
    : { rule: record.after, to: record.rule, ...may }
}

/**
 * What a start of leading begins with, given what the log says and the rule that is wanted now (default: what the log was at or on the
 * way to): the state, and the record of it, which an epoch of the rule `local` does without.
 */
export function startFrom(
  known: AckState,
  wanted?: AckRule,
): { readonly state: AckState; readonly record: AckRecord | undefined } {
  const target = wanted ?? known.to ?? known.rule
  const record = changeRecord(known.rule, target)
  const isNeeded = record.kind === 'change' || target.of !== undefined
  return { state: stateAfter(record), record: isNeeded ? record : undefined }
}

/** The record that says a state that was decided elsewhere; an epoch of the rule `local` does without. */
export function recordOfState({ rule, to }: AckState): AckRecord | undefined {
  if (to !== undefined && rule.of !== undefined && !isSameRule(rule, to))
    return { kind: 'change', rule: to, after: rule }
  const only = to ?? rule
  return only.of === undefined ? undefined : { kind: 'rule', rule: only }
}

/** What a rule asks of the others, for a node of its set that has all of it. */
export function ruleWithout(rule: AckRule, node: string): AckRule {
  const { level, of } = rule
  if (of === undefined || !of.names.includes(node)) return rule
  const count = of.count - 1
  if (count === 0) return LOCAL
  return { level, of: { ...of, count, names: of.names.filter((name) => name !== node) } }
}

/** The rules of a leader, for a member that follows it as leader. */
export function stateWithout({ rule, to }: AckState, node: string): AckState {
  return { rule: ruleWithout(rule, node), ...(to && { to: ruleWithout(to, node) }) }
}

/** `durable ANY 2 (b, c)`, or `durable ANY 2 (b, c) after durable ANY 1 (b)` for a change; ` or local` at the end of one that may be lowered. */
export function formatAckRecord(record: AckRecord): string {
  const rule = formatRule(record.rule)
  const text = record.kind === 'rule' ? rule : `${rule} after ${formatRule(record.after)}`
  return record.mayBeLowered === true ? text + OR_LOCAL : text
}

/** Reads what `formatAckRecord` wrote. Throws `FORMAT_VERSION` for anything else. */
export function parseAckRecord(text: string): AckRecord {
  const isLowerable = text.endsWith(OR_LOCAL)
  const [rule, after, more] = parseRules(isLowerable ? text.slice(0, -OR_LOCAL.length) : text, ' after ')
  if (rule === undefined || more !== undefined) throw unknownText(text)
  const may = isLowerable && { mayBeLowered: true }
  return after === undefined ? { kind: 'rule', rule, ...may } : { kind: 'change', rule, after, ...may }
}

/** The rules of one group that are not those of the cluster. */
export function formatGroupRules(rules: readonly AckRule[]): string {
  return rules.map((rule) => formatRule(rule)).join(' and ')
}

/** Reads what `formatGroupRules` wrote. Throws `FORMAT_VERSION` for anything else. */
export function parseGroupRules(text: string): AckRule[] {
  return parseRules(text, ' and ')
}

function parseRules(text: string, between: string): AckRule[] {
  try {
    // No name of a follower holds a blank.
    return text.split(between).map((part) => (part === 'local' ? LOCAL : parseRule(part)))
  } catch {
    throw unknownText(text)
  }
}

function unknownText(text: string): UnderstudyError {
  return new UnderstudyError(
    'FORMAT_VERSION',
    `A record of the log says of acks '${text}', which this release does not know. Nothing was changed. Use the release that wrote it, or a newer one.`,
  )
}
