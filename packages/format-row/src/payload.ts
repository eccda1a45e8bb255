/**
 * Everything of a payload that is not rows: head, schema changes, sequences, triggers, pragmas, statistics.
 *
 * Decides: the order of the fields. Leaves to others: where their values come from.
 */
import type { SQLOutputValue } from 'node:sqlite'
import { BYTES, FIXED64, ProtoWriter, VARINT } from './wire.ts'

/** Version of the payload; stands in each one. */
export const PAYLOAD_VERSION = 1

/** A value as a connection that reads bigints returns it: bigint is INTEGER, number is REAL. */
export type PlainValue = SQLOutputValue

export interface TriggerDefinition {
  readonly name: string
  readonly sql: string
}

export interface SequenceValue {
  readonly name: PlainValue
  readonly value: PlainValue
}

export interface Sequences {
  readonly all: boolean
  readonly sequences: readonly SequenceValue[]
}

/** What a payload carries beside its steps; `undefined` where nothing of the kind changed. */
export interface Extras {
  readonly sequences: Sequences | undefined
  readonly triggers: readonly TriggerDefinition[] | undefined
  readonly userVersion: number | undefined
  readonly applicationId: number | undefined
  readonly statistics: readonly (readonly PlainValue[])[] | undefined
  /** What stood where the others say what stands now; `undefined` when it is not known, or nothing needs it. */
  readonly before: Before | undefined
}

/** What undoing needs beside the rows. */
export interface Before {
  /** Of `Sequences.all`: every counter, in order. Else those that existed of the ones named. */
  readonly sequences: readonly SequenceValue[]
  readonly userVersion: number | undefined
  readonly applicationId: number | undefined
  readonly statistics: readonly (readonly PlainValue[])[] | undefined
}

export interface Head {
  readonly writes: number
  readonly changes: number
  /** 8 bytes. */
  readonly schema: Uint8Array
}

/** A whole payload, in bytes that nobody else writes to. */
export function encodePayload(head: Head, steps: Uint8Array, extras: Extras): Uint8Array {
  const tail = encodeExtras(extras)
  const writer = new ProtoWriter(40 + steps.length + tail.length)
  writer.byte((1 << 3) | VARINT)
  writer.varint(PAYLOAD_VERSION)
  writer.byte((2 << 3) | VARINT)
  writer.varint(head.writes)
  // proto3 leaves out zeros.
  if (head.changes > 0) {
    writer.byte((3 << 3) | VARINT)
    writer.varint(head.changes)
  }
  writer.byte((4 << 3) | BYTES)
  writer.byte(8)
  writer.copy(head.schema, 0, 8)
  writer.copy(steps, 0, steps.length)
  if (tail.length > 0) writer.copy(tail, 0, tail.length)
  return writer.bytes()
}

/** Appends the Step of a schema change. `fingerprint`: 8 bytes, of the schema after it. */
export function writeSchemaStep(out: ProtoWriter, sql: string, fingerprint: Uint8Array): void {
  const change = new ProtoWriter(sql.length + 32)
  change.append((1 << 3) | BYTES, Buffer.from(sql))
  change.append((2 << 3) | BYTES, fingerprint)
  const step = new ProtoWriter(change.length + 16)
  step.append((2 << 3) | BYTES, change.bytes())
  out.append((5 << 3) | BYTES, step.bytes())
}

function encodeExtras(extras: Extras): Uint8Array {
  const { sequences, triggers, userVersion, applicationId, statistics, before } = extras
  const writer = new ProtoWriter(0)
  if (sequences !== undefined) writer.append((6 << 3) | BYTES, encodeSequences(sequences))
  if (triggers !== undefined) writer.append((7 << 3) | BYTES, encodeTriggers(triggers))
  if (userVersion !== undefined) writeSint32(writer, (8 << 3) | VARINT, userVersion)
  if (applicationId !== undefined) writeSint32(writer, (9 << 3) | VARINT, applicationId)
  if (statistics !== undefined) writer.append((10 << 3) | BYTES, encodeStatistics(statistics))
  if (before !== undefined) writer.append((11 << 3) | BYTES, encodeBefore(before))
  return writer.bytes()
}

function encodeBefore({ sequences, userVersion, applicationId, statistics }: Before): Uint8Array {
  const writer = new ProtoWriter(64)
  for (const sequence of sequences) writer.append((1 << 3) | BYTES, encodeSequence(sequence))
  if (userVersion !== undefined) writeSint32(writer, (2 << 3) | VARINT, userVersion)
  if (applicationId !== undefined) writeSint32(writer, (3 << 3) | VARINT, applicationId)
  if (statistics !== undefined) writer.append((4 << 3) | BYTES, encodeStatistics(statistics))
  return writer.bytes()
}

function writeSint32(writer: ProtoWriter, tag: number, value: number): void {
  writer.reserve(12)
  writer.byte(tag)
  writer.zigzag(value >> 31, value)
}

function encodeSequences({ all, sequences }: Sequences): Uint8Array {
  const writer = new ProtoWriter(64)
  if (all) {
    writer.reserve(2)
    writer.byte((1 << 3) | VARINT)
    writer.byte(1)
  }
  for (const sequence of sequences) writer.append((2 << 3) | BYTES, encodeSequence(sequence))
  return writer.bytes()
}

function encodeSequence({ name, value }: SequenceValue): Uint8Array {
  const writer = new ProtoWriter(64)
  writer.append((1 << 3) | BYTES, encodeValue(name))
  writer.append((2 << 3) | BYTES, encodeValue(value))
  return writer.bytes()
}

function encodeTriggers(triggers: readonly TriggerDefinition[]): Uint8Array {
  const writer = new ProtoWriter(256)
  for (const { name, sql } of triggers) {
    const item = new ProtoWriter(256)
    item.append((1 << 3) | BYTES, Buffer.from(name))
    item.append((2 << 3) | BYTES, Buffer.from(sql))
    writer.append((1 << 3) | BYTES, item.bytes())
  }
  return writer.bytes()
}

function encodeStatistics(rows: readonly (readonly PlainValue[])[]): Uint8Array {
  const writer = new ProtoWriter(256)
  for (const row of rows) {
    const item = new ProtoWriter(64)
    for (const value of row) item.append((1 << 3) | BYTES, encodeValue(value))
    writer.append((1 << 3) | BYTES, item.bytes())
  }
  return writer.bytes()
}

function encodeValue(value: PlainValue): Uint8Array {
  const writer = new ProtoWriter(24)
  if (value === null) {
    writer.byte((1 << 3) | VARINT)
    writer.byte(1)
  } else if (typeof value === 'bigint') {
    writer.byte((2 << 3) | VARINT)
    writer.zigzag(Number(BigInt.asIntN(32, value >> 32n)), Number(BigInt.asIntN(32, value)))
  } else if (typeof value === 'number') {
    const bits = new Uint8Array(8)
    new DataView(bits.buffer).setFloat64(0, value, true)
    writer.byte((3 << 3) | FIXED64)
    writer.copy(bits, 0, 8)
  } else if (typeof value === 'string') {
    writer.append((4 << 3) | BYTES, Buffer.from(value))
  } else {
    writer.append((5 << 3) | BYTES, value)
  }
  return writer.bytes()
}
