/** Payloads for people and tools: plain data that JSON can carry. */
import { nameOf } from './overrides.ts'
import { decodePayload, type PlannedStatement, type TextEntry } from './payload.ts'
import { describeValue, type DescribedValue } from './values.ts'

export interface DescribedStatement {
  /** `undefined`: the text stands in an earlier record, under `number`. */
  readonly sql: string | undefined
  /** Number of the text in the dictionary. */
  readonly number?: number
  readonly parameters: readonly DescribedValue[] | Readonly<Record<string, DescribedValue>>
  readonly changes: number
  /** It failed on the leader part way, and kept what it had changed. */
  readonly fails?: true
  /** Results of functions, in order. */
  readonly captured: readonly {
    readonly function: string
    readonly value: DescribedValue
    readonly count: number
  }[]
}

export interface DescribedPayload {
  readonly writes: readonly (readonly DescribedStatement[])[]
  /** What the changes of each table come to; `kind` says of what the CRC-32 is made. */
  readonly digest: {
    readonly kind: 'none' | 'changeset' | 'rows' | 'hard rows'
    readonly tables: readonly { readonly table: string; readonly rows: number; readonly crc: string }[]
  }
}

const KINDS = ['none', 'changeset', 'rows', 'hard rows'] as const

/** Decodes a payload. Throws `RECORD_CORRUPT` or `FORMAT_VERSION`. */
export function describePayload(payload: Uint8Array): DescribedPayload {
  const { texts, writes, digest } = decodePayload(payload)
  return {
    writes: writes.map((statements) =>
      statements.filter(({ text }) => text >= 0).map((each) => describe(each, texts)),
    ),
    digest: {
      kind: KINDS[digest.kind] ?? 'none',
      tables: digest.tables.map(({ table, rows, crc }) => ({
        table,
        rows,
        crc: crc.toString(16).padStart(8, '0'),
      })),
    },
  }
}

function describe(statement: PlannedStatement, texts: readonly TextEntry[]): DescribedStatement {
  const { number, text } = texts[statement.text] as TextEntry
  const { parameters, changes, captured, fails } = statement
  return {
    sql: text,
    ...(number > 0 && { number }),
    parameters: Array.isArray(parameters)
      ? parameters.map(describeValue)
      : Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, describeValue(value)])),
    changes,
    ...(fails && { fails }),
    captured: captured.map(({ code, value, count }) => ({
      function: nameOf(code),
      value: describeValue(value),
      count,
    })),
  }
}
