/**
 * What members of a cluster tell each other, and the bytes of it.
 *
 * Decides: the words, and that bytes are one of them or `PROTOCOL_VIOLATION`. Leaves to others: what is made of them.
 *
 * JSON in UTF-8, because there are a few a second, and because a decision keeps the reports as they came. Unknown fields are
 * kept, an unknown kind is no error: a newer version may say more.
 */
import { UnderstudyError } from '@understudy/contracts'
import type { LeaderView } from '../confirm.ts'
import type { Intent, MemberReport, Promised } from '../decide/observations.ts'

/** What a member says of itself to all others: every interval, and at once when something changed. Its heartbeat as well. */
export interface Status {
  readonly kind: 'status'
  readonly report: MemberReport
  /** What it hears of the leader that it knows. */
  readonly view: Omit<LeaderView, 'from' | 'ageMs'>
  /** Whom it takes for the leader. */
  readonly leader?: string
  /** It leads this epoch. */
  readonly leads?: Promised
}

/** Take no records, make durable what is there, and say where that is: answered by a status. */
export interface Stop {
  readonly kind: 'stop'
}

/** The opposite, from the one that stopped it last. */
export interface Resume {
  readonly kind: 'resume'
}

/** Promise this epoch: answered by a status, or by `refused`. */
export interface Ask {
  readonly kind: 'ask'
  readonly promise: Promised
  readonly isPlanned: boolean
}

export interface Refused {
  readonly kind: 'refused'
  readonly runId?: string
  readonly reason: string
}

/** The leader without a lease: is it still followed? Answered by `grant`. */
export interface FollowQuestion {
  readonly kind: 'follow?'
  readonly leads: Promised
  /** By the clock of the leader; comes back. */
  readonly askedAtMs: number
  readonly forMs: number
}

export interface Grant {
  readonly kind: 'grant'
  readonly runId: string
  readonly askedAtMs: number
  /** Milliseconds; 0: it is not followed. */
  readonly forMs: number
}

/** A person wants something of the cluster: whoever it concerns acts. */
export interface Wish {
  readonly kind: 'wish'
  readonly intent: Intent
  /** The epoch that it is about: over with the first one after it. */
  readonly epoch: number
  readonly forMs: number
}

/** For the leader: hand over. Answered by a new epoch, or `notDone`. */
export interface HandOver {
  readonly kind: 'handOver'
  readonly id: string
  readonly target?: string
  readonly timeoutMs: number
}

export interface NotDone {
  readonly kind: 'notDone'
  readonly id: string
  readonly reason: string
}

export type Word = Status | Stop | Resume | Ask | Refused | FollowQuestion | Grant | Wish | HandOver | NotDone

export function encodeWord(word: Word): Uint8Array {
  return Buffer.from(JSON.stringify(word))
}

/** `undefined`: a kind that this version does not know. Throws `PROTOCOL_VIOLATION`. */
export function decodeWord(bytes: Uint8Array): Word | undefined {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw violation('it is no JSON', cause)
  }
  if (!isObject(value) || typeof value['kind'] !== 'string') throw violation('it has no kind')
  const check = CHECKS.get(value['kind'])
  if (check === undefined) return undefined
  if (!check(value))
    throw violation(`a part of a word '${value['kind'].slice(0, 20)}' is missing or of another type`)
  return value as unknown as Word
}

type Fields = Readonly<Record<string, unknown>>

const CHECKS: ReadonlyMap<string, (word: Fields) => boolean> = new Map<string, (word: Fields) => boolean>([
  [
    'status',
    (word) =>
      isReport(word['report']) &&
      isView(word['view']) &&
      optional(word['leader'], isName) &&
      optional(word['leads'], isPromise),
  ],
  ['stop', () => true],
  ['resume', () => true],
  ['ask', (word) => isPromise(word['promise']) && typeof word['isPlanned'] === 'boolean'],
  ['refused', (word) => optional(word['runId'], isRunId) && isText(word['reason'])],
  ['follow?', (word) => isPromise(word['leads']) && isTime(word['askedAtMs']) && isTime(word['forMs'])],
  ['grant', (word) => isRunId(word['runId']) && isTime(word['askedAtMs']) && isTime(word['forMs'])],
  ['wish', (word) => isIntent(word['intent']) && isCount(word['epoch']) && isTime(word['forMs'])],
  ['handOver', (word) => isText(word['id']) && optional(word['target'], isName) && isTime(word['timeoutMs'])],
  ['notDone', (word) => isText(word['id']) && isText(word['reason'])],
])

function isReport(value: unknown): boolean {
  return (
    isObject(value) &&
    isPoint(value['end']) &&
    Array.isArray(value['history']) &&
    value['history'].every(isEpoch) &&
    isCount(value['appliedLsn']) &&
    STATES.has(value['state']) &&
    ['deltaUnverified', 'logDamaged', 'receiversStopped', 'keptReceived', 'idsProven'].every(
      (field) => typeof value[field] === 'boolean',
    ) &&
    optional(value['promised'], isPromise) &&
    optional(value['rules'], isRules) &&
    optional(value['leaderEnd'], isPosition)
  )
}

const STATES: ReadonlySet<unknown> = new Set(['leading', 'streaming', 'catchup', 'bootstrapping', 'diverged'])
const CAUSES: ReadonlySet<unknown> = new Set([
  'heartbeat',
  'silence',
  'connection-lost',
  'connection-refused',
])
const LEVELS: ReadonlySet<unknown> = new Set(['local', 'received', 'durable', 'applied'])

function isView(value: unknown): boolean {
  return (
    isObject(value) &&
    typeof value['hears'] === 'boolean' &&
    isTime(value['silentMs']) &&
    CAUSES.has(value['by']) &&
    typeof value['isCertain'] === 'boolean' &&
    typeof value['stalled'] === 'boolean'
  )
}

function isIntent(value: unknown): boolean {
  if (!isObject(value)) return false
  if (value['kind'] === 'automatic') return true
  if (!optional(value['target'], isName)) return false
  return (
    value['kind'] === 'switchover' ||
    (value['kind'] === 'promote' && typeof value['acceptLoss'] === 'boolean')
  )
}

function isPromise(value: unknown): boolean {
  return (
    isObject(value) &&
    isCount(value['epoch']) &&
    isRunId(value['runId']) &&
    isName(value['candidate']) &&
    optional(
      value['previous'],
      (previous) => isObject(previous) && isCount(previous['epoch']) && isRunId(previous['runId']),
    )
  )
}

function isEpoch(value: unknown): boolean {
  return (
    isObject(value) &&
    isCount(value['number']) &&
    isRunId(value['runId']) &&
    isText(value['leader']) &&
    isCount(value['firstLsn']) &&
    isCount(value['crcBefore'])
  )
}

function isRules(value: unknown): boolean {
  return (
    isObject(value) &&
    isRule(value['rule']) &&
    optional(value['next'], isRule) &&
    typeof value['mayBeLowered'] === 'boolean'
  )
}

function isRule(value: unknown): boolean {
  return isObject(value) && LEVELS.has(value['level']) && optional(value['of'], isSet)
}

function isSet(value: unknown): boolean {
  return (
    isObject(value) &&
    (value['kind'] === 'any' || value['kind'] === 'first') &&
    isCount(value['count']) &&
    Array.isArray(value['names']) &&
    value['names'].every(isName)
  )
}

function isPoint(value: unknown): boolean {
  return isObject(value) && isPosition(value) && isCount(value['crc'])
}

function isPosition(value: unknown): boolean {
  return isObject(value) && isCount(value['epoch']) && isCount(value['lsn'])
}

function optional(value: unknown, check: (value: unknown) => boolean): boolean {
  return value === undefined || check(value)
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

function isTime(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value.length <= 4096
}

function isName(value: unknown): boolean {
  return typeof value === 'string' && /^[\p{L}\p{N}._-]{1,64}$/u.test(value)
}

function isRunId(value: unknown): boolean {
  return typeof value === 'string' && /^[0-9a-f]{16}$/.test(value)
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null
}

function violation(why: string, cause?: unknown): UnderstudyError {
  return new UnderstudyError(
    'PROTOCOL_VIOLATION',
    `A member sent what is no word between members: ${why}. Nothing of it was used; check that all nodes run the same version.`,
    cause === undefined ? {} : { cause },
  )
}
