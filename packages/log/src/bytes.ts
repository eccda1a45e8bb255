/**
 * Integers and sealed blocks, shared by the segment header and the state file.
 *
 * A sealed block begins with: magic (8 bytes), version u16, zero u16, length u32, CRC-32 u32 over every other byte of
 * the block. It decides whether bytes are such a block; what the rest means is left to the callers.
 *
 * Validity: 1. all integers are little-endian; 2. a 64-bit integer stays below 2^53, a larger one reads as unsafe and
 * is refused by whoever gives it a meaning.
 */
import { crc32 } from 'node:zlib'

export const SEAL_BYTES = 20

const LENGTH_AT = 12
const CRC_AT = 16

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

export function getUint64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 0x1_0000_0000
}

export function setUint64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value >>> 0, true)
  view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true)
}

/** What a block turned out to be. */
export type Unsealed = 'sound' | 'foreign' | 'newer' | 'damaged'

/** Fills in magic, version, length and CRC of a block whose other bytes are complete. */
export function seal(block: Uint8Array, magic: string, version: number): void {
  block.set(new TextEncoder().encode(magic), 0)
  const view = viewOf(block)
  view.setUint16(8, version, true)
  view.setUint16(10, 0, true)
  view.setUint32(LENGTH_AT, block.length, true)
  view.setUint32(CRC_AT, sealCrc(block), true)
}

/** Length that the block claims, before anything is verified. */
export function sealedLength(start: Uint8Array): number {
  return viewOf(start).getUint32(LENGTH_AT, true)
}

/** Judges magic and version alone, from the first bytes of a block. */
export function sealKind(start: Uint8Array, magic: string, version: number): Unsealed {
  if (start.length < SEAL_BYTES || new TextDecoder('latin1').decode(start.subarray(0, 8)) !== magic) {
    return 'foreign'
  }
  const found = viewOf(start).getUint16(8, true)
  if (found > version) return 'newer'
  return found === version ? 'sound' : 'damaged'
}

/** Judges a whole block. */
export function unseal(block: Uint8Array, magic: string, version: number): Unsealed {
  const kind = sealKind(block, magic, version)
  if (kind !== 'sound') return kind
  const view = viewOf(block)
  const sound =
    view.getUint16(10, true) === 0 &&
    view.getUint32(LENGTH_AT, true) === block.length &&
    view.getUint32(CRC_AT, true) === sealCrc(block)
  return sound ? 'sound' : 'damaged'
}

function sealCrc(block: Uint8Array): number {
  return crc32(block.subarray(CRC_AT + 4), crc32(block.subarray(0, CRC_AT)))
}
