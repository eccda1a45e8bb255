/** Requests of a person about who leads: fields 23 to 26. */
import { LIMITS } from './limits.ts'
import type { RequestBody } from './messages.ts'
import type { FieldReader, FieldWriter } from './wire.ts'

type Body<K extends RequestBody['kind']> = Extract<RequestBody, { readonly kind: K }>

type FailoverRequest = Body<'promote'> | Body<'switchover'> | Body<'pauseFailover'> | Body<'decisions'>

export function writeFailoverRequest(writer: FieldWriter, body: FailoverRequest): void {
  switch (body.kind) {
    case 'promote':
      return writer.message(23, () => writePromote(writer, body))
    case 'switchover':
      return writer.message(24, () => writeSwitchover(writer, body))
    case 'pauseFailover':
      return writer.message(25, () => writer.u32(1, body.paused ? 1 : 0, 1))
    case 'decisions':
      return writer.message(26, () => writer.u32(1, body.limit))
  }
}

/** `undefined`: the field is another one. */
export function readFailoverRequest(reader: FieldReader): RequestBody | undefined {
  if (reader.field === 23) return reader.message(readPromote)
  if (reader.field === 24) return reader.message(readSwitchover)
  if (reader.field === 25) return reader.message(readPauseFailover)
  return reader.field === 26 ? reader.message(readDecisions) : undefined
}

function writePromote(writer: FieldWriter, { target, acceptLoss, timeoutMs }: Body<'promote'>): void {
  if (target !== undefined) writer.text(1, target, LIMITS.nameBytesMax)
  writer.u32(2, acceptLoss ? 1 : 0, 1)
  writer.u32(3, timeoutMs, LIMITS.durationMsMax)
}

function readPromote(reader: FieldReader): RequestBody {
  let target = ''
  let acceptLoss = false
  let timeoutMs = 0
  while (reader.next()) {
    if (reader.field === 1) target = reader.text(LIMITS.nameBytesMax)
    else if (reader.field === 2) acceptLoss = reader.u32(1) === 1
    else if (reader.field === 3) timeoutMs = reader.u32(LIMITS.durationMsMax)
    else reader.skip()
  }
  return { kind: 'promote', ...(target !== '' && { target }), acceptLoss, timeoutMs }
}

function writeSwitchover(writer: FieldWriter, { target, timeoutMs }: Body<'switchover'>): void {
  if (target !== undefined) writer.text(1, target, LIMITS.nameBytesMax)
  writer.u32(2, timeoutMs, LIMITS.durationMsMax)
}

function readSwitchover(reader: FieldReader): RequestBody {
  let target = ''
  let timeoutMs = 0
  while (reader.next()) {
    if (reader.field === 1) target = reader.text(LIMITS.nameBytesMax)
    else if (reader.field === 2) timeoutMs = reader.u32(LIMITS.durationMsMax)
    else reader.skip()
  }
  return { kind: 'switchover', ...(target !== '' && { target }), timeoutMs }
}

function readPauseFailover(reader: FieldReader): RequestBody {
  let paused = false
  while (reader.next()) {
    if (reader.field === 1) paused = reader.u32(1) === 1
    else reader.skip()
  }
  return { kind: 'pauseFailover', paused }
}

function readDecisions(reader: FieldReader): RequestBody {
  let limit = 0
  while (reader.next()) {
    if (reader.field === 1) limit = reader.u32()
    else reader.skip()
  }
  return { kind: 'decisions', limit }
}
