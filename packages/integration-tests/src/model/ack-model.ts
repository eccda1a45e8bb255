/**
 * A model of changes of the ack rule, walked through every interleaving: which nodes could elect a new leader at each moment, and would
 * they hold every acknowledged commit?
 *
 * Decides: what can happen in which order, who may elect. Leaves to others: which records a change is, what holds after a record
 * and at a start: those are the functions that the leader itself uses (`ack-change` of replication).
 *
 * The model:
 * 1. A leader and followers. The leader appends one group at a time: a commit, the record of a change, the one that ends it. A commit, and
 *    the record of a change, is acknowledged once it satisfies every rule in force. Then the next group may be appended.
 *    A commit without a rule is acknowledged by the leader alone, and may be lost: nobody asked for more.
 * 2. Followers have a prefix of the leader's log; what they have they keep. One of them gets its next record at a time, in any order.
 * 3. At any moment the leader may be gone for good, and any of the followers may be the only ones left. Those elect the one of the longest
 *    log, if they know by that log that they meet each set that can have acknowledged something: R + W > N for each rule in force.
 * 4. At any moment the leader may start again, with the old policy, the new one or a third in its options, and goes on.
 */
import {
  changeRecord,
  formatAckRecord,
  formatRule,
  rulesInForce,
  startFrom,
  stateAfter,
  type AckRecord,
  type AckRule,
  type AckState,
} from '@understudy/replication'
import { InvariantBreach } from '../simulation/breach.ts'

/** A change of the set; `restarts`: policies that starts of the leader have in their options. */
export interface Course {
  readonly followers: readonly string[]
  readonly rules: readonly AckRule[]
  readonly restarts: readonly AckRule[]
  /** Commits between and after the changes, at most. */
  readonly commits: number
  readonly restartsMax: number
}

type Entry =
  /** `asked`: some rule was in force, so that it must survive once it is acknowledged. */
  | { readonly kind: 'commit'; readonly asked: boolean }
  | { readonly kind: 'epoch' }
  | { readonly kind: 'acks'; readonly record: AckRecord }

interface Model {
  readonly log: readonly Entry[]
  /** How many records each follower has. */
  readonly has: readonly number[]
  /** The first so many records are acknowledged. */
  readonly acked: number
  /** What waits: so many records must satisfy these rules. */
  readonly waits: { readonly length: number; readonly rules: readonly AckRule[] } | undefined
  readonly state: AckState
  /** Changes begun, commits made, starts. */
  readonly changes: number
  readonly commits: number
  readonly starts: number
}

export interface Walked {
  readonly states: number
  /** Sets of followers that may elect, over all states. */
  readonly elections: number
}

/** Throws `InvariantBreach` A4 with the state. */
export function walk(course: Course): Walked {
  const first: AckRule = course.rules[0] as AckRule
  const { state, record } = startFrom({ rule: { level: 'local' } }, first)
  const log: Entry[] = [
    { kind: 'epoch' },
    ...(record === undefined ? [] : [{ kind: 'acks' as const, record }]),
  ]
  const begin: Model = {
    log,
    has: course.followers.map(() => 0),
    acked: 0,
    waits: undefined,
    state,
    changes: 1,
    commits: 0,
    starts: 0,
  }
  const seen = new Set<string>([keyOf(begin)])
  const queue = [begin]
  let elections = 0
  for (let model = queue.pop(); model !== undefined; model = queue.pop()) {
    elections += expectSafe(model, course)
    for (const next of stepsOf(model, course)) {
      const key = keyOf(next)
      if (seen.has(key)) continue
      seen.add(key)
      queue.push(next)
    }
  }
  return { states: seen.size, elections }
}

function stepsOf(model: Model, course: Course): Model[] {
  const steps: Model[] = []
  for (const [index, length] of model.has.entries())
    if (length < model.log.length)
      steps.push(settled({ ...model, has: model.has.with(index, length + 1) }, course))
  if (model.waits === undefined) {
    const next = course.rules[model.changes]
    if (next !== undefined) steps.push(changed(model, next, course))
    if (model.commits < course.commits) {
      const commits = model.commits + 1
      const rules = rulesInForce(model.state)
      steps.push(appended({ ...model, commits }, { kind: 'commit', asked: rules.length > 0 }, rules, course))
    }
  }
  if (model.starts < course.restartsMax)
    for (const wanted of course.restarts) steps.push(restarted(model, wanted, course))
  return steps
}

function changed(model: Model, to: AckRule, course: Course): Model {
  const record = changeRecord(model.state.rule, to)
  const state = stateAfter(record)
  const changes = model.changes + 1
  return appended({ ...model, changes, state }, { kind: 'acks', record }, rulesInForce(state), course)
}

function appended(model: Model, entry: Entry, rules: readonly AckRule[], course: Course): Model {
  const log = [...model.log, entry]
  return settled({ ...model, log, waits: { length: log.length, rules } }, course)
}

/** What waits and satisfies its rules is acknowledged; the record that ends a change follows at once. */
function settled(model: Model, course: Course): Model {
  const { waits, state } = model
  if (waits === undefined || !waits.rules.every((rule) => isHeld(rule, waits.length, model, course)))
    return model
  const over: Model = { ...model, acked: waits.length, waits: undefined }
  if (state.to === undefined) return over
  const record: AckRecord = { kind: 'rule', rule: state.to }
  // It waits for nobody: it is written before the new rule is in force alone.
  return { ...over, log: [...over.log, { kind: 'acks', record }], state: stateAfter(record) }
}

/** The log is kept; what it may lack of acks is waited for again, before anything else. */
function restarted(model: Model, wanted: AckRule, course: Course): Model {
  const { state, record } = startFrom(stateOf(model.log), wanted)
  const log: Entry[] = [...model.log, { kind: 'epoch' }]
  if (record !== undefined) log.push({ kind: 'acks', record })
  const starts = model.starts + 1
  const tail = model.waits !== undefined || state.to !== undefined
  // As the leader does: the tail by the rule that it was written under, everything by those in force now.
  const rules = [stateOf(model.log).rule, ...rulesInForce(state)]
  const waits = tail ? { length: log.length, rules } : undefined
  return settled({ ...model, log, state, starts, waits }, course)
}

function stateOf(log: readonly Entry[]): AckState {
  let state: AckState = { rule: { level: 'local' } }
  for (const entry of log) if (entry.kind === 'acks') state = stateAfter(entry.record)
  return state
}

function isHeld({ of }: AckRule, length: number, { has }: Model, { followers }: Course): boolean {
  if (of === undefined) return true
  const holders = of.names.filter((name) => (has[followers.indexOf(name)] ?? 0) >= length)
  return holders.length >= of.count
}

/** Every set of followers that may elect holds what is acknowledged. Returns how many may. */
function expectSafe(model: Model, { followers }: Course): number {
  let elections = 0
  for (let bits = 1; bits < 1 << followers.length; bits++) {
    const voters = followers.filter((_, index) => (bits & (1 << index)) !== 0)
    const longest = Math.max(...voters.map((name) => model.has[followers.indexOf(name)] ?? 0))
    const known = model.log.slice(0, longest)
    const { rule, to } = stateOf(known)
    if (!meets(rule, voters) || (to !== undefined && !meets(to, voters))) continue
    elections++
    const lost = model.log
      .slice(longest, model.acked)
      .filter((entry) => entry.kind === 'commit' && entry.asked).length
    if (lost > 0)
      throw new InvariantBreach(
        'A4',
        `${voters.join(', ')} may elect and lack ${lost} acknowledged commits: ${describe(model, followers)}`,
      )
  }
  return elections
}

/** R + W > N: they share a member with each set that can have acknowledged something. By the rule `local` that is the leader alone. */
function meets({ of }: AckRule, voters: readonly string[]): boolean {
  if (of === undefined) return false
  return voters.filter((name) => of.names.includes(name)).length + of.count > of.names.length
}

function keyOf({ log, has, acked, waits, changes, commits, starts }: Model): string {
  const records = log.map((entry) => (entry.kind === 'acks' ? formatAckRecord(entry.record) : entry.kind[0]))
  const waiting = waits && [waits.length, ...waits.rules.map(formatRule)]
  return [records, has, acked, waiting, changes, commits, starts].join(';')
}

function describe({ log, has, acked }: Model, followers: readonly string[]): string {
  const records = log.map((entry) => (entry.kind === 'acks' ? formatAckRecord(entry.record) : entry.kind))
  return `${records.join('; ')}; ${acked} acknowledged; ${followers.map((name, index) => `${name} has ${has[index]}`).join(', ')}`
}
