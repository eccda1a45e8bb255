/** Positions, log points and epoch histories as protobuf messages; many messages share them. */
import type { EpochEntry, LogPoint, Position } from '@understudy/contracts'
import { LIMITS } from './limits.ts'
import { violation, type FieldReader, type FieldWriter } from './wire.ts'

export function writePosition(writer: FieldWriter, field: number, position: Position): void {
  writer.message(field, () => {
    writer.u64(1, position.epoch)
    writer.u64(2, position.lsn)
  })
}

export function readPosition(reader: FieldReader): Position {
  let epoch = 0
  let lsn = 0
  while (reader.next()) {
    if (reader.field === 1) epoch = reader.u64()
    else if (reader.field === 2) lsn = reader.u64()
    else reader.skip()
  }
  return { epoch, lsn }
}

export function writePoint(writer: FieldWriter, field: number, point: LogPoint): void {
  writer.message(field, () => {
    writer.u64(1, point.epoch)
    writer.u64(2, point.lsn)
    writer.fixed32(3, point.crc)
  })
}

export function readPoint(reader: FieldReader): LogPoint {
  let epoch = 0
  let lsn = 0
  let crc = 0
  while (reader.next()) {
    if (reader.field === 1) epoch = reader.u64()
    else if (reader.field === 2) lsn = reader.u64()
    else if (reader.field === 3) crc = reader.fixed32()
    else reader.skip()
  }
  return { epoch, lsn, crc }
}

export function writeEpoch(writer: FieldWriter, entry: EpochEntry): void {
  writer.u64(1, entry.number)
  writer.runId(2, entry.runId)
  writer.text(3, entry.leader, LIMITS.nameBytesMax)
  writer.u64(4, entry.firstLsn)
  writer.fixed32(5, entry.crcBefore)
}

export function readEpoch(reader: FieldReader): EpochEntry {
  let number = 0
  let runId = '0000000000000000'
  let leader = ''
  let firstLsn = 0
  let crcBefore = 0
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        number = reader.u64()
        break
      case 2:
        runId = reader.runId()
        break
      case 3:
        leader = reader.text(LIMITS.nameBytesMax)
        break
      case 4:
        firstLsn = reader.u64()
        break
      case 5:
        crcBefore = reader.fixed32()
        break
      default:
        reader.skip()
    }
  }
  return { number, runId, leader, firstLsn, crcBefore }
}

/** Why a list of epochs is no history: numbers and first LSNs begin at 1 or later and strictly grow. */
export function historyFault(history: readonly EpochEntry[]): string | undefined {
  let number = 0
  let firstLsn = 0
  for (const entry of history) {
    if (entry.number <= number) return `epoch ${entry.number} follows epoch ${number}`
    if (entry.firstLsn <= firstLsn)
      return `epoch ${entry.number} begins at ${entry.firstLsn}, not after ${firstLsn}`
    number = entry.number
    firstLsn = entry.firstLsn
  }
  return undefined
}

export function checkHistory(history: readonly EpochEntry[]): void {
  const fault = historyFault(history)
  if (fault !== undefined) throw violation(`the epoch history is out of order: ${fault}`)
}
