/** Payloads for people and tools: plain data that JSON can carry. */
import { decodeChangeset, type Change, type Value } from '@understudy/changeset'
import { PayloadDecoder, type RowsStep } from './decode.ts'
import type { PlainValue } from './payload.ts'
import type { DecodedTable } from './row-decoder.ts'

/**
 * A value in JSON: NULL and text as they are; integers as numbers up to 2^53 - 1 and as strings beyond; reals as
 * `{ real }`; blobs as `{ blob }` in hexadecimal. Text that is not UTF-8 shows U+FFFD.
 */
export type DescribedValue =
  | null
  | string
  | number
  | { readonly integer: string }
  | { readonly real: string }
  | { readonly blob: string }

export type DescribedRow = Readonly<Record<string, DescribedValue>>

export type DescribedStep =
  | {
      readonly table: string
      readonly key: readonly string[]
      readonly deletes: readonly DescribedRow[]
      readonly updates: readonly {
        readonly key: DescribedRow
        readonly old: DescribedRow
        readonly new: DescribedRow
      }[]
      readonly inserts: readonly DescribedRow[]
    }
  | { readonly sql: string }

export interface DescribedPayload {
  readonly writes: number
  readonly changes: number
  readonly schema: string
  readonly steps: readonly DescribedStep[]
  readonly sequences?: readonly { readonly name: DescribedValue; readonly value: DescribedValue }[]
  readonly triggers?: readonly string[]
  readonly userVersion?: number
  readonly applicationId?: number
  readonly statistics?: readonly (readonly DescribedValue[])[]
}

/** Decodes a payload. Throws `RECORD_CORRUPT` or `FORMAT_VERSION`. */
export function describePayload(payload: Uint8Array): DescribedPayload {
  const plan = new PayloadDecoder().decode(payload)
  const { sequences, triggers, userVersion, applicationId, statistics } = plan
  return {
    writes: plan.writes,
    changes: plan.changes,
    schema: Buffer.from(plan.schema).toString('hex'),
    steps: plan.steps.flatMap((step) => (step.kind === 'rows' ? describeRows(step) : [{ sql: step.sql }])),
    ...(sequences !== undefined && {
      sequences: sequences.sequences.map(({ name, value }) => ({
        name: describe(name),
        value: describe(value),
      })),
    }),
    ...(triggers !== undefined && { triggers: triggers.map(({ sql }) => sql) }),
    ...(userVersion !== undefined && { userVersion }),
    ...(applicationId !== undefined && { applicationId }),
    ...(statistics !== undefined && { statistics: statistics.map((row) => row.map(describe)) }),
  }
}

function describeRows(step: RowsStep): DescribedStep[] {
  const strict = decodeChangeset(step.strict)
  const replacing = decodeChangeset(step.replacing)
  return step.tables.map((table) => describeTable(table, table.replace ? replacing : strict))
}

function describeTable(table: DecodedTable, changes: Generator<Change>): DescribedStep {
  const take = <T>(count: number, describeOne: (change: Change) => T): T[] =>
    Array.from({ length: count }, () => describeOne(changes.next().value as Change))
  const { columns } = table
  const key = table.key.map((index) => columns[index] as string)
  const isKey = new Set(key)
  const side = (
    values: readonly (Value | undefined)[],
    wanted: (column: string) => boolean,
  ): DescribedRow => {
    const row: Record<string, DescribedValue> = {}
    for (const [index, value] of values.entries()) {
      const column = columns[index] as string
      if (value !== undefined && wanted(column)) row[column] = describe(value)
    }
    return row
  }
  const every = () => true
  return {
    table: table.name,
    key,
    deletes: take(table.deletes, ({ before }) => side(before, every)),
    updates: take(table.updates, ({ before, after }) => ({
      key: side(before, (column) => isKey.has(column)),
      old: side(before, (column) => !isKey.has(column)),
      new: side(after, every),
    })),
    inserts: take(table.inserts, ({ after }) => side(after, every)),
  }
}

function describe(value: PlainValue | Value): DescribedValue {
  if (value === null || typeof value === 'string') return value
  if (typeof value === 'bigint') {
    const small = Number(value)
    return Number.isSafeInteger(small) ? small : { integer: value.toString() }
  }
  if (typeof value === 'number') return { real: Object.is(value, -0) ? '-0' : String(value) }
  return { blob: Buffer.from(value).toString('hex') }
}
