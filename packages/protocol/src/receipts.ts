/** Receipts, ack levels and sets of followers as protobuf messages. */
import type { AckLevel, Receipt, ReceiptMember, ReceiptReference } from '@understudy/contracts'
import { LIMITS } from './limits.ts'
import type { FollowerSet } from './messages.ts'
import { readPoint, writePoint } from './points.ts'
import { violation, type FieldReader, type FieldWriter } from './wire.ts'

/** By number; 0 stands for none. */
const LEVELS: readonly (AckLevel | undefined)[] = [undefined, 'local', 'received', 'durable', 'applied']
const KINDS: readonly (FollowerSet['kind'] | undefined)[] = [undefined, 'any', 'first']
const NO_RUN = '0000000000000000'

export function writeLevel(writer: FieldWriter, field: number, level: AckLevel | undefined): void {
  // A level that is none is no index, which `u32` refuses.
  writer.u32(field, LEVELS.indexOf(level), LEVELS.length - 1)
}

export function readLevel(reader: FieldReader): AckLevel | undefined {
  return LEVELS[reader.u32(LEVELS.length - 1)]
}

export function writeSet(writer: FieldWriter, field: number, { kind, count, names }: FollowerSet): void {
  writer.message(field, () => {
    writer.u32(1, KINDS.indexOf(kind), KINDS.length - 1)
    writer.u32(2, count, LIMITS.setNamesMax)
    writer.list(3, names, LIMITS.setNamesMax, (name) => writer.text(1, name, LIMITS.nameBytesMax))
  })
}

export function readSet(reader: FieldReader): FollowerSet {
  let kind: FollowerSet['kind'] | undefined
  let count = 0
  const names: string[] = []
  while (reader.next()) {
    if (reader.field === 1) kind = KINDS[reader.u32(KINDS.length - 1)]
    else if (reader.field === 2) count = reader.u32(LIMITS.setNamesMax)
    else if (reader.field === 3) reader.element(names, LIMITS.setNamesMax, readName)
    else reader.skip()
  }
  if (kind === undefined) throw violation('a set of followers has no kind')
  return { kind, count, names }
}

/** A message with a name alone: of a follower, a slot, a format. */
export function readName(reader: FieldReader): string {
  let name = ''
  while (reader.next()) {
    if (reader.field === 1) name = reader.text(LIMITS.nameBytesMax)
    else reader.skip()
  }
  return name
}

export function writeReceipt(writer: FieldWriter, field: number, receipt: Receipt): void {
  writer.message(field, () => {
    const { cluster, position, crc, runId, index, asked, reached, members, degraded } = receipt
    writer.text(1, cluster, LIMITS.nameBytesMax)
    writePoint(writer, 2, { ...position, crc })
    writer.runId(3, runId)
    writer.u64(4, index)
    writeLevel(writer, 5, asked)
    writeLevel(writer, 6, reached)
    writer.list(7, members, LIMITS.setNamesMax, (member) => writeMember(writer, member))
    writer.u32(8, degraded ? 1 : 0, 1)
  })
}

function writeMember(writer: FieldWriter, { name, durableAt }: ReceiptMember): void {
  writer.text(1, name, LIMITS.nameBytesMax)
  if (durableAt !== undefined) writer.double(2, durableAt)
}

export function readReceipt(reader: FieldReader): Receipt {
  let [cluster, runId, index, degraded] = ['', NO_RUN, 0, false]
  let point = { epoch: 0, lsn: 0, crc: 0 }
  let [asked, reached]: AckLevel[] = ['local', 'local']
  const members: ReceiptMember[] = []
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        cluster = reader.text(LIMITS.nameBytesMax)
        break
      case 2:
        point = reader.message(readPoint)
        break
      case 3:
        runId = reader.runId()
        break
      case 4:
        index = reader.u64()
        break
      case 5:
        asked = readLevel(reader)
        break
      case 6:
        reached = readLevel(reader)
        break
      case 7:
        reader.element(members, LIMITS.setNamesMax, readMember)
        break
      case 8:
        degraded = reader.u32(1) === 1
        break
      default:
        reader.skip()
    }
  }
  if (asked === undefined || reached === undefined) throw violation('a receipt has no level')
  const { epoch, lsn, crc } = point
  return { cluster, position: { epoch, lsn }, runId, index, crc, asked, reached, members, degraded }
}

function readMember(reader: FieldReader): ReceiptMember {
  let name = ''
  let durableAt = 0
  while (reader.next()) {
    if (reader.field === 1) name = reader.text(LIMITS.nameBytesMax)
    else if (reader.field === 2) durableAt = reader.double()
    else reader.skip()
  }
  return durableAt === 0 ? { name } : { name, durableAt }
}

/** What a verdict, or a wait, needs of a receipt. */
export function writeReference(writer: FieldWriter, field: number, receipt: ReceiptReference): void {
  writer.message(field, () => {
    writer.text(1, receipt.cluster, LIMITS.nameBytesMax)
    writePoint(writer, 2, { ...receipt.position, crc: receipt.crc })
    writer.runId(3, receipt.runId ?? NO_RUN)
  })
}

export function readReference(reader: FieldReader): ReceiptReference {
  let cluster = ''
  let runId = NO_RUN
  let point = { epoch: 0, lsn: 0, crc: 0 }
  while (reader.next()) {
    if (reader.field === 1) cluster = reader.text(LIMITS.nameBytesMax)
    else if (reader.field === 2) point = reader.message(readPoint)
    else if (reader.field === 3) runId = reader.runId()
    else reader.skip()
  }
  const { epoch, lsn, crc } = point
  return { cluster, position: { epoch, lsn }, crc, ...(runId !== NO_RUN && { runId }) }
}
