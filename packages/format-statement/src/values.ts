/** Values for people and tools: plain data that JSON can carry. */
import type { PlainValue } from './bytes.ts'

/**
 * NULL and text as they are; integers as numbers up to 2^53 - 1 and as strings beyond; reals as `{ real }`, blobs as
 * `{ blob }` in hexadecimal.
 */
export type DescribedValue =
  | null
  | string
  | number
  | { readonly integer: string }
  | { readonly real: string }
  | { readonly blob: string }

export function describeValue(value: PlainValue): DescribedValue {
  if (value === null || typeof value === 'string') return value
  if (typeof value === 'bigint') {
    const small = Number(value)
    return Number.isSafeInteger(small) ? small : { integer: value.toString() }
  }
  if (typeof value === 'number') return { real: Object.is(value, -0) ? '-0' : String(value) }
  return { blob: Buffer.from(value).toString('hex') }
}
