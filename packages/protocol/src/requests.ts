/** Requests of clients. */
import type { AckLevel, EpochStamp, Position, PositionProof, ReceiptReference } from '@understudy/contracts'
import { readFailoverRequest, writeFailoverRequest } from './failover-requests.ts'
import {
  readForwarded,
  readProof,
  readStamp,
  readWhoLeads,
  writeForwarded,
  writeProof,
  writeStamp,
  writeWhoLeads,
} from './leadership.ts'
import { LIMITS } from './limits.ts'
import type { FollowerSet, Forwarded, Request, RequestBody, SqlStatement } from './messages.ts'
import { readPosition, writePosition } from './points.ts'
import {
  readLevel,
  readName,
  readReference,
  readSet,
  writeLevel,
  writeReference,
  writeSet,
} from './receipts.ts'
import { isSqlRequest, readSqlRequest, readStatement, writeSqlRequest, writeStatement } from './sql.ts'
import { FieldReader, FieldWriter, violation } from './wire.ts'

const ZERO: Position = { epoch: 0, lsn: 0 }

export function encodeRequest(typeByte: number, request: Request): Uint8Array {
  const writer = new FieldWriter(typeByte)
  writer.u64(1, request.id)
  writeRequestBody(writer, request.body)
  if (request.epoch !== undefined) writeStamp(writer, 31, request.epoch)
  return writer.finish()
}

function writeRequestBody(writer: FieldWriter, body: RequestBody): void {
  if (isSqlRequest(body)) return writeSqlRequest(writer, body)
  switch (body.kind) {
    case 'status':
      return writer.message(2, () => {})
    case 'write':
      return writer.message(3, () => writeWrite(writer, body))
    case 'read':
      return writer.message(4, () => {
        writer.message(1, () => writeStatement(writer, body.statement))
        if (body.after !== undefined) writePosition(writer, 2, body.after)
        writer.u32(3, body.timeoutMs, LIMITS.durationMsMax)
        writer.u32(4, body.bigints === true ? 1 : 0, 1)
        if (body.afterProof !== undefined) writeProof(writer, 10, body.afterProof)
        writer.u32(11, body.stalenessMsMax ?? 0, LIMITS.durationMsMax)
      })
    case 'whoLeads':
      return writeWhoLeads(writer, 30, body)
    case 'mark':
      return writer.message(5, () => {})
    case 'digest':
      return writer.message(6, () => {
        writePosition(writer, 1, body.at)
        writer.u32(2, body.timeoutMs, LIMITS.durationMsMax)
        writer.u32(3, body.keep === true ? 1 : 0, 1)
      })
    case 'slots':
      return writer.message(7, () => {})
    case 'dropSlot':
      return writer.message(8, () => writer.text(1, body.name, LIMITS.nameBytesMax))
    case 'forget':
      return writer.message(16, () => writer.text(1, body.name, LIMITS.nameBytesMax))
    case 'switchFormat':
      return writer.message(9, () => writer.text(1, body.format, LIMITS.nameBytesMax))
    case 'setAcks':
      return writer.message(17, () => writeSetAcks(writer, body))
    case 'rows':
      return writer.message(10, () => {
        writePosition(writer, 1, body.at)
        // SQLite limits the name of a table only by the length of a statement.
        writer.text(2, body.table, LIMITS.frameBytesMax)
        writer.u64(3, body.offset)
      })
    case 'exposure':
      return writer.message(20, () => {
        if (body.after !== undefined) writePosition(writer, 1, body.after)
        if (body.sinceMs !== undefined) writer.u64(2, body.sinceMs)
        writer.u32(3, body.byChoice === true ? 1 : 0, 1)
        writer.u32(4, body.timeoutMs, LIMITS.durationMsMax)
      })
    case 'promote':
    case 'switchover':
    case 'pauseFailover':
    case 'decisions':
      return writeFailoverRequest(writer, body)
    case 'release':
      return writer.message(11, () => writePosition(writer, 1, body.at))
    case 'verdict':
      return writer.message(21, () => writeReference(writer, 1, body.receipt))
    case 'reach':
      return writer.message(22, () => {
        writeReference(writer, 1, body.receipt)
        writeLevel(writer, 2, body.level)
        writer.u32(3, body.count)
        writer.u32(4, body.timeoutMs, LIMITS.durationMsMax)
      })
  }
}

export function decodeRequest(reader: FieldReader): Request {
  let id = 0
  let epoch: EpochStamp | undefined
  let body: RequestBody | undefined
  while (reader.next()) {
    if (reader.field === 1) id = reader.u64()
    else if (reader.field === 31) epoch = reader.message(readStamp)
    else body = readRequestBody(reader) ?? body
  }
  if (body === undefined) throw violation('a Request asks nothing that this version knows')
  return { type: 'request', id, ...(epoch && { epoch }), body }
}

function readRequestBody(reader: FieldReader): RequestBody | undefined {
  switch (reader.field) {
    case 2:
      reader.message(skipFields)
      return { kind: 'status' }
    case 3:
      return reader.message(readWrite)
    case 4:
      return reader.message(readRead)
    case 5:
      reader.message(skipFields)
      return { kind: 'mark' }
    case 6:
      return reader.message(readDigestRequest)
    case 7:
      reader.message(skipFields)
      return { kind: 'slots' }
    case 8:
      return { kind: 'dropSlot', name: reader.message(readName) }
    case 16:
      return { kind: 'forget', name: reader.message(readName) }
    case 9:
      return { kind: 'switchFormat', format: reader.message(readName) }
    case 17:
      return reader.message(readSetAcks)
    case 10:
      return reader.message(readRowsRequest)
    case 11:
      return reader.message(readRelease)
    case 20:
      return reader.message(readExposure)
    case 21:
      return reader.message(readVerdictRequest)
    case 22:
      return reader.message(readReachRequest)
    case 30:
      return reader.message(readWhoLeads)
    default:
      return readSqlRequest(reader) ?? readOther(reader)
  }
}

function readOther(reader: FieldReader): RequestBody | undefined {
  const body = readFailoverRequest(reader)
  if (body === undefined) reader.skip()
  return body
}

function skipFields(reader: FieldReader): void {
  while (reader.next()) reader.skip()
}

function writeWrite(writer: FieldWriter, body: Extract<RequestBody, { kind: 'write' }>): void {
  const { statements, ack, of, ackTimeoutMs = 0, key = '', forwarded } = body
  writer.list(1, statements, LIMITS.statementsMax, (statement) => writeStatement(writer, statement))
  writeLevel(writer, 2, ack)
  if (of !== undefined) writeSet(writer, 3, of)
  writer.u32(4, ackTimeoutMs, LIMITS.durationMsMax)
  writer.text(5, key, LIMITS.keyBytesMax)
  writer.u32(6, body.bigints === true ? 1 : 0, 1)
  if (forwarded !== undefined) writeForwarded(writer, 10, forwarded)
}

function readWrite(reader: FieldReader): RequestBody {
  const statements: SqlStatement[] = []
  let ack: AckLevel | undefined
  let of: FollowerSet | undefined
  let ackTimeoutMs = 0
  let key = ''
  let bigints = false
  let forwarded: Forwarded | undefined
  while (reader.next()) {
    if (reader.field === 1) reader.element(statements, LIMITS.statementsMax, readStatement)
    else if (reader.field === 2) ack = readLevel(reader)
    else if (reader.field === 3) of = reader.message(readSet)
    else if (reader.field === 4) ackTimeoutMs = reader.u32(LIMITS.durationMsMax)
    else if (reader.field === 5) key = reader.text(LIMITS.keyBytesMax)
    else if (reader.field === 6) bigints = reader.u32(1) === 1
    else if (reader.field === 10) forwarded = reader.message(readForwarded)
    else reader.skip()
  }
  return {
    kind: 'write',
    statements,
    ...(ack && { ack }),
    ...(of && { of }),
    ...(ackTimeoutMs > 0 && { ackTimeoutMs }),
    ...(key !== '' && { key }),
    ...(bigints && { bigints }),
    ...(forwarded && { forwarded }),
  }
}

function readVerdictRequest(reader: FieldReader): RequestBody {
  let receipt: ReceiptReference | undefined
  while (reader.next()) {
    if (reader.field === 1) receipt = reader.message(readReference)
    else reader.skip()
  }
  if (receipt === undefined) throw violation('a verdict is asked of no receipt')
  return { kind: 'verdict', receipt }
}

function readReachRequest(reader: FieldReader): RequestBody {
  let receipt: ReceiptReference | undefined
  let level: AckLevel | undefined
  let count = 0
  let timeoutMs = 0
  while (reader.next()) {
    if (reader.field === 1) receipt = reader.message(readReference)
    else if (reader.field === 2) level = readLevel(reader)
    else if (reader.field === 3) count = reader.u32()
    else if (reader.field === 4) timeoutMs = reader.u32(LIMITS.durationMsMax)
    else reader.skip()
  }
  if (receipt === undefined || level === undefined) throw violation('a wait has no receipt, or no level')
  return { kind: 'reach', receipt, level, count, timeoutMs }
}

function readRead(reader: FieldReader): RequestBody {
  let statement: SqlStatement | undefined
  let after: Position | undefined
  let afterProof: PositionProof | undefined
  let stalenessMsMax = 0
  let timeoutMs = 0
  let bigints = false
  while (reader.next()) {
    if (reader.field === 1) statement = reader.message(readStatement)
    else if (reader.field === 2) after = reader.message(readPosition)
    else if (reader.field === 3) timeoutMs = reader.u32(LIMITS.durationMsMax)
    else if (reader.field === 4) bigints = reader.u32(1) === 1
    else if (reader.field === 10) afterProof = reader.message(readProof)
    else if (reader.field === 11) stalenessMsMax = reader.u32(LIMITS.durationMsMax)
    else reader.skip()
  }
  if (statement === undefined) throw violation('a read has no statement')
  return {
    kind: 'read',
    statement,
    ...(after && { after }),
    ...(bigints && { bigints }),
    ...(afterProof && { afterProof }),
    ...(stalenessMsMax > 0 && { stalenessMsMax }),
    timeoutMs,
  }
}

function readDigestRequest(reader: FieldReader): RequestBody {
  let at = ZERO
  let timeoutMs = 0
  let keep = false
  while (reader.next()) {
    if (reader.field === 1) at = reader.message(readPosition)
    else if (reader.field === 2) timeoutMs = reader.u32(LIMITS.durationMsMax)
    else if (reader.field === 3) keep = reader.u32(1) === 1
    else reader.skip()
  }
  return keep ? { kind: 'digest', at, timeoutMs, keep } : { kind: 'digest', at, timeoutMs }
}

function readRowsRequest(reader: FieldReader): RequestBody {
  let at = ZERO
  let table = ''
  let offset = 0
  while (reader.next()) {
    if (reader.field === 1) at = reader.message(readPosition)
    else if (reader.field === 2) table = reader.text(LIMITS.frameBytesMax)
    else if (reader.field === 3) offset = reader.u64()
    else reader.skip()
  }
  return { kind: 'rows', at, table, offset }
}

function readRelease(reader: FieldReader): RequestBody {
  let at = ZERO
  while (reader.next()) {
    if (reader.field === 1) at = reader.message(readPosition)
    else reader.skip()
  }
  return { kind: 'release', at }
}

function readExposure(reader: FieldReader): RequestBody {
  let after: Position | undefined
  let sinceMs: number | undefined
  let byChoice = false
  let timeoutMs = 0
  while (reader.next()) {
    if (reader.field === 1) after = reader.message(readPosition)
    else if (reader.field === 2) sinceMs = reader.u64()
    else if (reader.field === 3) byChoice = reader.u32(1) === 1
    else if (reader.field === 4) timeoutMs = reader.u32(LIMITS.durationMsMax)
    else reader.skip()
  }
  return {
    kind: 'exposure',
    ...(after !== undefined && { after }),
    ...(sinceMs !== undefined && { sinceMs }),
    ...(byChoice && { byChoice }),
    timeoutMs,
  }
}

function writeSetAcks(writer: FieldWriter, body: Extract<RequestBody, { kind: 'setAcks' }>): void {
  writer.text(1, body.rule, LIMITS.messageBytesMax)
  if (body.onUnmet !== undefined) writer.text(2, body.onUnmet, LIMITS.nameBytesMax)
  if (body.visibility !== undefined) writer.text(3, body.visibility, LIMITS.nameBytesMax)
  if (body.ackTimeoutMs !== undefined) writer.u32(4, body.ackTimeoutMs, LIMITS.durationMsMax)
  writer.u32(5, body.acceptLoss ? 1 : 0, 1)
}

function readSetAcks(reader: FieldReader): RequestBody {
  let rule = ''
  let onUnmet: string | undefined
  let visibility: string | undefined
  let ackTimeoutMs: number | undefined
  let acceptLoss = false
  while (reader.next()) {
    if (reader.field === 1) rule = reader.text(LIMITS.messageBytesMax)
    else if (reader.field === 2) onUnmet = reader.text(LIMITS.nameBytesMax)
    else if (reader.field === 3) visibility = reader.text(LIMITS.nameBytesMax)
    else if (reader.field === 4) ackTimeoutMs = reader.u32(LIMITS.durationMsMax)
    else if (reader.field === 5) acceptLoss = reader.u32(1) === 1
    else reader.skip()
  }
  return {
    kind: 'setAcks',
    rule,
    ...(onUnmet !== undefined && { onUnmet }),
    ...(visibility !== undefined && { visibility }),
    ...(ackTimeoutMs !== undefined && { ackTimeoutMs }),
    acceptLoss,
  }
}
