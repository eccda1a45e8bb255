/**
 * The bytes of one group: layout in the README ("The payload").
 *
 * Decides: how texts, statements, results of functions and the digest stand in a payload.
 * Leaves to others: what a text's number means (`dictionary.ts`), what a digest is made of (`tripwire.ts`).
 */
import { crc32 } from 'node:zlib'
import { UnderstudyError } from '@understudy/contracts'
import { ByteReader, corrupt, type ByteWriter, type PlainValue } from './bytes.ts'
import { SETTINGS_MAX } from './settings.ts'

export const PAYLOAD_VERSION = 1

export const DIGEST_NONE = 0
/** CRC-32 of each table's part of the changeset, as it stands. */
export const DIGEST_BYTES = 1
/** Sum of the CRC-32s of a table's rows: in whatever order they come. */
export const DIGEST_ROWS = 2
/** Likewise, without tables in which two keys may be equal and yet differ: something was rolled back on the leader. */
export const DIGEST_HARD_ROWS = 3

const DIGEST_MASK = 3
/** Virtual tables exist: what they hold in memory is written down at the beginning of each write. */
const FLUSHES = 4

export const PARAMETERS_NONE = 0
export const PARAMETERS_LIST = 1
export const PARAMETERS_NAMED = 2

const FLUSH = 1
const FLUSHING: PlannedStatement = { text: -1, changes: 0, fails: false, parameters: [], captured: [] }
const CAPTURES = 4
const FAILS = 8

const CRC_BYTES = 4
const HEAD_BYTES = 3
const SAME_VALUE = 0x40
const REPEATED = 0x80
const FUNCTION_MASK = 0x3f

/** A text of the payload: as it is, or by its number in the dictionary, with or without the text. */
export interface TextEntry {
  /** 0: no number. */
  readonly number: number
  /** `undefined`: defined before. */
  readonly text: string | undefined
}

/** What one table's changes come to. */
export interface TableDigest {
  readonly table: string
  readonly rows: number
  readonly crc: number
}

export interface Digest {
  readonly kind: number
  readonly tables: readonly TableDigest[]
}

/** Results of functions in the order of their calls; equal ones in a row are one entry. */
export interface Captured {
  readonly code: number
  readonly value: PlainValue
  count: number
}

export interface PlannedStatement {
  /** Index into `texts`; -1: no statement, but virtual tables write down what they hold in memory. */
  readonly text: number
  /** Rows that it changed, those of triggers and foreign-key actions included. */
  readonly changes: number
  /** It failed, and kept what it had changed until then (OR FAIL). */
  readonly fails: boolean
  readonly parameters: readonly PlainValue[] | Readonly<Record<string, PlainValue>>
  readonly captured: readonly Captured[]
}

export interface Plan {
  readonly texts: readonly TextEntry[]
  readonly writes: readonly (readonly PlannedStatement[])[]
  readonly flushes: boolean
  /** The leader's, as bits. */
  readonly settings: number
  readonly digest: Digest
}

export type BoundParameters = readonly unknown[] | Readonly<Record<string, unknown>>

const NOTHING_CAPTURED: readonly Captured[] = []

/** One statement, appended to the body of a payload. */
export function writeStatement(
  body: ByteWriter,
  text: number,
  changes: number,
  parameters: BoundParameters,
  captured: readonly Captured[],
  fails: boolean = false,
): void {
  const list = Array.isArray(parameters)
  const names = list ? [] : Object.keys(parameters)
  const count = list ? parameters.length : names.length
  const kind = count === 0 ? PARAMETERS_NONE : list ? PARAMETERS_LIST : PARAMETERS_NAMED
  body.varint((text + 1) * 16 + (fails ? FAILS : 0) + (captured.length > 0 ? CAPTURES : 0) + kind)
  body.varint(changes)
  if (count > 0) {
    body.varint(count)
    if (list) for (let index = 0; index < count; index += 1) body.value(bound(parameters[index]))
    else {
      for (const name of names) {
        body.text(name)
        body.value(bound((parameters as Readonly<Record<string, unknown>>)[name]))
      }
    }
  }
  if (captured.length > 0) writeCaptured(body, captured)
}

/** Every view of bytes binds as its bytes; nothing else but the five types was accepted by SQLite. */
function bound(value: unknown): PlainValue {
  if (ArrayBuffer.isView(value)) {
    return value instanceof Uint8Array
      ? value
      : new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  }
  return value as PlainValue
}

function writeCaptured(body: ByteWriter, captured: readonly Captured[]): void {
  const last: PlainValue[] = []
  body.varint(captured.length)
  for (const { code, value, count } of captured) {
    const same = last[code] === value
    body.byte(code | (same ? SAME_VALUE : 0) | (count > 1 ? REPEATED : 0))
    if (count > 1) body.varint(count)
    if (!same) body.value(value)
    last[code] = value
  }
}

/** In the body of a payload: here virtual tables write down what they hold in memory. */
export function writeFlush(body: ByteWriter): void {
  body.byte(FLUSH)
}

/** The end of a write in the body of a payload. */
export function writeEnd(body: ByteWriter): void {
  body.byte(0)
}

/** The whole payload. The bytes are the caller's. */
export function encodePayload(
  writer: ByteWriter,
  head: Pick<Plan, 'flushes' | 'settings'>,
  texts: readonly TextEntry[],
  body: Uint8Array,
  digest: Digest,
): Uint8Array {
  writer.reset()
  writer.byte(PAYLOAD_VERSION)
  writer.byte(digest.kind | (head.flushes ? FLUSHES : 0))
  writer.byte(head.settings)
  writer.varint(texts.length)
  for (const { number, text } of texts) {
    writer.varint(number * 2 + (number > 0 && text !== undefined ? 1 : 0))
    if (text !== undefined) writer.text(text)
  }
  writer.varint(body.length)
  writer.append(body)
  if (digest.kind !== DIGEST_NONE) {
    writer.varint(digest.tables.length)
    for (const { table, rows, crc } of digest.tables) {
      writer.text(table)
      writer.varint(rows)
      writer.u32(crc)
    }
  }
  writer.u32(crc32(writer.bytes()))
  return new Uint8Array(writer.bytes())
}

/** Reads a payload as a whole. Throws `RECORD_CORRUPT` or `FORMAT_VERSION`. */
export function decodePayload(payload: Uint8Array): Plan {
  const version = payload[0]
  if (version !== undefined && version > PAYLOAD_VERSION) throw newer(version)
  const end = payload.length - CRC_BYTES
  if (end < HEAD_BYTES || version === 0) throw corrupt('it is too short, or of version 0')
  if (new ByteReader(payload, end).u32() !== crc32(payload.subarray(0, end))) {
    throw corrupt('its checksum does not fit')
  }
  const reader = new ByteReader(payload, 1, end)
  const flags = reader.byte()
  const kind = flags & DIGEST_MASK
  if (flags > (DIGEST_MASK | FLUSHES)) throw corrupt('its flags are unknown')
  const settings = reader.byte()
  if (settings > SETTINGS_MAX) throw corrupt('its settings are unknown')
  const texts = readTexts(reader)
  const writes = readWrites(reader, texts.length)
  const digest = { kind, tables: kind === DIGEST_NONE ? [] : readDigest(reader) }
  if (reader.left > 0) throw corrupt('bytes are left over')
  return { texts, writes, flushes: (flags & FLUSHES) !== 0, settings, digest }
}

function readTexts(reader: ByteReader): TextEntry[] {
  const texts: TextEntry[] = []
  for (let left = reader.count(); left > 0; left -= 1) {
    const tag = reader.varint()
    const number = Math.floor(tag / 2)
    if (tag === 1) throw corrupt('a text has the number 0')
    texts.push({ number, text: number === 0 || tag % 2 === 1 ? reader.text() : undefined })
  }
  return texts
}

function readWrites(outer: ByteReader, textCount: number): PlannedStatement[][] {
  const length = outer.varint()
  const body = outer.take(length)
  const reader = new ByteReader(body)
  const writes: PlannedStatement[][] = []
  let write: PlannedStatement[] = []
  let isOpen = false
  while (reader.left > 0) {
    const head = reader.varint()
    if (head === 0) {
      writes.push(write)
      write = []
      isOpen = false
      continue
    }
    isOpen = true
    if (head === FLUSH) {
      write.push(FLUSHING)
      continue
    }
    const text = Math.floor(head / 16) - 1
    const kind = head & 3
    if (text < 0 || text >= textCount || kind > PARAMETERS_NAMED) {
      throw corrupt('a statement names a text or parameters that do not exist')
    }
    const changes = reader.varint()
    const parameters = kind === PARAMETERS_NONE ? [] : readParameters(reader, kind)
    write.push({
      text,
      changes,
      fails: (head & FAILS) !== 0,
      parameters,
      captured: (head & CAPTURES) === 0 ? NOTHING_CAPTURED : readCaptured(reader),
    })
  }
  if (isOpen) throw corrupt('its last write does not end')
  return writes
}

function readParameters(reader: ByteReader, kind: number): PlannedStatement['parameters'] {
  const count = reader.count()
  if (count === 0) throw corrupt('an empty list of parameters')
  if (kind === PARAMETERS_LIST) {
    const values: PlainValue[] = []
    for (let left = count; left > 0; left -= 1) values.push(reader.value())
    return values
  }
  // Without a prototype: a name may be __proto__.
  const named = Object.create(null) as Record<string, PlainValue>
  for (let left = count; left > 0; left -= 1) {
    const name = reader.text()
    if (name in named) throw corrupt('a parameter comes twice')
    named[name] = reader.value()
  }
  return named
}

function readCaptured(reader: ByteReader): Captured[] {
  const captured: Captured[] = []
  const last: (PlainValue | undefined)[] = []
  const entries = reader.count()
  if (entries === 0) throw corrupt('an empty list of results')
  for (let left = entries; left > 0; left -= 1) {
    const byte = reader.byte()
    const code = byte & FUNCTION_MASK
    const count = (byte & REPEATED) === 0 ? 1 : reader.varint()
    if (count === 0) throw corrupt('a result that comes 0 times')
    const value = (byte & SAME_VALUE) === 0 ? reader.value() : last[code]
    if (value === undefined) throw corrupt('a result that refers to none before it')
    last[code] = value
    captured.push({ code, value, count })
  }
  return captured
}

function readDigest(reader: ByteReader): TableDigest[] {
  const tables: TableDigest[] = []
  for (let left = reader.count(); left > 0; left -= 1) {
    tables.push({ table: reader.text(), rows: reader.varint(), crc: reader.u32() })
  }
  return tables
}

function newer(version: number): UnderstudyError {
  return new UnderstudyError(
    'FORMAT_VERSION',
    `A statement record has version ${version}; this node reads versions up to ${PAYLOAD_VERSION}. Nothing of it was ` +
      'applied. Update this node first, then start it again.',
    { version },
  )
}
