/**
 * Rules of acks: at which level, and on which followers, a commit must be before it is acknowledged.
 *
 * Decides: what a rule, a set and a policy are, which of them contradict themselves, how a rule is written as text. Leaves to others:
 * who has what (ack-tracker), waiting (ack-wait).
 *
 * Validity conditions:
 * 1. Sets name their members: a follower of another name never counts.
 * 2. A rule of a level above `local` has a set, and its set can be satisfied: it has as many names as it asks for.
 * 3. The text of a rule says everything that the rule says, and is read back as the same rule.
 */
import { LOCAL_SLOT, UnderstudyError, type AckLevel } from '@understudy/contracts'

/** `any`: so many of them, whichever. `first`: the first so many that stream, in the order of the names. */
export interface AckSet {
  readonly kind: 'any' | 'first'
  readonly count: number
  readonly names: readonly string[]
}

/** Where a commit must be. Of the level `local`, the leader's log, it has no set. */
export interface AckRule {
  readonly level: AckLevel
  readonly of?: AckSet
}

/** What happens to other writes while a set does not acknowledge one in time. */
export type OnUnmet = 'block' | 'fail' | 'degrade'

/** The rule of a cluster with what goes with it, for writes with a rule of their own too. */
export interface AckPolicy extends AckRule {
  /**
   * When a set does not acknowledge in time: `block`, the default, lets later writes queue until it does; `fail` refuses
   * them at once; `degrade` goes on without the set, after a record in the log says so, and goes back by itself.
   */
  readonly onUnmet?: OnUnmet
  /** How long a write waits for acks, from when it is durable here, in milliseconds. Default 10,000. */
  readonly ackTimeoutMs?: number
  /** `acked`, the default: no reader sees a commit before it is acknowledged. `local`: readers of the leader do, only the reply waits. */
  readonly visibility?: 'acked' | 'local'
  /** How long a member must stream before it takes the place of another one that does, or ends a degradation. Default 5,000. */
  readonly settleMs?: number
  /** A member that lacks a record for so long is replaced by one that does not. Default 1,000. */
  readonly lagMsMax?: number
  /** The same for bytes sent and not reported durable. Default 4 MiB. */
  readonly lagBytesMax?: number
}

/** A policy with its defaults. */
export interface AckSettings extends Required<Omit<AckPolicy, 'of' | 'level'>> {
  readonly rule: AckRule
}

export const LOCAL: AckRule = Object.freeze({ level: 'local' })

const LEVELS: readonly AckLevel[] = ['local', 'received', 'durable', 'applied']
/** The names of nodes, as `node` checks them. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** Any `count` of these. */
export function any(count: number, names: readonly string[]): AckSet {
  return checkedSet({ kind: 'any', count, names: [...names] })
}

/** The first `count` of these that stream, in this order; one that leaves or falls behind is replaced by the next. */
export function first(count: number, names: readonly string[]): AckSet {
  return checkedSet({ kind: 'first', count, names: [...names] })
}

export type PolicyOptions = Omit<AckPolicy, 'of'> & { readonly level?: AckLevel }

/** Asynchronous: a commit is acknowledged once the leader has it. */
export function async(): AckPolicy {
  return LOCAL
}

/** Semi-synchronous: one of these has it too; when that one fails or falls behind, the next that streams takes its place. */
export function semiSync(names: readonly string[], options: Partial<PolicyOptions> = {}): AckPolicy {
  return { level: 'durable', ...options, of: first(1, names) }
}

/** Synchronous: all of these have it. */
export function sync(names: readonly string[], options: Partial<PolicyOptions> = {}): AckPolicy {
  if (options.onUnmet === 'degrade')
    throw invalid(
      "sync says that all of them have each write, and 'degrade' that they need not; use 'block' or 'fail', or semiSync",
    )
  return { level: 'durable', ...options, of: any(names.length, names) }
}

/** Checks a rule as a whole. `INVALID_ARGUMENT` when it contradicts itself, or asks the leader for its own ack. */
export function checkedRule(rule: AckRule, leader?: string): AckRule {
  const { level, of } = rule
  if (!LEVELS.includes(level)) throw invalid(`the level is '${level}'; use ${LEVELS.join(', ')}`)
  if (level === 'local') {
    if (of !== undefined)
      throw invalid(
        "the level 'local' is the leader's own and takes no set; remove the set, or use 'durable'",
      )
    return LOCAL
  }
  if (of === undefined)
    throw invalid(
      `the level '${level}' needs a set of followers, such as any(1, ['b', 'c']); a connection without a name never counts`,
    )
  checkedSet(of)
  if (leader !== undefined && of.names.includes(leader))
    throw invalid(`the set names ${leader}, which is the leader itself; name followers only`)
  return { level, of }
}

/** Checks a policy as a whole and fills in its defaults. */
export function resolvePolicy(policy: AckPolicy = LOCAL, leader?: string): AckSettings {
  const { onUnmet = 'block', visibility = 'acked' } = policy
  const { ackTimeoutMs = 10_000, settleMs = 5000, lagMsMax = 1000, lagBytesMax = 4 * 1024 * 1024 } = policy
  const rule = checkedRule({ level: policy.level, ...(policy.of && { of: policy.of }) }, leader)
  if (!['block', 'fail', 'degrade'].includes(onUnmet))
    throw invalid(`onUnmet is '${onUnmet}'; use 'block', 'fail' or 'degrade'`)
  if (visibility !== 'acked' && visibility !== 'local')
    throw invalid(`visibility is '${String(visibility)}'; use 'acked' or 'local'`)
  for (const [name, value] of Object.entries({ ackTimeoutMs, settleMs, lagMsMax, lagBytesMax }))
    if (typeof value !== 'number' || !(value > 0))
      throw invalid(`${name} is ${String(value)}; give a positive number`)
  return { rule, onUnmet, visibility, ackTimeoutMs, settleMs, lagMsMax, lagBytesMax }
}

/** `local`, or such as `durable ANY 1 (b, c)`. */
export function formatRule({ level, of }: AckRule): string {
  return of === undefined ? level : `${level} ${of.kind.toUpperCase()} ${of.count} (${of.names.join(', ')})`
}

/**
 * Reads a rule: `local`, `durable any 1 (b, c)`, `any 1 (b,c) durable`; without a level `durable`; and the presets
 * `async`, `semi-sync:b,c` and `sync:b,c`.
 */
export function parseRule(text: string): AckRule {
  const [preset = '', list = ''] = text.trim().split(':', 2)
  if (preset === 'async' && list === '') return LOCAL
  if (preset === 'semi-sync') return { level: 'durable', of: first(1, namesOf(list)) }
  if (preset === 'sync') return { level: 'durable', of: any(namesOf(list).length, namesOf(list)) }
  const set = /\b(any|first)\s+(\d+)\s*\(([^()]*)\)/i.exec(text)
  const rest = (set === null ? text : text.replace(set[0], ' ')).trim().toLowerCase()
  const level = rest === '' && set !== null ? 'durable' : rest
  if (!LEVELS.includes(level as AckLevel))
    throw invalid(
      `'${text}' is no rule; use such as 'any 1 (b, c) durable', 'semi-sync:b,c', 'sync:b,c' or 'async'`,
    )
  if (set === null) return checkedRule({ level: level as AckLevel })
  const [, kind = '', count = '', names = ''] = set
  const of = checkedSet({
    kind: kind.toLowerCase() as AckSet['kind'],
    count: Number(count),
    names: namesOf(names),
  })
  return checkedRule({ level: level as AckLevel, of })
}

/** Reads a rule as `parseRule` does, with what goes with it. Throws `INVALID_ARGUMENT` when the two contradict each other. */
export function parsePolicy(text: string, options: Omit<PolicyOptions, 'level'> = {}): AckPolicy {
  const [preset = '', list = ''] = text.trim().split(':', 2)
  if (preset === 'sync') return sync(namesOf(list), options)
  return { ...parseRule(text), ...options }
}

/** Levels of followers at or below this one, highest first. */
export function levelsDownFrom(level: AckLevel): AckLevel[] {
  return LEVELS.slice(1, LEVELS.indexOf(level) + 1).toReversed()
}

function namesOf(list: string): string[] {
  return list
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
}

function checkedSet(set: AckSet): AckSet {
  const { kind, count, names } = set
  if (kind !== 'any' && kind !== 'first')
    throw invalid(`a set is '${String(kind)}'; use any(n, names) or first(n, names)`)
  if (!Array.isArray(names) || names.length === 0)
    throw invalid('a set names no followers; name each that counts')
  for (const name of names)
    if (typeof name !== 'string' || !NAME.test(name) || name === LOCAL_SLOT)
      throw invalid(
        `a set names '${String(name)}', which can be no follower; patterns such as * are not known`,
      )
  if (new Set(names).size !== names.length)
    throw invalid(`a set names a follower twice (${names.join(', ')}); name each once`)
  if (!Number.isSafeInteger(count) || count < 1)
    throw invalid(`a set asks for ${String(count)} of its members; ask for 1 or more`)
  if (count > names.length)
    throw invalid(
      `a set asks for ${count} of ${names.length} members (${names.join(', ')}), which can never be met; ask for less, or name more`,
    )
  return set
}

function invalid(what: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `Acks: ${what}. Nothing was changed.`)
}
