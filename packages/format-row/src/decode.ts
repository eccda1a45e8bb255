/**
 * Payloads to plans: what to do, in order, checked as a whole before anything is done.
 *
 * 1. A payload of a higher version is `FORMAT_VERSION`, any other deviation from row.proto `RECORD_CORRUPT`.
 * 2. A plan's changesets are views of the decoder's buffers: they hold until its next payload.
 */
import { UnderstudyError } from '@understudy/contracts'
import { ChangesetWriter } from '@understudy/changeset'
import {
  PAYLOAD_VERSION,
  type Before,
  type Extras,
  type PlainValue,
  type Sequences,
  type SequenceValue,
  type TriggerDefinition,
} from './payload.ts'
import { RowDecoder, type DecodedTable } from './row-decoder.ts'
import { isSchemaChange } from './sql.ts'
import { BYTES, corrupt, FIXED64, ProtoReader, VARINT } from './wire.ts'

/** Row changes between two schema changes. */
export interface RowsStep {
  readonly kind: 'rows'
  readonly tables: readonly DecodedTable[]
  /** Tables without `replace`, in the order of `tables`; may be empty. */
  readonly strict: Uint8Array
  /** Tables with `replace`, in the order of `tables`; may be empty. */
  readonly replacing: Uint8Array
  /** Inserts of the rows that those replaced, in the order of `tables`; may be empty. */
  readonly replaced: Uint8Array
}

export interface SchemaStep {
  readonly kind: 'schema'
  readonly sql: string
  /** 8 bytes. */
  readonly fingerprint: Uint8Array
}

export interface Plan extends Extras {
  readonly writes: number
  readonly changes: number
  /** 8 bytes. */
  readonly schema: Uint8Array
  readonly steps: readonly (RowsStep | SchemaStep)[]
}

interface OpenRows {
  readonly tables: DecodedTable[]
  readonly starts: Lengths
}

/** Of the three changesets. */
interface Lengths {
  readonly strict: number
  readonly replacing: number
  readonly replaced: number
}

/** Decodes payloads with buffers that are reused. */
export class PayloadDecoder {
  readonly #strict = new ChangesetWriter()
  readonly #replacing = new ChangesetWriter()
  readonly #replaced = new ChangesetWriter()
  readonly #rows = new RowDecoder(this.#strict, this.#replacing, this.#replaced)

  decode(payload: Uint8Array): Plan {
    this.#strict.reset()
    this.#replacing.reset()
    this.#replaced.reset()
    const reader = new ProtoReader(payload)
    const limit = payload.length
    checkVersion(required(reader, limit, 1))
    const writes = required(reader, limit, 2)
    const changes = take(reader, limit, (3 << 3) | VARINT) ? reader.varint(limit) : 0
    const schema = fingerprint(reader, limit, 4)
    const steps = this.#steps(reader, limit)
    const extras: Extras = {
      sequences: this.#message(reader, limit, 6, (end) => this.#sequences(reader, end)),
      triggers: this.#message(reader, limit, 7, (end) => this.#triggers(reader, end)),
      userVersion: sint32(reader, limit, 8),
      applicationId: sint32(reader, limit, 9),
      statistics: this.#message(reader, limit, 10, (end) => this.#statistics(reader, end)),
      before: this.#message(reader, limit, 11, (end) => this.#before(reader, end)),
    }
    if (reader.offset !== limit) throw corrupt('an unknown or misplaced field', reader.offset)
    let counted = 0
    for (const step of steps) {
      if (step.kind === 'schema') continue
      for (const table of step.tables) counted += table.deletes + table.updates + table.inserts
    }
    if (counted !== changes) throw corrupt(`${counted} rows where ${changes} were announced`, limit)
    return { writes, changes, schema, steps, ...extras }
  }

  #steps(reader: ProtoReader, limit: number): (RowsStep | SchemaStep)[] {
    const closed: ((OpenRows & { readonly ends: Lengths }) | SchemaStep)[] = []
    let open: OpenRows | undefined
    const close = (ends: Lengths): void => {
      if (open !== undefined) closed.push({ ...open, ends })
      open = undefined
    }
    while (take(reader, limit, (5 << 3) | BYTES)) {
      const end = reader.span(limit)
      const starts = this.#lengths()
      if (take(reader, end, (1 << 3) | BYTES)) {
        const table = this.#rows.table(reader, reader.span(end))
        // Tables of one step are applied in any order, so each may come once.
        if (open?.tables.some(({ name }) => name === table.name) === true) close(starts)
        open ??= { tables: [], starts }
        open.tables.push(table)
      } else if (take(reader, end, (2 << 3) | BYTES)) {
        close(starts)
        const inner = reader.span(end)
        const sql = this.#text(reader, inner, 1)
        if (!isSchemaChange(sql)) throw corrupt('a schema change that is none', reader.offset)
        closed.push({ kind: 'schema', sql, fingerprint: fingerprint(reader, inner, 2) })
      }
      if (reader.offset !== end) throw corrupt('a step of an unknown kind', reader.offset)
    }
    close(this.#lengths())
    // Only now, because the buffers may have moved while they grew.
    const strict = this.#strict.bytes()
    const replacing = this.#replacing.bytes()
    const replaced = this.#replaced.bytes()
    return closed.map((step) =>
      'sql' in step
        ? step
        : {
            kind: 'rows',
            tables: step.tables,
            strict: strict.subarray(step.starts.strict, step.ends.strict),
            replacing: replacing.subarray(step.starts.replacing, step.ends.replacing),
            replaced: replaced.subarray(step.starts.replaced, step.ends.replaced),
          },
    )
  }

  #lengths(): Lengths {
    return {
      strict: this.#strict.length,
      replacing: this.#replacing.length,
      replaced: this.#replaced.length,
    }
  }

  #message<T>(reader: ProtoReader, limit: number, field: number, read: (end: number) => T): T | undefined {
    if (!take(reader, limit, (field << 3) | BYTES)) return undefined
    const end = reader.span(limit)
    const value = read(end)
    if (reader.offset !== end) throw corrupt('an unknown or misplaced field', reader.offset)
    return value
  }

  #sequences(reader: ProtoReader, limit: number): Sequences {
    const all = take(reader, limit, (1 << 3) | VARINT) && reader.varint(limit) !== 0
    return { all, sequences: this.#sequenceList(reader, limit, 2) }
  }

  #sequenceList(reader: ProtoReader, limit: number, field: number): SequenceValue[] {
    const sequences: SequenceValue[] = []
    for (;;) {
      const item = this.#message(reader, limit, field, (end) => ({
        name: this.#value(reader, end, 1),
        value: this.#value(reader, end, 2),
      }))
      if (item === undefined) return sequences
      sequences.push(item)
    }
  }

  #before(reader: ProtoReader, limit: number): Before {
    return {
      sequences: this.#sequenceList(reader, limit, 1),
      userVersion: sint32(reader, limit, 2),
      applicationId: sint32(reader, limit, 3),
      statistics: this.#message(reader, limit, 4, (end) => this.#statistics(reader, end)),
    }
  }

  #triggers(reader: ProtoReader, limit: number): TriggerDefinition[] {
    const triggers: TriggerDefinition[] = []
    for (;;) {
      const item = this.#message(reader, limit, 1, (end) => ({
        name: this.#text(reader, end, 1),
        sql: this.#text(reader, end, 2),
      }))
      if (item === undefined) return triggers
      if (!/^create\s+trigger\s/i.test(item.sql)) throw corrupt('a trigger that is none', reader.offset)
      triggers.push(item)
    }
  }

  #statistics(reader: ProtoReader, limit: number): PlainValue[][] {
    const rows: PlainValue[][] = []
    for (;;) {
      const row = this.#message(reader, limit, 1, (end) => [
        this.#value(reader, end, 1),
        this.#value(reader, end, 1),
        this.#value(reader, end, 1),
      ])
      if (row === undefined) return rows
      rows.push(row)
    }
  }

  #text(reader: ProtoReader, limit: number, field: number): string {
    if (!take(reader, limit, (field << 3) | BYTES)) throw corrupt('a missing text', reader.offset)
    const end = reader.span(limit)
    const text = this.#rows.string(reader.bytes.subarray(reader.offset, end), reader.offset)
    reader.offset = end
    return text
  }

  #value(reader: ProtoReader, limit: number, field: number): PlainValue {
    const value = this.#message(reader, limit, field, (end) => this.#plainValue(reader, end))
    if (value === undefined) throw corrupt('a missing value', reader.offset)
    return value
  }

  #plainValue(reader: ProtoReader, limit: number): PlainValue {
    const tag = reader.offset < limit ? reader.bytes[reader.offset] : undefined
    reader.offset += 1
    if (tag === ((1 << 3) | VARINT) && reader.varint(limit) === 1) return null
    if (tag === ((2 << 3) | VARINT)) {
      reader.zigzag(limit)
      return (BigInt(reader.high) << 32n) | BigInt(reader.low >>> 0)
    }
    if (tag === ((3 << 3) | FIXED64)) {
      reader.eight(limit)
      const bits = new DataView(new ArrayBuffer(8))
      bits.setInt32(0, reader.high)
      bits.setInt32(4, reader.low)
      return bits.getFloat64(0)
    }
    if (tag === ((4 << 3) | BYTES) || tag === ((5 << 3) | BYTES)) {
      const end = reader.span(limit)
      const bytes = new Uint8Array(reader.bytes.subarray(reader.offset, end))
      reader.offset = end
      // A writer has it as a string of JavaScript, so always as UTF-8.
      return tag === ((4 << 3) | BYTES) ? this.#rows.string(bytes, end) : bytes
    }
    throw corrupt('a value of an unknown kind', reader.offset)
  }
}

function checkVersion(version: number): void {
  if (version === PAYLOAD_VERSION) return
  throw new UnderstudyError(
    'FORMAT_VERSION',
    `A row record has payload version ${version}; this node reads version ${PAYLOAD_VERSION}. Nothing was applied. ` +
      'Update @understudy/format-row on this node, then start it again.',
    { version, versionMax: PAYLOAD_VERSION },
  )
}

function required(reader: ProtoReader, limit: number, field: number): number {
  if (!take(reader, limit, (field << 3) | VARINT)) throw corrupt(`field ${field} is missing`, reader.offset)
  return reader.varint(limit)
}

function fingerprint(reader: ProtoReader, limit: number, field: number): Uint8Array {
  if (!take(reader, limit, (field << 3) | BYTES)) throw corrupt(`field ${field} is missing`, reader.offset)
  const end = reader.span(limit)
  const at = reader.offset
  if (end - at !== 8) throw corrupt('a fingerprint that is not 8 bytes', at)
  reader.offset = end
  return reader.bytes.subarray(at, end)
}

function sint32(reader: ProtoReader, limit: number, field: number): number | undefined {
  if (!take(reader, limit, (field << 3) | VARINT)) return undefined
  reader.zigzag(limit)
  if (reader.high !== reader.low >> 31) throw corrupt('a number beyond 32 bits', reader.offset)
  return reader.low
}

function take(reader: ProtoReader, limit: number, tag: number): boolean {
  if (reader.offset >= limit || reader.bytes[reader.offset] !== tag) return false
  reader.offset += 1
  return true
}
