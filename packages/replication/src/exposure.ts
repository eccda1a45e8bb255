/**
 * What a log says of commits that had less protection than was asked for: a state that is stepped record by record.
 *
 * Decides: which commits those are, who asked for what, whether the log proves that the set got them later. Leaves to others:
 * reading the log (exposure-ledger), who has what at present (node).
 *
 * Validity conditions:
 * 1. A commit is exposed when its record says that it asked for acks in vain (`FLAG_UNMET`), or when it waited for them when the
 *    rule was lowered. Acks of the latter may have come while that was being recorded: it is told apart (`waited`).
 * 2. A commit that asked for no acks where the rule of the cluster is stricter is there by choice: told apart, too.
 *    Where the rule is `local` nothing is exposed but what single writes asked for in vain.
 * 3. A record that raises or changes a rule waits for the acks of its set. Another record of its epoch follows only once the set
 *    has it, and so everything before, unless the rule is lowered again. The rule at the beginning of an epoch waits for nobody.
 * 4. What an unknown beginning of the log held is not known before the next record that begins an epoch or states a rule.
 */
import {
  CONTROL_ACKS,
  CONTROL_ACKS_LOWERED,
  CONTROL_EPOCH,
  FLAG_AWAITS_ACKS,
  FLAG_CONTINUES,
  FLAG_JOINS_GROUP,
  FLAG_UNMET,
  FORMAT_CONTROL,
  type Coverage,
  type ExposedRange,
  type LogRecord,
  type Lsn,
  type Position,
} from '@understudy/contracts'
import { asking, parseAckRecord, stateAfter } from './ack-change.ts'
import { formatRule, parseRule, type AckRule } from './ack-rule.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
type Range = Mutable<ExposedRange>

/** A group that waits for acks, or did when its leader stopped. */
interface Tail {
  readonly from: Position
  readonly beganAtMs: number
  isCommit: boolean
  to: Position
}

export interface ExposureState {
  /** The last record that was taken; LSN 0 before any. */
  at: { epoch: number; lsn: Lsn; crc: number }
  /** From here on everything is known; `undefined` until the first record that says what is in force. */
  knownFrom: Lsn | undefined
  /** Rule of the cluster. */
  rule: string
  /** While it is lowered: what is not waited for. */
  unmet: { readonly rules: string; readonly sinceMs: number } | undefined
  tail: Tail | undefined
  /** The record before was an epoch's first. */
  begins: boolean
  /** The newest record, if the set has it once another one of its epoch follows. */
  claim: Coverage | undefined
  ranges: ExposedRange[]
  /** Ranges that were forgotten because there were too many. */
  forgotten: number
}

/** Ranges that are remembered; the oldest are forgotten first. */
export const EXPOSED_RANGES_MAX = 1000
const LOCAL_RULE = 'local'
const BETWEEN_RULES = ' + '

/** Before the record after `before`. */
export function beginExposure(before: Lsn): ExposureState {
  return {
    at: { epoch: 0, lsn: before, crc: 0 },
    knownFrom: undefined,
    rule: LOCAL_RULE,
    unmet: undefined,
    tail: undefined,
    begins: false,
    claim: undefined,
    ranges: [],
    forgotten: 0,
  }
}

/** Takes the next record of the log. */
export function takeRecord(state: ExposureState, record: LogRecord): void {
  const kind = record.format === FORMAT_CONTROL ? record.payload[0] : undefined
  if (state.claim !== undefined) resolveClaim(state, record, kind)
  if (kind === CONTROL_EPOCH) beginEpoch(state, record)
  else if (kind === CONTROL_ACKS) putInForce(state, record)
  else if (kind === CONTROL_ACKS_LOWERED) lower(state, record, textOf(record))
  else takeGroup(state, record, kind === undefined)
  state.begins = kind === CONTROL_EPOCH
  state.at = { epoch: record.epoch, lsn: record.lsn, crc: record.crc }
}

/** The rules of an exposed range, one by one. */
export function rulesOf({ asked }: Pick<ExposedRange, 'asked'>): AckRule[] {
  return asked.split(BETWEEN_RULES).map(parseRule)
}

function beginEpoch(state: ExposureState, record: LogRecord): void {
  end(state, record.committedAtMs)
  state.rule = LOCAL_RULE
  state.knownFrom ??= record.lsn
}

/** A rule is in force from here on: that of an epoch, the one that was lowered, another one, or what was in force before, said again. */
function putInForce(state: ExposureState, record: LogRecord): void {
  const isAwaited = (record.flags & FLAG_AWAITS_ACKS) !== 0
  const said = parseAckRecord(textOf(record))
  const { rule } = stateAfter(said)
  const isRepeated = !isAwaited && !state.begins && state.knownFrom !== undefined
  if (isRepeated && said.kind === 'rule' && formatRule(rule) === state.rule) {
    state.tail = undefined
    return
  }
  const before = state.unmet?.rules ?? state.rule
  end(state, record.committedAtMs)
  state.rule = formatRule(rule)
  state.knownFrom ??= record.lsn
  if (isAwaited) {
    const asked = asking(said.kind === 'rule' ? [rule] : [said.rule, said.after])
    const proves = asked.length === 0 ? before : asked.map(formatRule).join(BETWEEN_RULES)
    state.claim = { position: positionOf(record), atMs: record.committedAtMs, rule: proves }
  }
  // The rule of an epoch says nothing of what the epoch before left waiting.
  if (!state.begins) state.tail = isAwaited ? tailOf(record, false) : undefined
}

function lower(state: ExposureState, record: LogRecord, rules: string): void {
  state.knownFrom ??= record.lsn
  const { tail } = state
  state.tail = undefined
  if (state.unmet !== undefined) return
  state.unmet = { rules, sinceMs: record.committedAtMs }
  if (tail?.isCommit !== true) return
  const { from, to, beganAtMs } = tail
  const waited = { from: from.lsn, to: to.lsn }
  add(state, { ...opened('lowered', from, rules, beganAtMs), to, waited })
}

function takeGroup(state: ExposureState, record: LogRecord, isCommit: boolean): void {
  const isJoined = (record.flags & FLAG_JOINS_GROUP) !== 0
  if ((record.flags & FLAG_AWAITS_ACKS) !== 0) {
    if (isJoined && state.tail !== undefined) {
      state.tail.to = positionOf(record)
      state.tail.isCommit ||= isCommit
    } else state.tail = tailOf(record, isCommit)
    return
  }
  state.tail = undefined
  if (!isCommit) return
  const isUnmet = (record.flags & FLAG_UNMET) !== 0
  if (isUnmet && state.unmet !== undefined)
    extend(state, 'lowered', record, isJoined, state.unmet.rules, state.unmet.sinceMs)
  else if (!isUnmet && state.rule !== LOCAL_RULE)
    extend(state, 'choice', record, (record.flags & FLAG_CONTINUES) !== 0, state.rule, record.committedAtMs)
}

/** `joins`: the record belongs to a commit that was counted, or will be by its last record. */
function extend(
  state: ExposureState,
  why: ExposedRange['why'],
  record: LogRecord,
  joins: boolean,
  asked: string,
  beganAtMs: number,
): void {
  const position = positionOf(record)
  const known = openRange(state, why)
  const counted = joins ? 0 : 1
  if (known === undefined) add(state, { ...opened(why, position, asked, beganAtMs), commits: counted })
  else {
    known.to = position
    known.commits += counted
  }
}

function opened(why: ExposedRange['why'], from: Position, asked: string, beganAtMs: number): ExposedRange {
  const nothing = { endedAtMs: undefined, waited: undefined, covered: undefined }
  return {
    why,
    from,
    to: from,
    isOpen: true,
    commits: 1,
    asked,
    effective: LOCAL_RULE,
    beganAtMs,
    ...nothing,
  }
}

function add(state: ExposureState, range: ExposedRange): void {
  state.ranges.push(range)
  if (state.ranges.length <= EXPOSED_RANGES_MAX) return
  state.ranges.shift()
  state.forgotten++
}

/** At most one of each reason is open. */
function openRange({ ranges }: ExposureState, why: ExposedRange['why']): Range | undefined {
  for (const range of ranges.slice(-2)) if (range.why === why && range.isOpen) return range
  return undefined
}

function end(state: ExposureState, atMs: number): void {
  state.unmet = undefined
  for (const why of ['lowered', 'choice'] as const) {
    const range = openRange(state, why)
    if (range === undefined) continue
    range.isOpen = false
    range.endedAtMs = atMs
  }
}

/** The next record of the epoch says that the set has the one that put the rule in force. */
function resolveClaim(state: ExposureState, { flags }: LogRecord, kind: number | undefined): void {
  const { claim } = state
  if ((flags & FLAG_JOINS_GROUP) !== 0) return
  state.claim = undefined
  if (claim === undefined || kind === CONTROL_EPOCH || kind === CONTROL_ACKS_LOWERED) return
  for (const range of state.ranges as Range[]) range.covered ??= range.isOpen ? undefined : claim
}

function tailOf(record: LogRecord, isCommit: boolean): Tail {
  const position = positionOf(record)
  return { from: position, to: position, beganAtMs: record.committedAtMs, isCommit }
}

function positionOf({ epoch, lsn }: LogRecord): Position {
  return { epoch, lsn }
}

function textOf({ payload }: LogRecord): string {
  return Buffer.from(payload.buffer, payload.byteOffset + 1, payload.length - 1).toString()
}
