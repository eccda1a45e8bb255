/**
 * Makes, lists and repairs segment files.
 *
 * Validity: 1. a file gets the name of a segment only after its zeros and its head were synced; 2. the directory is
 * synced after every rename; 3. `wipe` and `rewrite` may be interrupted anywhere and done again.
 */
import path from 'node:path'
import type { FileHandle, Files, LogPoint, Lsn, EpochHistory, Random } from '@understudy/contracts'
import { viewOf } from './bytes.ts'
import { nameDurably } from './failures.ts'
import { findMark, MARK_BYTES } from './mark.ts'
import {
  encodeSegmentHeader,
  parseSegmentName,
  readSegmentHeader,
  segmentName,
  type SegmentHeader,
} from './segment-header.ts'
import { Segment } from './segment.ts'

const CHUNK_BYTES = 1024 * 1024
/** Files being prepared end in this; leftovers are removed at open. */
export const SPARE_SUFFIX = '.spare'

/** Where a log lives and what it is made with. */
export interface LogDirectory {
  readonly files: Files
  readonly path: string
  readonly random: Random
  readonly segmentBytes: number
}

/** First LSNs of the segments in the directory, ascending. */
export function listSegments(files: Files, directory: string): Lsn[] {
  return files
    .list(directory)
    .map((name) => parseSegmentName(name))
    .filter((lsn) => lsn !== undefined)
    .sort((a, b) => a - b)
}

export function segmentPath(directory: string, firstLsn: Lsn): string {
  return path.join(directory, segmentName(firstLsn))
}

export function openSegment(files: Files, directory: string, firstLsn: Lsn): Segment {
  const file = segmentPath(directory, firstLsn)
  const handle = files.open(file)
  try {
    return new Segment(file, readSegmentHeader(handle, firstLsn), handle.size())
  } finally {
    handle.close()
  }
}

/** A new file of `size` zeros, not synced. On an error it is removed again. */
export function prepareFile(files: Files, file: string, size: number): FileHandle {
  if (files.exists(file)) files.remove(file)
  const handle = files.open(file, { create: true, exclusive: true, write: true })
  try {
    writeZeros(handle, 0, size)
    return handle
  } catch (error) {
    handle.close()
    files.remove(file)
    throw error
  }
}

/** Head of the segment that begins after `before`. */
export function newHeader(
  random: Random,
  before: LogPoint,
  history: EpochHistory,
  previousFirstLsn: Lsn,
): { readonly header: SegmentHeader; readonly bytes: Uint8Array } {
  const salt = new Uint8Array(8)
  const view = viewOf(salt)
  view.setUint32(0, random.uint32(), true)
  view.setUint32(4, random.uint32(), true)
  const fields = { before, history, previousFirstLsn, salt }
  const bytes = encodeSegmentHeader(fields)
  return { header: { ...fields, firstLsn: before.lsn + 1, bytes: bytes.length }, bytes }
}

/**
 * Gives a prepared file its head and its name as a segment, replacing an empty segment of that name. What of its zeros
 * was not synced yet is synced with the head. On an error before the name the file is removed.
 */
export function installSegment(
  dir: LogDirectory,
  prepared: FileHandle,
  head: { readonly header: SegmentHeader; readonly bytes: Uint8Array },
): Segment {
  try {
    prepared.write([head.bytes], 0)
    prepared.dataSyncNow()
  } catch (error) {
    dir.files.remove(prepared.path)
    throw error
  }
  const file = segmentPath(dir.path, head.header.firstLsn)
  nameDurably(dir.files, prepared.path, file, dir.path)
  const segment = new Segment(file, head.header, prepared.size())
  segment.used = head.header.bytes
  return segment
}

export function writeZeros(handle: FileHandle, from: number, to: number): void {
  const zeros = new Uint8Array(Math.min(CHUNK_BYTES, to - from))
  for (let offset = from; offset < to; offset += zeros.length) {
    handle.write([zeros.subarray(0, Math.min(zeros.length, to - offset))], offset)
  }
}

/** Overwrites with zeros whatever is not zero from `from` on. Returns whether there was anything. Not synced. */
export function wipe(handle: FileHandle, from: number): boolean {
  let zeros = Buffer.alloc(0)
  let found = false
  for (const { bytes, offset } of chunks(handle, from, 0)) {
    if (zeros.length < bytes.length) zeros = Buffer.alloc(bytes.length)
    if (zeros.compare(bytes, 0, bytes.length, 0, bytes.length) === 0) continue
    writeZeros(handle, offset, offset + bytes.length)
    found = true
  }
  return found
}

/**
 * Writes the same bytes again. After a failed sync of an earlier process the system may hold them in memory as clean
 * although they are not on the disk; written again, the next sync carries them there.
 */
export function rewrite(handle: FileHandle, from: number, to: number): void {
  for (const { bytes, offset } of chunks(handle, from, 0)) {
    if (offset >= to) return
    handle.write([bytes.subarray(0, Math.min(bytes.length, to - offset))], offset)
  }
}

/** The highest synced LSN that any sound mark from `from` on speaks of; 0 without one. */
export function syncedByMarks(handle: FileHandle, header: SegmentHeader, from: number): Lsn {
  let synced = 0
  for (const { bytes } of chunks(handle, from, MARK_BYTES - 1)) {
    let found = findMark(bytes, 0, header.salt)
    while (found !== undefined) {
      synced = Math.max(synced, found.mark.synced)
      found = findMark(bytes, found.offset + 1, header.salt)
    }
  }
  return synced
}

/** The file from `from` on in pieces, each `overlap` bytes into the next. */
function* chunks(
  handle: FileHandle,
  from: number,
  overlap: number,
): Generator<{ bytes: Uint8Array; offset: number }> {
  const buffer = new Uint8Array(Math.min(CHUNK_BYTES + overlap, Math.max(0, handle.size() - from)))
  for (let offset = from; ; offset += CHUNK_BYTES) {
    const bytes = buffer.subarray(0, handle.read(buffer, offset))
    if (bytes.length === 0) return
    yield { bytes, offset }
    if (bytes.length < CHUNK_BYTES + overlap) return
  }
}
