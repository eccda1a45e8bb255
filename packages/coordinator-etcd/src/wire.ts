/** Keys, transactions and answers of etcd's JSON interface: bytes are base64 there, and 64-bit numbers are texts. */
import { isObject } from './refusals.ts'

export interface KeyValue {
  readonly value: Buffer
  /** Revision of its last change. */
  readonly revision: string
}

/** A condition of a transaction. */
export interface Condition {
  readonly key: string
  readonly target: 'MOD' | 'VALUE'
  readonly result?: 'EQUAL' | 'NOT_EQUAL'
  readonly mod_revision?: string
  readonly value?: string
}

export function base64(value: string | Uint8Array): string {
  return Buffer.from(value as Uint8Array).toString('base64')
}

/** The key is unchanged since this revision; `0`: there is none. */
export function isAt(key: string, revision: string): Condition {
  return { key: base64(key), target: 'MOD', result: 'EQUAL', mod_revision: revision }
}

export function isNot(key: string, value: string): Condition {
  return { key: base64(key), target: 'VALUE', result: 'NOT_EQUAL', value: base64(value) }
}

/** A transaction that puts all of these when all conditions hold. */
export function putsWhen(
  conditions: readonly Condition[],
  puts: Readonly<Record<string, string | Uint8Array>>,
): unknown {
  return {
    compare: conditions,
    success: Object.entries(puts).map(([key, value]) => ({
      request_put: { key: base64(key), value: base64(value) },
    })),
  }
}

/** All keys that begin with `prefix`, which ends with a slash. */
export function everythingIn(prefix: string): { key: string; range_end: string } {
  // The byte after a slash is a zero.
  return { key: base64(prefix), range_end: base64(`${prefix.slice(0, -1)}0`) }
}

/** The revision of a transaction that was carried out; undefined: its conditions did not hold. Throws on anything else. */
export function revisionOf(answer: Record<string, unknown>): string | undefined {
  const header = answer['header']
  const revision = isObject(header) ? header['revision'] : undefined
  if (typeof revision !== 'string') throw new Error('the answer has no revision')
  return answer['succeeded'] === true ? revision : undefined
}

/** Keys without `prefix`. Throws when it is no answer to reading a range. */
export function keysOf(answer: Record<string, unknown>, prefix: string): Map<string, KeyValue> {
  if (!isObject(answer['header'])) throw new Error('the answer has no header')
  const entries = answer['kvs'] ?? []
  if (!Array.isArray(entries)) throw new Error('the answer has no keys')
  return new Map(entries.map((entry: unknown) => keyOf(entry, prefix)))
}

function keyOf(entry: unknown, prefix: string): [string, KeyValue] {
  if (!isObject(entry)) throw new Error('a key is no object')
  const { key, value = '', mod_revision: revision } = entry
  if (typeof key !== 'string' || typeof value !== 'string' || typeof revision !== 'string')
    throw new Error('a key lacks its name or revision')
  const name = Buffer.from(key, 'base64').toString()
  return [name.slice(prefix.length), { value: Buffer.from(value, 'base64'), revision }]
}
