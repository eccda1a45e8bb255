/**
 * The messages of a record stream: Records and Ack with a fixed layout, because they are the hot path, and Heartbeat.
 *
 * Decides: the fixed layouts; numbers in them are little-endian, a u64 is at most 2^53-1. Leaves to others: whether
 * record bytes are records (the log checks CRC and chain of each before it uses one).
 */
import { LIMITS } from './limits.ts'
import type { Ack, Heartbeat, Records, SlotPosition } from './messages.ts'
import { FieldReader, FieldWriter, plainView, unsendable, violation } from './wire.ts'

const RECORDS_HEADER = 9
const ACK_BYTES = 33

export function putU64(target: DataView, offset: number, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw unsendable(`${value} is not an integer in 0..2^53-1`)
  target.setUint32(offset, value >>> 0, true)
  target.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true)
}

export function takeU64(source: DataView, offset: number): number {
  const value = source.getUint32(offset + 4, true) * 0x1_0000_0000 + source.getUint32(offset, true)
  if (!Number.isSafeInteger(value)) throw violation(`the number at offset ${offset} is beyond 2^53-1`)
  return value
}

/** A view for numbers; throws when the frame is shorter than `bytesMin`. */
export function viewOf(frame: Uint8Array, bytesMin: number, name: string): DataView {
  if (frame.length < bytesMin) throw violation(`a ${name} has ${frame.length} bytes, not ${bytesMin}`)
  return new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
}

/** As `viewOf`, and throws when the frame is longer. */
export function exactViewOf(frame: Uint8Array, bytes: number, name: string): DataView {
  if (frame.length > bytes) throw violation(`a ${name} has ${frame.length} bytes, not ${bytes}`)
  return viewOf(frame, bytes, name)
}

export function encodeRecords(typeByte: number, records: Records): Uint8Array[] {
  const header = new Uint8Array(RECORDS_HEADER)
  header[0] = typeByte
  putU64(new DataView(header.buffer), 1, records.highWatermark)
  return [header, records.bytes]
}

export function decodeRecords(frame: Uint8Array): Records {
  const view = viewOf(frame, RECORDS_HEADER, 'Records')
  return { type: 'records', highWatermark: takeU64(view, 1), bytes: plainView(frame, RECORDS_HEADER) }
}

export function encodeAck(typeByte: number, ack: Ack): Uint8Array {
  const frame = new Uint8Array(ACK_BYTES)
  const view = new DataView(frame.buffer)
  frame[0] = typeByte
  putU64(view, 1, ack.epoch)
  putU64(view, 9, ack.received)
  putU64(view, 17, ack.durable)
  putU64(view, 25, ack.applied)
  return frame
}

export function decodeAck(frame: Uint8Array): Ack {
  const view = exactViewOf(frame, ACK_BYTES, 'Ack')
  return {
    type: 'ack',
    epoch: takeU64(view, 1),
    received: takeU64(view, 9),
    durable: takeU64(view, 17),
    applied: takeU64(view, 25),
  }
}

export function encodeHeartbeat(typeByte: number, heartbeat: Heartbeat): Uint8Array {
  const writer = new FieldWriter(typeByte)
  writer.u64(1, heartbeat.epoch)
  writer.u64(2, heartbeat.lsn)
  writer.u64(3, heartbeat.highWatermark)
  writer.double(4, heartbeat.sentAtMs)
  writer.double(5, heartbeat.echoMs)
  writer.list(6, heartbeat.slots, LIMITS.slotsMax, (slot) => {
    writer.text(1, slot.name, LIMITS.nameBytesMax)
    writer.u64(2, slot.lsn)
  })
  writer.double(7, heartbeat.idsPromiseMs ?? 0)
  return writer.finish()
}

export function decodeHeartbeat(reader: FieldReader): Heartbeat {
  let epoch = 0
  let lsn = 0
  let highWatermark = 0
  let sentAtMs = 0
  let echoMs = 0
  let idsPromiseMs = 0
  const slots: SlotPosition[] = []
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        epoch = reader.u64()
        break
      case 2:
        lsn = reader.u64()
        break
      case 3:
        highWatermark = reader.u64()
        break
      case 4:
        sentAtMs = reader.double()
        break
      case 5:
        echoMs = reader.double()
        break
      case 6:
        reader.element(slots, LIMITS.slotsMax, readSlot)
        break
      case 7:
        idsPromiseMs = reader.double()
        break
      default:
        reader.skip()
    }
  }
  const promise = idsPromiseMs === 0 ? {} : { idsPromiseMs }
  return { type: 'heartbeat', epoch, lsn, highWatermark, sentAtMs, echoMs, slots, ...promise }
}

function readSlot(reader: FieldReader): SlotPosition {
  let name = ''
  let lsn = 0
  while (reader.next()) {
    if (reader.field === 1) name = reader.text(LIMITS.nameBytesMax)
    else if (reader.field === 2) lsn = reader.u64()
    else reader.skip()
  }
  return { name, lsn }
}
