/**
 * Reads a log directory as it lies there, for tools: no lock, no state file, nothing is written.
 *
 * Decides what a person sees of a damaged log: every record that can be read, and where what could not. After damage it
 * goes on at the next sound append of the segment, or with the next segment. A directory in use may show its newest
 * append as a tail, because it is read while it is written.
 */
import {
  isUnderstudyError,
  type FileHandle,
  type Files,
  type LogRecord,
  type Lsn,
} from '@understudy/contracts'
import { viewOf } from './bytes.ts'
import { findMark, MARK_BYTES } from './mark.ts'
import { nodeFiles } from './node-files.ts'
import { beginsEpoch, decodeRecord } from './record.ts'
import { scanItems, type Place } from './scan.ts'
import { listSegments, openSegment, segmentPath, syncedByMarks } from './segment-files.ts'
import type { Segment } from './segment.ts'

/** One thing found in a log directory. `segment` is a path, `offset` and `bytes` count bytes in that file. */
export type SegmentItem =
  | { readonly kind: 'record'; readonly segment: string; readonly offset: number; readonly record: LogRecord }
  /** Bytes that should be records and are not. `lsn` is the first record that is missing. */
  | {
      readonly kind: 'damage'
      readonly segment: string
      readonly offset: number
      readonly lsn: Lsn
      readonly reason: string
    }
  /** What was never synced and did not arrive whole; opening the log cuts it off. */
  | { readonly kind: 'tail'; readonly segment: string; readonly offset: number; readonly reason: string }

/** Every record in LSN order, and the damage between them. Throws what `Files` throws. */
export function* readSegments(directory: string, files: Files = nodeFiles()): Generator<SegmentItem> {
  const firsts = listSegments(files, directory)
  for (const [i, first] of firsts.entries()) {
    const path = segmentPath(directory, first)
    let segment: Segment
    try {
      segment = openSegment(files, directory, first)
    } catch (error) {
      if (!isUnderstudyError(error, 'LOG_CORRUPT') && !isUnderstudyError(error, 'FORMAT_VERSION')) throw error
      yield { kind: 'damage', segment: path, offset: 0, lsn: first, reason: error.message }
      continue
    }
    const handle = files.open(path)
    try {
      yield* readSegment(handle, segment, firsts[i + 1])
    } finally {
      handle.close()
    }
  }
}

function* readSegment(
  handle: FileHandle,
  segment: Segment,
  nextFirst: Lsn | undefined,
): Generator<SegmentItem> {
  const { header, path } = segment
  let place: Place | undefined = { offset: header.bytes, before: header.before }
  while (place !== undefined) {
    let lsn: Lsn = place.before.lsn
    let resume: Place | undefined
    let behindMark = false
    for (const item of scanItems(handle, header, place, segment.size)) {
      if (item.kind === 'record') {
        lsn = item.record.lsn
        yield { kind: 'record', segment: path, offset: item.offset, record: item.record }
      } else if (item.kind === 'bad') {
        const { offset, reason } = item
        const rest = readRest(handle, offset)
        const synced = nextFirst === undefined ? syncedByMarks(handle, header, offset) : nextFirst - 1
        if (synced > lsn) {
          yield { kind: 'damage', segment: path, offset, lsn: lsn + 1, reason }
          resume = nextSoundAppend(rest, offset, header.salt, lsn)
        } else if (nextFirst === undefined && (behindMark || findMark(rest, 0, header.salt) !== undefined)) {
          yield { kind: 'tail', segment: path, offset, reason }
        }
      }
      behindMark = item.kind === 'mark'
    }
    place = resume
  }
}

function readRest(handle: FileHandle, offset: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(0, handle.size() - offset))
  return bytes.subarray(0, handle.read(bytes, offset))
}

/** The first append in `rest`, which stands at `offset`, whose mark and first record are sound and later than `lsn`. */
function nextSoundAppend(rest: Uint8Array, offset: number, salt: Uint8Array, lsn: Lsn): Place | undefined {
  const view = viewOf(rest)
  for (
    let found = findMark(rest, 0, salt);
    found !== undefined;
    found = findMark(rest, found.offset + 1, salt)
  ) {
    const start = found.offset + MARK_BYTES
    const record = decodeRecord(rest, view, start)
    if (record === undefined || record.lsn !== found.mark.next || record.lsn <= lsn + 1) continue
    // The record's own word for its predecessor is taken: its CRC covers it.
    const epoch = beginsEpoch(record) ? record.epoch - 1 : record.epoch
    return { offset: offset + start, before: { epoch, lsn: record.lsn - 1, crc: record.previousCrc } }
  }
  return undefined
}
