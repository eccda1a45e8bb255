/**
 * Byte runs: where one page image differs from another.
 *
 * Decides: where a run begins and ends. Leaves to others: checksums, pages as wholes.
 *
 * A run is its length, the gap since the end of the run before (both varints), its bytes; a length of 0 ends the list.
 * 1. Runs ascend, do not touch, and lie within the page.
 * 2. A run ends before an aligned word of equal bytes: fewer travel along, since a run costs two to four bytes itself.
 */
import { corrupt } from './errors.ts'
import type { RunningCrc } from './running-crc.ts'
import { writeVarint, type VarintReader } from './varint.ts'

/** Runs up to this length are copied byte by byte, which is faster than a view. */
const LOOP_BYTES_MAX = 256

/** A page image of our own, whose words can be read as they lie. */
export interface PageImage {
  readonly bytes: Uint8Array
  readonly words: Int32Array
}

export function newPageImage(pageBytes: number): PageImage {
  const buffer = new ArrayBuffer(pageBytes)
  return { bytes: new Uint8Array(buffer), words: new Int32Array(buffer) }
}

/** Room that `writeRuns` may need. */
export function runsBytesMax(pageBytes: number): number {
  return 2 * pageBytes + 16
}

/**
 * Writes the runs that make `base` into `image`; returns where they end in `target`. The bytes that they replace go to
 * `replaced`, which has room for a page.
 */
export function writeRuns(
  target: Uint8Array,
  start: number,
  image: PageImage,
  base: PageImage,
  replaced: RunningCrc | undefined,
): number {
  const bytes = image.bytes
  const old = base.bytes
  const pageBytes = bytes.length
  let at = start
  let written = 0
  let from = nextDifference(image, base, 0)
  while (from < pageBytes) {
    const end = runEnd(image, base, from)
    at = writeVarint(target, at, end - from)
    at = writeVarint(target, at, from - written)
    copyBytes(bytes, from, end, target, at)
    at += end - from
    if (replaced !== undefined) {
      copyBytes(old, from, end, replaced.gathered, replaced.length)
      replaced.length += end - from
    }
    written = end
    from = nextDifference(image, base, end)
  }
  target[at] = 0
  return at + 1
}

/** Reads over a list of runs and checks its bounds. Throws `RECORD_CORRUPT`. */
export function checkRuns(
  reader: VarintReader,
  pageBytes: number,
): { readonly runs: number; readonly bytes: number } {
  let end = 0
  let runs = 0
  let bytes = 0
  for (let length = reader.varint(); length !== 0; length = reader.varint()) {
    const gap = reader.varint()
    if (runs > 0 && gap === 0) throw corrupt('two runs of bytes touch')
    end += gap + length
    if (end > pageBytes) throw corrupt(`a run of bytes ends at ${end} of a page of ${pageBytes}`)
    reader.skip(length)
    runs += 1
    bytes += length
  }
  return { runs, bytes }
}

/** Replaces bytes of `image` by the runs that `reader` comes to, which were checked; what was there goes to `replaced`. */
export function applyRuns(
  body: Uint8Array,
  reader: VarintReader,
  image: Uint8Array,
  replaced: RunningCrc | undefined,
): void {
  let at = 0
  for (let length = reader.varint(); length !== 0; length = reader.varint()) {
    at += reader.varint()
    if (replaced !== undefined) {
      copyBytes(image, at, at + length, replaced.gathered, replaced.length)
      replaced.length += length
    }
    copyBytes(body, reader.at, reader.at + length, image, at)
    reader.skip(length)
    at += length
  }
}

/** Offset of the first byte from `from` on that differs; the page size when none does. */
function nextDifference(image: PageImage, base: PageImage, from: number): number {
  const { bytes, words } = image
  const old = base.bytes
  const oldWords = base.words
  let at = from
  for (; (at & 3) !== 0; at += 1) if (bytes[at] !== old[at]) return at
  let word = at >> 2
  const count = words.length
  // Four at a time: most of a page is equal, and finding that out is half of the time that a page costs.
  for (; word + 4 <= count; word += 4) {
    const first = (words[word] as number) ^ (oldWords[word] as number)
    const second = (words[word + 1] as number) ^ (oldWords[word + 1] as number)
    const third = (words[word + 2] as number) ^ (oldWords[word + 2] as number)
    const fourth = (words[word + 3] as number) ^ (oldWords[word + 3] as number)
    if ((first | second | third | fourth) !== 0) break
  }
  while (word < count && words[word] === oldWords[word]) word += 1
  at = word << 2
  if (word < count) while (bytes[at] === old[at]) at += 1
  return at
}

/** Where the run that begins at `from` ends: after its last differing byte before an aligned word of equal bytes. */
function runEnd(image: PageImage, base: PageImage, from: number): number {
  const { bytes, words } = image
  const old = base.bytes
  const oldWords = base.words
  const count = words.length
  let word = (from >> 2) + 1
  while (word < count && words[word] !== oldWords[word]) word += 1
  let end = word << 2
  while (bytes[end - 1] === old[end - 1]) end -= 1
  return end
}

function copyBytes(source: Uint8Array, start: number, end: number, target: Uint8Array, at: number): void {
  if (end - start > LOOP_BYTES_MAX) {
    target.set(source.subarray(start, end), at)
    return
  }
  const shift = at - start
  for (let index = start; index < end; index += 1) target[index + shift] = source[index] as number
}
