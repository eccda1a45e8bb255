/**
 * Responses to clients.
 *
 * Every row has as many values as there are columns, so that a message of many empty rows, small on the wire, cannot
 * become large in memory.
 */
import type { EpochStamp, LogPoint, Position, PositionProof, Receipt } from '@understudy/contracts'
import { readRefusal, writeRefusal } from './handshake.ts'
import {
  readLeadership,
  readProof,
  readStamp,
  writeLeadership,
  writeProof,
  writeStamp,
} from './leadership.ts'
import { LIMITS } from './limits.ts'
import type {
  ColumnShape,
  Response,
  ResponseBody,
  ResultSet,
  StatementFailure,
  TableDigest,
  Value,
} from './messages.ts'
import { readPoint, readPosition, writePoint, writePosition } from './points.ts'
import { readReceipt, writeReceipt } from './receipts.ts'
import { readValue, writeValue } from './values.ts'
import { FieldReader, FieldWriter, unsendable, violation } from './wire.ts'

const DIGEST_PATTERN = /^[0-9a-f]{0,128}$/

export function encodeResponse(typeByte: number, response: Response): Uint8Array {
  const writer = new FieldWriter(typeByte)
  writer.u64(1, response.id)
  writeResponseBody(writer, response.body)
  if (response.epoch !== undefined) writeStamp(writer, 31, response.epoch)
  return writer.finish()
}

function writeResponseBody(writer: FieldWriter, body: ResponseBody): void {
  switch (body.kind) {
    case 'json':
      return writer.text(2, body.text, LIMITS.frameBytesMax, { always: true })
    case 'results':
      return writer.message(3, () => {
        if (body.position !== undefined) writePosition(writer, 1, body.position)
        writer.list(2, body.results, LIMITS.resultsMax, (result) => writeResult(writer, result))
        if (body.receipt !== undefined) writeReceipt(writer, 3, body.receipt)
        writer.u32(4, body.replayed === true ? 1 : 0, 1)
        writer.u32(5, body.valueKept === true ? 1 : 0, 1)
        if (body.proof !== undefined) writeProof(writer, 10, body.proof)
      })
    case 'position':
      return writePosition(writer, 4, body.position)
    case 'digest':
      return writer.message(5, () => {
        writePosition(writer, 1, body.position)
        writer.list(2, body.tables, LIMITS.tablesMax, (table) => writeTable(writer, table))
      })
    case 'error':
      return writer.message(6, () => {
        writeRefusal(writer, body)
        if (body.point !== undefined) writePoint(writer, 3, body.point)
        writer.text(4, body.leader ?? '', LIMITS.addressBytesMax)
      })
    case 'leadership':
      return writeLeadership(writer, 30, body)
    case 'rows':
      return writer.message(7, () => {
        for (const name of body.key) writer.text(1, name, LIMITS.frameBytesMax, { always: true })
        writer.message(2, () => writeResult(writer, { columns: body.columns, rows: body.rows, changes: 0 }))
      })
    case 'prepared':
      return writer.message(12, () => {
        writer.list(1, body.columns, LIMITS.columnsMax, ({ name, type }) => {
          writer.text(1, name, LIMITS.frameBytesMax)
          writer.text(2, type, LIMITS.frameBytesMax)
        })
        writer.u32(2, body.parameters, LIMITS.parametersMax)
        writer.u32(3, body.readOnly ? 1 : 0, 1)
      })
    case 'page':
      return writer.message(13, () => {
        writer.message(1, () => writeResult(writer, { columns: body.columns, rows: body.rows, changes: 0 }))
        writer.u32(2, body.isLast ? 1 : 0, 1)
        if (body.position !== undefined) writePosition(writer, 3, body.position)
        if (body.proof !== undefined) writeProof(writer, 4, body.proof)
      })
  }
}

function writeResult(writer: FieldWriter, result: ResultSet): void {
  const { columns, rows } = result
  if (columns.length > LIMITS.columnsMax) throw unsendable(`a result has ${columns.length} columns`)
  writer.u64(1, result.changes)
  for (const column of columns) writer.text(2, column, LIMITS.frameBytesMax, { always: true })
  writer.list(3, rows, LIMITS.rowsMax, (row) => {
    if (row.length !== columns.length || row.length === 0)
      throw unsendable(`a row has ${row.length} values for ${columns.length} columns`)
    for (const value of row) writeValue(writer, 1, value)
  })
  const { skipped, error } = result
  writer.u32(4, skipped === true ? 1 : 0, 1)
  if (error !== undefined) writer.message(5, () => writeRefusal(writer, error))
}

function writeTable(writer: FieldWriter, table: TableDigest): void {
  if (!DIGEST_PATTERN.test(table.digest)) throw unsendable('a digest is not hexadecimal')
  // SQLite limits the name of a table only by the length of a statement.
  writer.text(1, table.table, LIMITS.frameBytesMax)
  writer.u64(2, table.rows)
  writer.text(3, table.digest, LIMITS.nameBytesMax)
}

export function decodeResponse(reader: FieldReader): Response {
  let id = 0
  let epoch: EpochStamp | undefined
  let body: ResponseBody | undefined
  while (reader.next()) {
    if (reader.field === 1) id = reader.u64()
    else if (reader.field === 31) epoch = reader.message(readStamp)
    else body = readResponseBody(reader) ?? body
  }
  if (body === undefined) throw violation('a Response answers nothing that this version knows')
  return { type: 'response', id, ...(epoch && { epoch }), body }
}

function readResponseBody(reader: FieldReader): ResponseBody | undefined {
  switch (reader.field) {
    case 2:
      return { kind: 'json', text: reader.text(LIMITS.frameBytesMax) }
    case 3:
      return reader.message(readResults)
    case 4:
      return { kind: 'position', position: reader.message(readPosition) }
    case 5:
      return reader.message(readDigests)
    case 6:
      return reader.message(readError)
    case 7:
      return reader.message(readTableRows)
    case 30:
      return reader.message(readLeadership)
    case 12:
      return reader.message(readShape)
    case 13:
      return reader.message(readPage)
    default:
      reader.skip()
      return undefined
  }
}

function readResults(reader: FieldReader): ResponseBody {
  const results: ResultSet[] = []
  let position: Position | undefined
  let receipt: Receipt | undefined
  let proof: PositionProof | undefined
  let replayed = false
  let valueKept = false
  while (reader.next()) {
    if (reader.field === 1) position = reader.message(readPosition)
    else if (reader.field === 2) reader.element(results, LIMITS.resultsMax, readResult)
    else if (reader.field === 3) receipt = reader.message(readReceipt)
    else if (reader.field === 4) replayed = reader.u32(1) === 1
    else if (reader.field === 5) valueKept = reader.u32(1) === 1
    else if (reader.field === 10) proof = reader.message(readProof)
    else reader.skip()
  }
  return {
    kind: 'results',
    results,
    ...(position && { position }),
    ...(receipt && { receipt }),
    ...(proof && { proof }),
    ...(replayed && { replayed, valueKept }),
  }
}

/** As a refusal, with the record that it is about, and who leads. */
function readError(reader: FieldReader): ResponseBody {
  let point: LogPoint | undefined
  let leader = ''
  const refusal = readRefusal(reader, () => {
    if (reader.field === 3) point = reader.message(readPoint)
    else if (reader.field === 4) leader = reader.text(LIMITS.addressBytesMax)
    else return false
    return true
  })
  return { kind: 'error', ...refusal, ...(point && { point }), ...(leader !== '' && { leader }) }
}

function readTableRows(reader: FieldReader): ResponseBody {
  const key: string[] = []
  let columns: readonly string[] = []
  let rows: ResultSet['rows'] = []
  while (reader.next()) {
    if (reader.field === 1) {
      if (key.length >= LIMITS.columnsMax) throw violation('a key has too many columns')
      key.push(reader.text(LIMITS.frameBytesMax))
    } else if (reader.field === 2) ({ columns, rows } = reader.message(readResult))
    else reader.skip()
  }
  return { kind: 'rows', key, columns, rows }
}

function readShape(reader: FieldReader): ResponseBody {
  const columns: ColumnShape[] = []
  let parameters = 0
  let readOnly = false
  while (reader.next()) {
    if (reader.field === 1) reader.element(columns, LIMITS.columnsMax, readColumn)
    else if (reader.field === 2) parameters = reader.u32(LIMITS.parametersMax)
    else if (reader.field === 3) readOnly = reader.u32(1) === 1
    else reader.skip()
  }
  return { kind: 'prepared', columns, parameters, readOnly }
}

function readColumn(reader: FieldReader): ColumnShape {
  let name = ''
  let type = ''
  while (reader.next()) {
    if (reader.field === 1) name = reader.text(LIMITS.frameBytesMax)
    else if (reader.field === 2) type = reader.text(LIMITS.frameBytesMax)
    else reader.skip()
  }
  return { name, type }
}

function readPage(reader: FieldReader): ResponseBody {
  let columns: readonly string[] = []
  let rows: ResultSet['rows'] = []
  let isLast = false
  let position: Position | undefined
  let proof: PositionProof | undefined
  while (reader.next()) {
    if (reader.field === 1) ({ columns, rows } = reader.message(readResult))
    else if (reader.field === 2) isLast = reader.u32(1) === 1
    else if (reader.field === 3) position = reader.message(readPosition)
    else if (reader.field === 4) proof = reader.message(readProof)
    else reader.skip()
  }
  return { kind: 'page', columns, rows, isLast, ...(position && { position }), ...(proof && { proof }) }
}

function readResult(reader: FieldReader): ResultSet {
  const columns: string[] = []
  const rows: Value[][] = []
  let changes = 0
  let skipped = false
  let error: StatementFailure | undefined
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        changes = reader.u64()
        break
      case 2:
        if (columns.length >= LIMITS.columnsMax) throw violation('a result has too many columns')
        columns.push(reader.text(LIMITS.frameBytesMax))
        break
      case 3:
        reader.element(rows, LIMITS.rowsMax, (row) => readRow(row, columns.length))
        break
      case 4:
        skipped = reader.u32(1) === 1
        break
      case 5:
        error = reader.message(readRefusal)
        break
      default:
        reader.skip()
    }
  }
  return { columns, rows, changes, ...(skipped && { skipped }), ...(error && { error }) }
}

/** Columns stand before rows; a row that comes before its columns has too many values. */
function readRow(reader: FieldReader, columns: number): Value[] {
  const values: Value[] = []
  while (reader.next()) {
    if (reader.field === 1) reader.element(values, columns, readValue)
    else reader.skip()
  }
  if (values.length !== columns || columns === 0)
    throw violation(`a row has ${values.length} values for ${columns} columns`)
  return values
}

function readDigests(reader: FieldReader): ResponseBody {
  const tables: TableDigest[] = []
  let position: Position = { epoch: 0, lsn: 0 }
  while (reader.next()) {
    if (reader.field === 1) position = reader.message(readPosition)
    else if (reader.field === 2) reader.element(tables, LIMITS.tablesMax, readTable)
    else reader.skip()
  }
  return { kind: 'digest', position, tables }
}

function readTable(reader: FieldReader): TableDigest {
  let table = ''
  let rows = 0
  let digest = ''
  while (reader.next()) {
    if (reader.field === 1) table = reader.text(LIMITS.frameBytesMax)
    else if (reader.field === 2) rows = reader.u64()
    else if (reader.field === 3) digest = reader.text(LIMITS.nameBytesMax)
    else reader.skip()
  }
  if (!DIGEST_PATTERN.test(digest)) throw violation('a digest is not hexadecimal')
  return { table, rows, digest }
}
