/** Epochs that name themselves, proofs of positions, and what a node knows of who leads, as protobuf messages. */
import type { EpochStamp, LogPoint, PositionProof } from '@understudy/contracts'
import { LIMITS } from './limits.ts'
import type { Forwarded, Leadership, MemberAddress, RequestBody, ResponseBody } from './messages.ts'
import { readPoint, writePoint } from './points.ts'
import { violation, type FieldReader, type FieldWriter } from './wire.ts'

const NO_RUN = '0000000000000000'
const ROLES: readonly (Leadership['role'] | undefined)[] = [undefined, 'leader', 'follower']

export function writeStamp(writer: FieldWriter, field: number, { number, runId }: EpochStamp): void {
  writer.message(field, () => {
    writer.u64(1, number)
    writer.runId(2, runId)
  })
}

export function readStamp(reader: FieldReader): EpochStamp {
  let number = 0
  let runId = NO_RUN
  while (reader.next()) {
    if (reader.field === 1) number = reader.u64()
    else if (reader.field === 2) runId = reader.runId()
    else reader.skip()
  }
  return { number, runId }
}

export function writeProof(writer: FieldWriter, field: number, { crc, runId }: PositionProof): void {
  writer.message(field, () => {
    writer.fixed32(1, crc)
    writer.runId(2, runId)
  })
}

export function readProof(reader: FieldReader): PositionProof {
  let crc = 0
  let runId = NO_RUN
  while (reader.next()) {
    if (reader.field === 1) crc = reader.fixed32()
    else if (reader.field === 2) runId = reader.runId()
    else reader.skip()
  }
  return { crc, runId }
}

export function writeForwarded(writer: FieldWriter, field: number, { by, author }: Forwarded): void {
  writer.message(field, () => {
    writer.text(1, by, LIMITS.nameBytesMax)
    writer.text(2, author, LIMITS.nameBytesMax)
  })
}

export function readForwarded(reader: FieldReader): Forwarded {
  let by = ''
  let author = ''
  while (reader.next()) {
    if (reader.field === 1) by = reader.text(LIMITS.nameBytesMax)
    else if (reader.field === 2) author = reader.text(LIMITS.nameBytesMax)
    else reader.skip()
  }
  return { by, author }
}

export function writeWhoLeads(
  writer: FieldWriter,
  field: number,
  { unlessEpoch, waitMs }: Extract<RequestBody, { kind: 'whoLeads' }>,
): void {
  writer.message(field, () => {
    if (unlessEpoch !== undefined) writeStamp(writer, 1, unlessEpoch)
    writer.u32(2, waitMs, LIMITS.durationMsMax)
  })
}

export function readWhoLeads(reader: FieldReader): RequestBody {
  let unlessEpoch: EpochStamp | undefined
  let waitMs = 0
  while (reader.next()) {
    if (reader.field === 1) unlessEpoch = reader.message(readStamp)
    else if (reader.field === 2) waitMs = reader.u32(LIMITS.durationMsMax)
    else reader.skip()
  }
  return { kind: 'whoLeads', ...(unlessEpoch && { unlessEpoch }), waitMs }
}

export function writeLeadership(writer: FieldWriter, field: number, leadership: Leadership): void {
  const { node, cluster, role, takesWrites, forwardsWrites, epoch, applied, stalenessMs, leader, members } =
    leadership
  writer.message(field, () => {
    writer.text(1, node, LIMITS.nameBytesMax)
    writer.text(2, cluster, LIMITS.nameBytesMax)
    writer.u32(3, ROLES.indexOf(role), ROLES.length - 1)
    writer.u32(4, takesWrites ? 1 : 0, 1)
    writer.u32(5, forwardsWrites ? 1 : 0, 1)
    if (epoch !== undefined) writeStamp(writer, 6, epoch)
    writePoint(writer, 7, applied)
    // A message of its own, because 0 says something else than nothing.
    if (stalenessMs !== undefined)
      writer.message(8, () => writer.u32(1, Math.min(Math.ceil(stalenessMs), LIMITS.durationMsMax)))
    if (leader !== undefined) writer.message(9, () => writeMember(writer, leader))
    writer.list(10, members, LIMITS.membersMax, (member) => writeMember(writer, member))
  })
}

export function readLeadership(reader: FieldReader): ResponseBody {
  let [node, cluster] = ['', '']
  let role: Leadership['role'] | undefined
  let [takesWrites, forwardsWrites] = [false, false]
  let epoch: EpochStamp | undefined
  let applied: LogPoint = { epoch: 0, lsn: 0, crc: 0 }
  let stalenessMs: number | undefined
  let leader: MemberAddress | undefined
  const members: MemberAddress[] = []
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        node = reader.text(LIMITS.nameBytesMax)
        break
      case 2:
        cluster = reader.text(LIMITS.nameBytesMax)
        break
      case 3:
        role = ROLES[reader.u32(ROLES.length - 1)]
        break
      case 4:
        takesWrites = reader.u32(1) === 1
        break
      case 5:
        forwardsWrites = reader.u32(1) === 1
        break
      case 6:
        epoch = reader.message(readStamp)
        break
      case 7:
        applied = reader.message(readPoint)
        break
      case 8:
        stalenessMs = reader.message(readMilliseconds)
        break
      case 9:
        leader = reader.message(readMember)
        break
      case 10:
        reader.element(members, LIMITS.membersMax, readMember)
        break
      default:
        reader.skip()
    }
  }
  if (role === undefined) throw violation('a Leadership says no role')
  return {
    kind: 'leadership',
    node,
    cluster,
    role,
    takesWrites,
    forwardsWrites,
    ...(epoch && { epoch }),
    applied,
    ...(stalenessMs !== undefined && { stalenessMs }),
    ...(leader && { leader }),
    members,
  }
}

function readMilliseconds(reader: FieldReader): number {
  let ms = 0
  while (reader.next()) {
    if (reader.field === 1) ms = reader.u32(LIMITS.durationMsMax)
    else reader.skip()
  }
  return ms
}

function writeMember(writer: FieldWriter, { name, address }: MemberAddress): void {
  writer.text(1, name, LIMITS.nameBytesMax)
  writer.text(2, address, LIMITS.addressBytesMax)
}

function readMember(reader: FieldReader): MemberAddress {
  let name = ''
  let address = ''
  while (reader.next()) {
    if (reader.field === 1) name = reader.text(LIMITS.nameBytesMax)
    else if (reader.field === 2) address = reader.text(LIMITS.addressBytesMax)
    else reader.skip()
  }
  return { name, address }
}
