/**
 * The checksum of WAL files and of the wal-index header: two 32-bit sums over pairs of 32-bit words.
 *
 * Decides: the sums. Leaves to others: what they cover. Valid when 1. the length is a multiple of 8, 2. words are read
 * in the byte order that the file's magic names: the order of the machine that created the file.
 * Source: https://sqlite.org/fileformat2.html#checksum_algorithm
 */

/** A running checksum; changed in place, so that a scan of a file makes no garbage. */
export interface Checksum {
  first: number
  second: number
}

const LITTLE_ENDIAN_MACHINE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** Whether this machine stores the low byte first. */
export function isLittleEndianMachine(): boolean {
  return LITTLE_ENDIAN_MACHINE
}

/** Adds `bytes[start, end)`, whose length is a multiple of 8, to `sum`. */
export function addToChecksum(
  sum: Checksum,
  bytes: Uint8Array,
  start: number,
  end: number,
  littleEndian: boolean,
): void {
  let first = sum.first | 0
  let second = sum.second | 0
  const begin = bytes.byteOffset + start
  if (littleEndian === isLittleEndianMachine() && (begin & 3) === 0) {
    // The words can be read as they lie, four times as fast as through a DataView.
    const words = new Int32Array(bytes.buffer, begin, (end - start) >> 2)
    for (let index = 0; index < words.length; index += 2) {
      first = (first + (words[index] as number) + second) | 0
      second = (second + (words[index + 1] as number) + first) | 0
    }
  } else {
    const view = new DataView(bytes.buffer, begin, end - start)
    for (let offset = 0; offset < view.byteLength; offset += 8) {
      first = (first + view.getInt32(offset, littleEndian) + second) | 0
      second = (second + view.getInt32(offset + 4, littleEndian) + first) | 0
    }
  }
  sum.first = first >>> 0
  sum.second = second >>> 0
}
