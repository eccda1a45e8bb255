/**
 * Opens a log directory: finishes what was under way, finds the end, cuts an unsynced tail, refuses damage.
 *
 * Decides what survives. Runs at open, and again after `truncateAfter` and `resetTo` wrote their intent, so that a
 * crash in the middle of either is finished by the same code.
 *
 * 1. A segment other than the last was synced whole before its successor got its name. Its records are verified when
 *    they are read, its head here.
 * 2. In the last segment the first item that does not verify ends the log. It is an unsynced tail when its LSN lies
 *    above everything known to be durable: marks behind it, the state file, `knownDurable`. Then it is wiped, whatever
 *    follows. Otherwise it is `LOG_CORRUPT` and no byte of the segment changes.
 * 3. Names are synced before they are trusted. What was found but is not known to be durable is written again and synced
 *    before it counts.
 * 4. Under the intent to truncate, records above it are no loss and no damage. Zeros are written over them again even
 *    when zeros are seen, and synced before the intent is cleared: an earlier process may have left its zeros unsynced.
 */
import path from 'node:path'
import type { EpochHistory, FileHandle, LogPoint, Lsn } from '@understudy/contracts'
import { corrupt } from './failures.ts'
import { beginsEpoch, epochEntryOf } from './record.ts'
import { scanItems, type Place } from './scan.ts'
import {
  installSegment,
  listSegments,
  newHeader,
  openSegment,
  prepareFile,
  rewrite,
  segmentPath,
  SPARE_SUFFIX,
  syncedByMarks,
  wipe,
  writeZeros,
  type LogDirectory,
} from './segment-files.ts'
import type { Segment } from './segment.ts'
import {
  readState,
  STATE_NAME,
  STATE_NEW_NAME,
  stateCorrupt,
  writeState,
  type LogState,
} from './state-file.ts'

export interface Recovered {
  /** Without an intent; `durable` is the end of the log. */
  readonly state: LogState
  /** Oldest first, at least one; the last one takes appends. */
  readonly segments: Segment[]
  readonly end: LogPoint
  readonly history: EpochHistory
}

/** Throws `LOG_CORRUPT`, `STATE_CORRUPT`, `FORMAT_VERSION`, and what `Files` throws. */
export function recover(dir: LogDirectory, knownDurable: Lsn): Recovered {
  makeDurableDirectory(dir)
  removeLeftovers(dir)
  const state = finishReset(dir, loadState(dir))
  const limit = state.intent?.kind === 'truncate' ? state.intent.lsn : Infinity
  const segments = loadSegments(dir, state, limit)
  const last = segments.at(-1)!
  const handle = dir.files.open(last.path, { write: true })
  try {
    const tail = scanTail(handle, last, limit)
    const known = Math.min(limit, Math.max(state.durable, knownDurable))
    const changed = settle(handle, last, tail, known, limit)
    const settled: LogState = { ...state, durable: tail.end.lsn, intent: undefined }
    if (changed || state.intent !== undefined) writeState(dir.files, dir.path, settled)
    return { state: settled, segments, end: tail.end, history: tail.history }
  } finally {
    handle.close()
  }
}

/** Makes the directory with its parents. Before a log begins in it, its own name is made durable too. */
function makeDurableDirectory(dir: LogDirectory): void {
  const missing: string[] = []
  for (let at = path.resolve(dir.path); !dir.files.exists(at); at = path.dirname(at)) missing.push(at)
  if (missing.length > 0) dir.files.makeDirectory(dir.path)
  else if (!dir.files.exists(path.join(dir.path, STATE_NAME))) missing.push(path.resolve(dir.path))
  for (const made of missing) dir.files.syncDirectory(path.dirname(made))
}

/** Names that are seen may be an earlier process's that never reached the disk, so they are synced before they count. */
function removeLeftovers(dir: LogDirectory): void {
  for (const name of dir.files.list(dir.path)) {
    if (name === STATE_NEW_NAME || name.endsWith(SPARE_SUFFIX)) dir.files.remove(path.join(dir.path, name))
  }
  dir.files.syncDirectory(dir.path)
}

/** A directory without a state file is a new log, which begins like a log that was reset to before the first record. */
function loadState(dir: LogDirectory): LogState {
  const state = readState(dir.files, dir.path)
  if (state !== undefined) return state
  if (listSegments(dir.files, dir.path).length > 0) {
    throw stateCorrupt(path.join(dir.path, STATE_NAME), 'it is missing, while there are segments')
  }
  const fresh: LogState = {
    floor: 1,
    durable: 0,
    slots: new Map(),
    intent: { kind: 'reset', point: { epoch: 0, lsn: 0, crc: 0 }, history: [] },
  }
  writeState(dir.files, dir.path, fresh)
  return fresh
}

function finishReset(dir: LogDirectory, state: LogState): LogState {
  if (state.intent?.kind !== 'reset') return state
  const { point, history } = state.intent
  for (const firstLsn of listSegments(dir.files, dir.path)) dir.files.remove(segmentPath(dir.path, firstLsn))
  dir.files.syncDirectory(dir.path)
  const head = newHeader(dir.random, point, history, 0)
  const size = Math.max(dir.segmentBytes, head.bytes.length)
  const prepared = prepareFile(dir.files, path.join(dir.path, `reset${SPARE_SUFFIX}`), size)
  try {
    installSegment(dir, prepared, head)
  } finally {
    prepared.close()
  }
  const done: LogState = { ...state, floor: point.lsn + 1, durable: point.lsn, intent: undefined }
  writeState(dir.files, dir.path, done)
  return done
}

/** Finishes an interrupted `collect` or truncation of whole files, then reads every head. */
function loadSegments(dir: LogDirectory, state: LogState, limit: Lsn): Segment[] {
  const names = listSegments(dir.files, dir.path)
  const kept = names.filter((first) => first >= state.floor && (first <= limit || first === state.floor))
  const dropped = names.filter((first) => !kept.includes(first))
  for (const first of dropped) dir.files.remove(segmentPath(dir.path, first))
  if (dropped.length > 0) dir.files.syncDirectory(dir.path)
  if (kept[0] !== state.floor) {
    throw corrupt(segmentPath(dir.path, state.floor), 0, state.floor, 'the file is missing')
  }
  const segments = kept.map((first) => openSegment(dir.files, dir.path, first))
  for (let i = 1; i < segments.length; i++) {
    const expected = segments[i]!.header.previousFirstLsn
    if (expected !== kept[i - 1]) {
      throw corrupt(segmentPath(dir.path, expected), 0, expected, 'the file is missing')
    }
  }
  return segments
}

interface Tail {
  readonly end: LogPoint
  readonly history: EpochHistory
  /** Behind the last record that counts, or the mark behind it. */
  readonly cut: number
  /** What stopped the scan; `undefined` when the limit did. */
  readonly bad: string | undefined
  /** Highest synced LSN by the marks before `cut`. */
  readonly synced: Lsn
}

function scanTail(handle: FileHandle, segment: Segment, limit: Lsn): Tail {
  const { header } = segment
  const start: Place = { offset: header.bytes, before: header.before }
  const history = [...header.history]
  let end = header.before
  let cut = header.bytes
  let synced = 0
  let bad: string | undefined
  for (const item of end.lsn >= limit ? [] : scanItems(handle, header, start, segment.size)) {
    if (item.kind === 'bad') {
      bad = item.reason
      break
    }
    cut = item.end
    if (item.kind === 'mark') {
      synced = Math.max(synced, item.mark.synced)
      continue
    }
    const { epoch, lsn, crc } = item.record
    end = { epoch, lsn, crc }
    segment.note({ offset: cut, before: end })
    const entry = beginsEpoch(item.record) ? epochEntryOf(item.record) : undefined
    if (entry !== undefined) history.push(entry)
    if (lsn >= limit) break
  }
  return { end, history, cut, bad, synced }
}

/** Judges and repairs the tail. Returns whether anything was changed. */
function settle(handle: FileHandle, segment: Segment, tail: Tail, known: Lsn, limit: Lsn): boolean {
  const { end, cut, bad } = tail
  const later = bad === undefined ? 0 : syncedByMarks(handle, segment.header, cut)
  const durable = Math.max(known, tail.synced, Math.min(later, limit))
  if (end.lsn < durable) throw corrupt(segment.path, cut, end.lsn + 1, bad ?? 'the file ends')
  segment.used = cut
  // Zeros that are seen may be another process's that never reached the disk: what is to go must be written over for certain.
  if (limit < Infinity) writeZeros(handle, cut, segment.size)
  const wiped = wipe(handle, cut)
  const unproven = end.lsn > durable
  if (unproven) rewrite(handle, segment.placeBefore(durable + 1).offset, cut)
  handle.dataSyncNow()
  return wiped || unproven
}
