/**
 * Statements of clients, their conditions, and the requests that keep something at the node between two requests: prepared statements,
 * transactions, streams of rows.
 *
 * 1. A handle is a number of the client's choosing, from 1, known on its connection alone. So a client can give up what it has
 *    asked for before it was answered.
 * 2. A condition is nested no deeper than `conditionDepthMax`, on either side.
 */
import type { AckLevel, Condition, Position, PositionProof } from '@understudy/contracts'
import { readProof, writeProof } from './leadership.ts'
import { LIMITS } from './limits.ts'
import type { FollowerSet, RequestBody, SqlRequestBody, SqlStatement, Value } from './messages.ts'
import { readPosition, writePosition } from './points.ts'
import { readLevel, readSet, writeLevel, writeSet } from './receipts.ts'
import { readValue, writeValue } from './values.ts'
import { FieldReader, FieldWriter, unsendable, violation } from './wire.ts'

/** Writes a member of a oneof whose 0 counts. */
const ALWAYS = { always: true } as const

export function writeStatement(writer: FieldWriter, statement: SqlStatement): void {
  const { sql, parameters, prepared = 0, when, require, expect } = statement
  if (parameters.length > LIMITS.parametersMax)
    throw unsendable(`a statement has more than ${LIMITS.parametersMax} parameters`)
  writer.text(1, sql, LIMITS.frameBytesMax)
  for (const value of parameters) writeValue(writer, 2, value)
  writer.u32(3, prepared)
  if (when !== undefined) writer.message(4, () => writeCondition(writer, when, 1))
  if (require !== undefined) writer.message(5, () => writeCondition(writer, require, 1))
  if (expect !== undefined) writer.u64(6, expect, ALWAYS)
}

export function readStatement(reader: FieldReader): SqlStatement {
  let sql = ''
  const parameters: Value[] = []
  let prepared = 0
  let when: Condition | undefined
  let require: Condition | undefined
  let expect: number | undefined
  while (reader.next()) {
    if (reader.field === 1) sql = reader.text(LIMITS.frameBytesMax)
    else if (reader.field === 2) reader.element(parameters, LIMITS.parametersMax, readValue)
    else if (reader.field === 3) prepared = reader.u32()
    else if (reader.field === 4) when = reader.message((nested) => readCondition(nested, 1))
    else if (reader.field === 5) require = reader.message((nested) => readCondition(nested, 1))
    else if (reader.field === 6) expect = reader.u64()
    else reader.skip()
  }
  return {
    sql,
    parameters,
    ...(prepared > 0 && { prepared }),
    ...(when && { when }),
    ...(require && { require }),
    ...(expect !== undefined && { expect }),
  }
}

function writeCondition(writer: FieldWriter, condition: Condition, depth: number): void {
  if (depth > LIMITS.conditionDepthMax)
    throw unsendable(`a condition is nested more than ${LIMITS.conditionDepthMax} deep`)
  const nested = (inner: Condition): void => writeCondition(writer, inner, depth + 1)
  const list = (inner: readonly Condition[]): void => writer.list(1, inner, LIMITS.statementsMax, nested)
  const count = (step: number, rows: number | undefined): void => {
    writer.u64(1, step)
    if (rows !== undefined) writer.u64(2, rows, ALWAYS)
  }
  if ('ok' in condition) writer.u64(1, condition.ok, ALWAYS)
  else if ('error' in condition) writer.u64(2, condition.error, ALWAYS)
  else if ('changed' in condition) writer.message(3, () => count(condition.changed, condition.rows))
  else if ('returned' in condition) writer.message(4, () => count(condition.returned, condition.rows))
  else if ('not' in condition) writer.message(5, () => nested(condition.not))
  else if ('and' in condition) writer.message(6, () => list(condition.and))
  else if ('or' in condition) writer.message(7, () => list(condition.or))
  else throw unsendable('a condition is of no kind')
}

function readCondition(reader: FieldReader, depth: number): Condition {
  if (depth > LIMITS.conditionDepthMax) throw violation('a condition is nested too deep')
  let condition: Condition | undefined
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        condition = { ok: reader.u64() }
        break
      case 2:
        condition = { error: reader.u64() }
        break
      case 3: {
        const { step, ...rows } = reader.message(readCount)
        condition = { changed: step, ...rows }
        break
      }
      case 4: {
        const { step, ...rows } = reader.message(readCount)
        condition = { returned: step, ...rows }
        break
      }
      case 5:
        condition = { not: reader.message((nested) => readCondition(nested, depth + 1)) }
        break
      case 6:
        condition = { and: reader.message((nested) => readConditions(nested, depth + 1)) }
        break
      case 7:
        condition = { or: reader.message((nested) => readConditions(nested, depth + 1)) }
        break
      default:
        reader.skip()
    }
  }
  if (condition === undefined) throw violation('a condition is of no kind that this version knows')
  return condition
}

function readConditions(reader: FieldReader, depth: number): Condition[] {
  const conditions: Condition[] = []
  while (reader.next()) {
    if (reader.field === 1)
      reader.element(conditions, LIMITS.statementsMax, (nested) => readCondition(nested, depth))
    else reader.skip()
  }
  return conditions
}

function readCount(reader: FieldReader): { readonly step: number; readonly rows?: number } {
  let step = 0
  let rows: number | undefined
  while (reader.next()) {
    if (reader.field === 1) step = reader.u64()
    else if (reader.field === 2) rows = reader.u64()
    else reader.skip()
  }
  return { step, ...(rows !== undefined && { rows }) }
}

/** Writes the member of the request's oneof. */
export function writeSqlRequest(writer: FieldWriter, body: SqlRequestBody): void {
  switch (body.kind) {
    case 'prepare':
      return writer.message(12, () => {
        writer.u32(1, body.prepared)
        writer.text(2, body.sql, LIMITS.frameBytesMax)
      })
    case 'unprepare':
      return writer.message(13, () => writer.u32(1, body.prepared))
    case 'begin':
      return writer.message(14, () => {
        writer.u32(1, body.transaction)
        writer.u32(2, body.readOnly ? 1 : 0, 1)
        writer.u32(3, body.timeoutMs, LIMITS.durationMsMax)
        writer.u32(4, body.waitMs, LIMITS.durationMsMax)
        if (body.after !== undefined) writePosition(writer, 5, body.after)
        writeLevel(writer, 6, body.ack)
        if (body.of !== undefined) writeSet(writer, 7, body.of)
        writer.u32(8, body.ackTimeoutMs ?? 0, LIMITS.durationMsMax)
        if (body.afterProof !== undefined) writeProof(writer, 9, body.afterProof)
      })
    case 'run':
      return writer.message(15, () => {
        writer.u32(1, body.transaction)
        writer.message(2, () => writeStatement(writer, body.statement))
        writer.u32(3, body.bigints === true ? 1 : 0, 1)
      })
    case 'end':
      return writer.message(18, () => {
        writer.u32(1, body.transaction)
        writer.u32(2, body.commit ? 1 : 0, 1)
      })
    case 'open':
      return writer.message(19, () => {
        writer.u32(1, body.stream)
        writer.message(2, () => writeStatement(writer, body.statement))
        if (body.after !== undefined) writePosition(writer, 3, body.after)
        writer.u32(4, body.waitMs, LIMITS.durationMsMax)
        writer.u32(5, body.timeoutMs, LIMITS.durationMsMax)
        writer.u32(6, body.rowsMax, LIMITS.rowsMax)
        writer.u32(7, body.bytesMax, LIMITS.frameBytesMax)
        writer.u32(8, body.bigints === true ? 1 : 0, 1)
        writer.u32(9, body.transaction ?? 0)
        if (body.afterProof !== undefined) writeProof(writer, 10, body.afterProof)
      })
    case 'fetch':
      return writer.message(27, () => {
        writer.u32(1, body.stream)
        writer.u32(2, body.rowsMax, LIMITS.rowsMax)
        writer.u32(3, body.bytesMax, LIMITS.frameBytesMax)
      })
    case 'cancel':
      return writer.message(28, () => writer.u32(1, body.stream))
  }
}

/** The body in the field that the reader is at; `undefined`, and nothing read, for a field of others. */
export function readSqlRequest(reader: FieldReader): SqlRequestBody | undefined {
  switch (reader.field) {
    case 12:
      return reader.message(readPrepare)
    case 13:
      return { kind: 'unprepare', prepared: reader.message(readHandle) }
    case 14:
      return reader.message(readBegin)
    case 15:
      return reader.message(readRun)
    case 18:
      return reader.message(readEnd)
    case 19:
      return reader.message(readOpen)
    case 27:
      return reader.message(readFetch)
    case 28:
      return { kind: 'cancel', stream: reader.message(readHandle) }
    default:
      return undefined
  }
}

function readHandle(reader: FieldReader): number {
  let handle = 0
  while (reader.next()) {
    if (reader.field === 1) handle = reader.u32()
    else reader.skip()
  }
  return handle
}

function readPrepare(reader: FieldReader): SqlRequestBody {
  let prepared = 0
  let sql = ''
  while (reader.next()) {
    if (reader.field === 1) prepared = reader.u32()
    else if (reader.field === 2) sql = reader.text(LIMITS.frameBytesMax)
    else reader.skip()
  }
  return { kind: 'prepare', prepared, sql }
}

function readBegin(reader: FieldReader): SqlRequestBody {
  let transaction = 0
  let readOnly = false
  let timeoutMs = 0
  let waitMs = 0
  let after: Position | undefined
  let ack: AckLevel | undefined
  let of: FollowerSet | undefined
  let ackTimeoutMs = 0
  let afterProof: PositionProof | undefined
  while (reader.next()) {
    if (reader.field === 1) transaction = reader.u32()
    else if (reader.field === 2) readOnly = reader.u32(1) === 1
    else if (reader.field === 3) timeoutMs = reader.u32(LIMITS.durationMsMax)
    else if (reader.field === 4) waitMs = reader.u32(LIMITS.durationMsMax)
    else if (reader.field === 5) after = reader.message(readPosition)
    else if (reader.field === 6) ack = readLevel(reader)
    else if (reader.field === 7) of = reader.message(readSet)
    else if (reader.field === 8) ackTimeoutMs = reader.u32(LIMITS.durationMsMax)
    else if (reader.field === 9) afterProof = reader.message(readProof)
    else reader.skip()
  }
  return {
    kind: 'begin',
    transaction,
    readOnly,
    timeoutMs,
    waitMs,
    ...(after && { after }),
    ...(afterProof && { afterProof }),
    ...(ack && { ack }),
    ...(of && { of }),
    ...(ackTimeoutMs > 0 && { ackTimeoutMs }),
  }
}

function readRun(reader: FieldReader): SqlRequestBody {
  let transaction = 0
  let statement: SqlStatement | undefined
  let bigints = false
  while (reader.next()) {
    if (reader.field === 1) transaction = reader.u32()
    else if (reader.field === 2) statement = reader.message(readStatement)
    else if (reader.field === 3) bigints = reader.u32(1) === 1
    else reader.skip()
  }
  if (statement === undefined) throw violation('a request of a transaction has no statement')
  return { kind: 'run', transaction, statement, ...(bigints && { bigints }) }
}

function readEnd(reader: FieldReader): SqlRequestBody {
  let transaction = 0
  let commit = false
  while (reader.next()) {
    if (reader.field === 1) transaction = reader.u32()
    else if (reader.field === 2) commit = reader.u32(1) === 1
    else reader.skip()
  }
  return { kind: 'end', transaction, commit }
}

function readOpen(reader: FieldReader): SqlRequestBody {
  let stream = 0
  let statement: SqlStatement | undefined
  let after: Position | undefined
  let waitMs = 0
  let timeoutMs = 0
  let rowsMax = 0
  let bytesMax = 0
  let bigints = false
  let transaction = 0
  let afterProof: PositionProof | undefined
  while (reader.next()) {
    if (reader.field === 1) stream = reader.u32()
    else if (reader.field === 2) statement = reader.message(readStatement)
    else if (reader.field === 3) after = reader.message(readPosition)
    else if (reader.field === 4) waitMs = reader.u32(LIMITS.durationMsMax)
    else if (reader.field === 5) timeoutMs = reader.u32(LIMITS.durationMsMax)
    else if (reader.field === 6) rowsMax = reader.u32(LIMITS.rowsMax)
    else if (reader.field === 7) bytesMax = reader.u32(LIMITS.frameBytesMax)
    else if (reader.field === 8) bigints = reader.u32(1) === 1
    else if (reader.field === 9) transaction = reader.u32()
    else if (reader.field === 10) afterProof = reader.message(readProof)
    else reader.skip()
  }
  if (statement === undefined) throw violation('a stream has no statement')
  const optional = {
    ...(after && { after }),
    ...(afterProof && { afterProof }),
    ...(bigints && { bigints }),
    ...(transaction > 0 && { transaction }),
  }
  return { kind: 'open', stream, statement, waitMs, timeoutMs, rowsMax, bytesMax, ...optional }
}

function readFetch(reader: FieldReader): SqlRequestBody {
  let stream = 0
  let rowsMax = 0
  let bytesMax = 0
  while (reader.next()) {
    if (reader.field === 1) stream = reader.u32()
    else if (reader.field === 2) rowsMax = reader.u32(LIMITS.rowsMax)
    else if (reader.field === 3) bytesMax = reader.u32(LIMITS.frameBytesMax)
    else reader.skip()
  }
  return { kind: 'fetch', stream, rowsMax, bytesMax }
}

/** Whether what it asks for may be done although no answer comes: a write, or the commit of a transaction. */
export function isWriting(body: RequestBody): boolean {
  return body.kind === 'write' || (body.kind === 'end' && body.commit)
}

const SQL_KINDS: ReadonlySet<RequestBody['kind']> = new Set<SqlRequestBody['kind']>([
  'prepare',
  'unprepare',
  'begin',
  'run',
  'end',
  'open',
  'fetch',
  'cancel',
])

/** Whether it is about something that the node keeps for the client. */
export function isSqlRequest(body: RequestBody): body is SqlRequestBody {
  return SQL_KINDS.has(body.kind)
}
