/**
 * The messages of a snapshot. SnapshotHashes, SnapshotChunk, SnapshotAck and SnapshotEnd have a fixed layout.
 *
 * Leaves to others: whether a chunk's bytes match its CRC, and whether offsets and sizes fit together.
 */
import type { EpochEntry } from '@understudy/contracts'
import { LIMITS } from './limits.ts'
import type {
  SnapshotAck,
  SnapshotChunk,
  SnapshotEnd,
  SnapshotHashes,
  SnapshotRequest,
  SnapshotStart,
} from './messages.ts'
import { checkHistory, historyFault, readEpoch, readPoint, writeEpoch, writePoint } from './points.ts'
import { exactViewOf, putU64, takeU64, viewOf } from './stream.ts'
import { FieldReader, FieldWriter, plainView, unsendable, violation } from './wire.ts'

const HASHES_HEADER = 10
const CHUNK_HEADER = 13
const ACK_BYTES = 9
const MODES: readonly (SnapshotStart['mode'] | undefined)[] = [undefined, 'stream', 'hashes']

export function encodeSnapshotRequest(typeByte: number, request: SnapshotRequest): Uint8Array {
  const writer = new FieldWriter(typeByte)
  writer.text(1, request.resumeId, LIMITS.nameBytesMax)
  writer.u64(2, request.resumeOffset)
  writer.u64(3, request.heldBytes)
  writer.u64(4, request.bytesPerSecondMax)
  return writer.finish()
}

export function decodeSnapshotRequest(reader: FieldReader): SnapshotRequest {
  let resumeId = ''
  let resumeOffset = 0
  let heldBytes = 0
  let bytesPerSecondMax = 0
  while (reader.next()) {
    if (reader.field === 1) resumeId = reader.text(LIMITS.nameBytesMax)
    else if (reader.field === 2) resumeOffset = reader.u64()
    else if (reader.field === 3) heldBytes = reader.u64()
    else if (reader.field === 4) bytesPerSecondMax = reader.u64()
    else reader.skip()
  }
  return { type: 'snapshotRequest', resumeId, resumeOffset, heldBytes, bytesPerSecondMax }
}

export function encodeSnapshotStart(typeByte: number, start: SnapshotStart): Uint8Array {
  const fault = historyFault(start.history)
  if (fault !== undefined) throw unsendable(`the epoch history is out of order: ${fault}`)
  if (start.chunkBytes < 1) throw unsendable('chunkBytes is below 1')
  const writer = new FieldWriter(typeByte)
  writer.text(1, start.id, LIMITS.nameBytesMax)
  writePoint(writer, 2, start.point)
  writer.u32(3, start.pageBytes)
  writer.u64(4, start.totalBytes)
  writer.u32(5, start.chunkBytes, LIMITS.frameBytesMax)
  writer.u32(6, MODES.indexOf(start.mode))
  writer.u64(7, start.offset)
  writer.u64(8, start.windowBytes)
  writer.list(9, start.history, LIMITS.epochsMax, (entry) => writeEpoch(writer, entry))
  return writer.finish()
}

export function decodeSnapshotStart(reader: FieldReader): SnapshotStart {
  let id = ''
  let point = { epoch: 0, lsn: 0, crc: 0 }
  let pageBytes = 0
  let totalBytes = 0
  let chunkBytes = 0
  let mode: SnapshotStart['mode'] | undefined
  let offset = 0
  let windowBytes = 0
  const history: EpochEntry[] = []
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        id = reader.text(LIMITS.nameBytesMax)
        break
      case 2:
        point = reader.message(readPoint)
        break
      case 3:
        pageBytes = reader.u32()
        break
      case 4:
        totalBytes = reader.u64()
        break
      case 5:
        chunkBytes = reader.u32(LIMITS.frameBytesMax)
        break
      case 6:
        mode = MODES[reader.u32()]
        break
      case 7:
        offset = reader.u64()
        break
      case 8:
        windowBytes = reader.u64()
        break
      case 9:
        reader.element(history, LIMITS.epochsMax, readEpoch)
        break
      default:
        reader.skip()
    }
  }
  if (mode === undefined) throw violation('a SnapshotStart has no mode that this version knows')
  if (chunkBytes < 1) throw violation('a SnapshotStart has chunks of no bytes')
  checkHistory(history)
  return {
    type: 'snapshotStart',
    id,
    point,
    history,
    pageBytes,
    totalBytes,
    chunkBytes,
    mode,
    offset,
    windowBytes,
  }
}

export function encodeSnapshotHashes(typeByte: number, message: SnapshotHashes): Uint8Array[] {
  if (message.hashes.length % LIMITS.hashBytes !== 0)
    throw unsendable(`hashes take ${message.hashes.length} bytes, not a multiple of ${LIMITS.hashBytes}`)
  const header = new Uint8Array(HASHES_HEADER)
  header[0] = typeByte
  header[1] = message.last ? 1 : 0
  putU64(new DataView(header.buffer), 2, message.firstChunk)
  return [header, message.hashes]
}

export function decodeSnapshotHashes(frame: Uint8Array): SnapshotHashes {
  const view = viewOf(frame, HASHES_HEADER, 'SnapshotHashes')
  const last = frame[1]
  if (last !== 0 && last !== 1) throw violation('the mark of the last SnapshotHashes is neither 0 nor 1')
  if ((frame.length - HASHES_HEADER) % LIMITS.hashBytes !== 0)
    throw violation('a SnapshotHashes ends inside a hash')
  return {
    type: 'snapshotHashes',
    firstChunk: takeU64(view, 2),
    hashes: plainView(frame, HASHES_HEADER),
    last: last === 1,
  }
}

export function encodeSnapshotChunk(typeByte: number, chunk: SnapshotChunk): Uint8Array[] {
  if (!Number.isInteger(chunk.crc) || chunk.crc < 0 || chunk.crc > 0xffffffff)
    throw unsendable(`the CRC ${chunk.crc} is not an unsigned 32-bit integer`)
  const header = new Uint8Array(CHUNK_HEADER)
  const view = new DataView(header.buffer)
  header[0] = typeByte
  putU64(view, 1, chunk.offset)
  view.setUint32(9, chunk.crc, true)
  return [header, chunk.bytes]
}

export function decodeSnapshotChunk(frame: Uint8Array): SnapshotChunk {
  const view = viewOf(frame, CHUNK_HEADER, 'SnapshotChunk')
  return {
    type: 'snapshotChunk',
    offset: takeU64(view, 1),
    crc: view.getUint32(9, true),
    bytes: plainView(frame, CHUNK_HEADER),
  }
}

export function encodeSnapshotAck(typeByte: number, ack: SnapshotAck): Uint8Array {
  const frame = new Uint8Array(ACK_BYTES)
  frame[0] = typeByte
  putU64(new DataView(frame.buffer), 1, ack.offset)
  return frame
}

export function decodeSnapshotAck(frame: Uint8Array): SnapshotAck {
  return { type: 'snapshotAck', offset: takeU64(exactViewOf(frame, ACK_BYTES, 'SnapshotAck'), 1) }
}

export function encodeSnapshotEnd(typeByte: number, end: SnapshotEnd): Uint8Array[] {
  if (end.digest.length !== LIMITS.digestBytes)
    throw unsendable(`the digest has ${end.digest.length} bytes, not ${LIMITS.digestBytes}`)
  return [Uint8Array.of(typeByte), end.digest]
}

export function decodeSnapshotEnd(frame: Uint8Array): SnapshotEnd {
  exactViewOf(frame, 1 + LIMITS.digestBytes, 'SnapshotEnd')
  return { type: 'snapshotEnd', digest: plainView(frame, 1) }
}
