/**
 * The key of a write: what may be one, what tells one body from another, what of a result is kept.
 *
 * Decides: those three, as pure functions. Leaves to others: where keys are kept (the storage), what a retry is answered.
 *
 * 1. A digest covers everything that a list of statements does: texts, parameters with their types, what is expected. Two kinds of
 *    body never have one digest, because what they return has another shape.
 * 2. A value is kept only when JSON gives it back as it is; nothing is kept in part.
 */
import { createHash, type Hash } from 'node:crypto'
import { UnderstudyError, type Condition, type Parameters } from '@understudy/contracts'
import type { Step } from './steps.ts'

/** UTF-8 bytes of a key. */
export const KEY_BYTES_MAX = 255
/** UTF-8 bytes of the JSON of a result that is kept. */
export const VALUE_BYTES_MAX = 4096
const DIGEST_BYTES = 16
/** A result that is nested deeper is not kept. */
const DEPTH_MAX = 32

/** Throws `INVALID_ARGUMENT`. */
export function checkedKey(key: unknown): string {
  if (typeof key !== 'string') throw invalid('it must be a text')
  if (key === '') throw invalid('it is empty')
  if (Buffer.byteLength(key) > KEY_BYTES_MAX)
    throw invalid(`it has ${Buffer.byteLength(key)} bytes; ${KEY_BYTES_MAX} are allowed`)
  if (!key.isWellFormed() || /\p{Cc}/u.test(key))
    throw invalid('it has a control character, or is no valid text')
  return key
}

function invalid(why: string): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `A key names one write: ${why}. Nothing was changed; use such as 'order-17'.`,
  )
}

/** What tells a body from another; `undefined` for a callback, of which nothing can be known, without a fingerprint. */
export function digestOf(body: unknown, fingerprint: string | undefined): Uint8Array | undefined {
  if (fingerprint !== undefined) return finished(tagged('fingerprint', fingerprint))
  if (typeof body === 'function' || !Array.isArray(body)) return undefined
  return finished(hashOf(body as readonly Step[]))
}

/** A fingerprint of a list of statements, for who runs it otherwise than as a list. */
export function fingerprintOfStatements(statements: readonly Step[]): string {
  return hashOf(statements).digest('hex')
}

function hashOf(statements: readonly Step[]): Hash {
  const hash = tagged('statements', '')
  for (const step of statements) {
    if ('require' in step) {
      addText(hash, 'r', conditionText(step.require))
      continue
    }
    const { sql, params, expect, when } = step
    addText(hash, 's', sql)
    addParameters(hash, params ?? [])
    addText(hash, 'e', expect === undefined ? '' : String(expect))
    if (when !== undefined) addText(hash, 'w', conditionText(when))
  }
  return hash
}

/** One text for each condition, in whatever order its members were given. */
function conditionText(condition: Condition): string {
  if ('not' in condition) return `not(${conditionText(condition.not)})`
  if ('and' in condition) return `and(${condition.and.map(conditionText).join(',')})`
  if ('or' in condition) return `or(${condition.or.map(conditionText).join(',')})`
  if ('ok' in condition) return `ok ${condition.ok}`
  if ('error' in condition) return `error ${condition.error}`
  const rows = condition.rows === undefined ? '' : ` ${condition.rows}`
  return 'changed' in condition
    ? `changed ${condition.changed}${rows}`
    : `returned ${condition.returned}${rows}`
}

function tagged(kind: string, text: string): Hash {
  const hash = createHash('sha256')
  addText(hash, 'k', kind)
  addText(hash, 'f', text)
  return hash
}

function finished(hash: Hash): Uint8Array {
  return new Uint8Array(hash.digest().subarray(0, DIGEST_BYTES))
}

function addParameters(hash: Hash, parameters: Parameters): void {
  if (Array.isArray(parameters)) {
    for (const value of parameters as readonly unknown[]) addValue(hash, value)
    return
  }
  for (const [name, value] of Object.entries(parameters).sort(([a], [b]) => (a < b ? -1 : 1))) {
    addText(hash, 'n', name)
    addValue(hash, value)
  }
}

function addValue(hash: Hash, value: unknown): void {
  if (ArrayBuffer.isView(value)) {
    addText(hash, 'b', String(value.byteLength))
    hash.update(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))
  } else addText(hash, (typeof value)[0] as string, Object.is(value, -0) ? '-0' : String(value))
}

/** Each part with its length, so that no two lists of parts have the same bytes. */
function addText(hash: Hash, tag: string, text: string): void {
  hash.update(`${tag}${Buffer.byteLength(text)}:`)
  hash.update(text)
}

/** The JSON of a result, when JSON gives it back as it is and it is small enough; `undefined` otherwise. */
export function jsonOf(value: unknown): string | undefined {
  if (!isJson(value, { left: VALUE_BYTES_MAX }, 0)) return undefined
  const text = JSON.stringify(value)
  return Buffer.byteLength(text) <= VALUE_BYTES_MAX ? text : undefined
}

function isJson(value: unknown, budget: { left: number }, depth: number): boolean {
  budget.left -= 1
  if (budget.left < 0 || depth > DEPTH_MAX) return false
  if (value === null || typeof value === 'boolean') return true
  if (typeof value === 'number') return Number.isFinite(value) && !Object.is(value, -0)
  if (typeof value === 'string') return (budget.left -= value.length) >= 0 && value.isWellFormed()
  if (typeof value !== 'object' || 'toJSON' in value) return false
  if (Array.isArray(value)) {
    // A hole comes back as null.
    for (let at = 0; at < value.length; at++)
      if (!(at in value) || !isJson(value[at], budget, depth + 1)) return false
    return Object.keys(value).length === value.length
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  for (const [name, member] of Object.entries(value)) {
    budget.left -= name.length
    if (name === '__proto__' || !isJson(member, budget, depth + 1)) return false
  }
  return Object.getOwnPropertySymbols(value).length === 0
}
