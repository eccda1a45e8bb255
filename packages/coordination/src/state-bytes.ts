/**
 * The published state as bytes: JSON, so that a person can read it where it lies, with a version in front.
 *
 * 1. What is written is read back as the same state; everything else is refused (`STATE_CORRUPT`), a newer version by
 *    `FORMAT_VERSION`.
 * 2. Ids are decimal texts: they go beyond what JSON's numbers hold.
 */
import {
  UnderstudyError,
  type AckLevel,
  type PublishedRule,
  type PublishedState,
} from '@understudy/contracts'

const VERSION = 1
/** A third of what etcd takes in one request by default. */
export const STATE_BYTES_MAX: number = 512 * 1024
const LEVELS: readonly AckLevel[] = ['local', 'received', 'durable', 'applied']
const ID_MAX = 2n ** 63n - 1n

export interface WrittenState {
  readonly state: PublishedState
  /** Drawn anew for each publication: a writer whose answer was lost knows its own state by it. */
  readonly token: string
}

/** Throws `INVALID_ARGUMENT` for a state that is none, or too large. */
export function encodeState({ state, token }: WrittenState): Uint8Array {
  const bytes = Buffer.from(
    JSON.stringify({
      version: VERSION,
      token,
      ...state,
      ceilings: Object.fromEntries([...state.ceilings].map(([table, id]) => [table, String(id)])),
    }),
  )
  if (bytes.byteLength > STATE_BYTES_MAX)
    throw invalid(`the state has ${bytes.byteLength} bytes, and ${STATE_BYTES_MAX} is the most`)
  const problem = problemOf(JSON.parse(bytes.toString()))
  if (problem !== undefined) throw invalid(problem)
  return bytes
}

/** Throws `STATE_CORRUPT` or `FORMAT_VERSION`. */
export function decodeState(bytes: Uint8Array): WrittenState {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw corrupt('it is no JSON', cause)
  }
  const version = isObject(value) ? value['version'] : undefined
  if (typeof version === 'number' && version > VERSION)
    throw new UnderstudyError(
      'FORMAT_VERSION',
      `The coordinator holds a state of version ${version}, and this program knows ${VERSION}. Nothing was changed; update it.`,
      { version },
    )
  const problem = version === VERSION ? problemOf(value) : 'it has no version'
  if (problem !== undefined) throw corrupt(problem)
  const { cluster, epoch, runId, leader, acks, ceilings, paused, token } = value as Json
  return {
    token,
    state: {
      cluster,
      epoch,
      runId,
      ...(leader && { leader }),
      acks,
      ceilings: new Map(Object.entries(ceilings).map(([table, id]) => [table, BigInt(id)])),
      paused,
    },
  }
}

interface Json extends Omit<PublishedState, 'ceilings'> {
  readonly token: string
  readonly ceilings: Record<string, string>
}

function problemOf(value: unknown): string | undefined {
  if (!isObject(value)) return 'it is no object'
  const { cluster, epoch, runId, leader, acks, ceilings, paused, token } = value
  if (!isText(cluster) || !isText(runId) || !isText(token)) return 'cluster, runId or token is no text'
  if (!Number.isSafeInteger(epoch) || (epoch as number) < 0) return 'epoch is no number of an epoch'
  if (leader !== undefined && !(isObject(leader) && isText(leader['name']) && isTexts(leader['addresses'])))
    return 'leader is not a name with addresses'
  if (!isObject(acks) || !isRule(acks['rule'])) return 'acks.rule is no rule'
  if (acks['next'] !== undefined && !isRule(acks['next'])) return 'acks.next is no rule'
  if (!isObject(ceilings) || !Object.values(ceilings).every(isId)) return 'a ceiling is no id'
  return typeof paused === 'boolean' ? undefined : 'paused is not true or false'
}

function isRule(value: unknown): value is PublishedRule {
  if (!isObject(value) || !LEVELS.includes(value['level'] as AckLevel)) return false
  const { of } = value
  if (of === undefined) return value['level'] === 'local'
  if (!isObject(of) || (of['kind'] !== 'any' && of['kind'] !== 'first') || !isTexts(of['names'])) return false
  const count = of['count'] as number
  return Number.isSafeInteger(count) && count >= 1 && count <= of['names'].length
}

function isId(value: unknown): boolean {
  return typeof value === 'string' && /^\d{1,19}$/.test(value) && BigInt(value) <= ID_MAX
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(isText)
}

function invalid(what: string): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `This state cannot be published: ${what}. Nothing was changed.`,
  )
}

function corrupt(what: string, cause?: unknown): UnderstudyError {
  return new UnderstudyError(
    'STATE_CORRUPT',
    `What the coordinator holds is no state of a cluster: ${what}. It was left as it is; find out what else writes there.`,
    { cause },
  )
}
