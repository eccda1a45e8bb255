/**
 * The folder of lost tails: their names, reading one, what became of it.
 *
 * 1. `<epoch>-<first lsn>-<last lsn>-<crc>.tail` is a lost tail; `….tail.applied` beside it says that it was applied, and where.
 * 2. Nothing of a file is used before all of it was checked.
 */
import { join } from 'node:path'
import {
  UnderstudyError,
  type FileHandle,
  type Files,
  type LogPoint,
  type LogRecord,
} from '@understudy/contracts'
import {
  chained,
  checkMagic,
  damaged,
  decodeBody,
  decodeEntryHead,
  ENTRY_HEAD_BYTES,
  MAGIC,
  type Entry,
  type LostTailHeader,
} from './file-format.ts'

const NAME = /^(\d+-\d+-\d+-[0-9a-f]{8})\.tail$/

export interface LostTailFile {
  /** Name for commands, such as `3-1042-1100-0badcafe`. */
  readonly id: string
  readonly path: string
  /** What `apply` left, when it was applied. */
  readonly applied: AppliedNote | undefined
}

export interface AppliedNote {
  /** Position of the write on the new leader; missing when all of it was there already. */
  readonly position?: string
  readonly atMs: number
  /** Transactions that it brought, of how many. */
  readonly transactions: number
  readonly of: number
}

export function lostTailPath(directory: string, common: LogPoint, end: LogPoint): string {
  const crc = end.crc.toString(16).padStart(8, '0')
  return join(directory, `${end.epoch}-${common.lsn + 1}-${end.lsn}-${crc}.tail`)
}

/** Lost tails of a folder, by name; none when it does not exist. */
export function listLostTails(files: Files, directory: string): LostTailFile[] {
  if (!files.exists(directory)) return []
  return files.list(directory).flatMap((name) => {
    const id = NAME.exec(name)?.[1]
    if (id === undefined) return []
    const path = join(directory, name)
    return [{ id, path, applied: readNote(files, path) }]
  })
}

/** Throws `INVALID_ARGUMENT` when there is none of that name. */
export function findLostTail(files: Files, directory: string, id: string): LostTailFile {
  const all = listLostTails(files, directory)
  const found = all.find((file) => file.id === id)
  if (found !== undefined) return found
  const known = all.length === 0 ? 'there is none' : `there are: ${all.map((file) => file.id).join(', ')}`
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `No lost tail is called ${id} in ${directory}; ${known}. Nothing was done.`,
  )
}

/** Records of a whole file. Throws `STATE_CORRUPT`, `FORMAT_VERSION`, or what the disk throws. */
export function readRecords(
  files: Files,
  path: string,
): { readonly header: LostTailHeader; readonly records: readonly LogRecord[] } {
  const handle = files.open(path)
  try {
    return collect(entriesOf(handle, path), path)
  } finally {
    handle.close()
  }
}

export function isWholeLostTail(files: Files, path: string): boolean {
  try {
    readRecords(files, path)
    return true
  } catch (error) {
    if (error instanceof UnderstudyError && error.code === 'STATE_CORRUPT') return false
    throw error
  }
}

/** Notes that it was applied; durable when it returns. */
export function noteApplied(files: Files, file: LostTailFile, note: AppliedNote): void {
  const aside = `${file.path}.applied.part`
  const handle = files.open(aside, { create: true, write: true })
  try {
    handle.truncate(0)
    handle.write([Buffer.from(`${JSON.stringify(note)}\n`)], 0)
    handle.dataSyncNow()
  } finally {
    handle.close()
  }
  files.rename(aside, `${file.path}.applied`)
  files.syncDirectory(join(file.path, '..'))
}

/** Removes it for good, with its note and its rows. */
export function discardLostTail(files: Files, file: LostTailFile): void {
  files.remove(file.path)
  for (const beside of [`${file.path}.applied`, `${file.path}.rows`])
    if (files.exists(beside)) files.remove(beside)
  files.syncDirectory(join(file.path, '..'))
}

function readNote(files: Files, path: string): AppliedNote | undefined {
  const note = `${path}.applied`
  if (!files.exists(note)) return undefined
  const handle = files.open(note)
  try {
    const bytes = new Uint8Array(Math.min(handle.size(), 65_536))
    handle.read(bytes, 0)
    return JSON.parse(Buffer.from(bytes).toString()) as AppliedNote
  } catch (cause) {
    throw damaged(note, `it cannot be read (${cause instanceof Error ? cause.message : String(cause)})`)
  } finally {
    handle.close()
  }
}

function* entriesOf(handle: FileHandle, path: string): Generator<{ entry: Entry; crc: number }> {
  const size = handle.size()
  const first = new Uint8Array(Math.min(size, MAGIC.length + 16))
  handle.read(first, 0)
  const lineEnd = first.indexOf(0x0a)
  checkMagic(Buffer.from(first.subarray(0, Math.max(lineEnd, 0))).toString('latin1'), path)
  let offset = lineEnd + 1
  while (offset < size) {
    const head = new Uint8Array(ENTRY_HEAD_BYTES)
    if (handle.read(head, offset) < ENTRY_HEAD_BYTES) throw damaged(path, 'it ends inside an entry')
    const { length, crc } = decodeEntryHead(head, path)
    if (offset + ENTRY_HEAD_BYTES + length > size) throw damaged(path, 'it ends inside an entry')
    const body = new Uint8Array(length)
    handle.read(body, offset + ENTRY_HEAD_BYTES)
    yield { entry: decodeBody(body, crc, path), crc }
    offset += ENTRY_HEAD_BYTES + length
  }
}

function collect(
  entries: Iterable<{ entry: Entry; crc: number }>,
  path: string,
): { header: LostTailHeader; records: LogRecord[] } {
  let header: LostTailHeader | undefined
  let chain = 0
  let isOver = false
  const records: LogRecord[] = []
  for (const { entry, crc } of entries) {
    if (isOver) throw damaged(path, 'something follows its end')
    if (entry.kind === 'header') {
      if (header !== undefined) throw damaged(path, 'it has two headers')
      ;({ header } = entry)
    } else if (header === undefined) {
      throw damaged(path, 'it has no header')
    } else if (entry.kind === 'record') {
      checkOrder(records.at(-1) ?? header.after ?? header.common, entry.record, path)
      records.push(entry.record)
    } else {
      isOver = entry.chain === chain && entry.records === records.length
      if (!isOver) throw damaged(path, 'entries are missing')
    }
    chain = chained(chain, crc)
  }
  if (header === undefined || !isOver) throw damaged(path, 'it was not finished')
  const last = records.at(-1)
  if (last?.lsn !== header.end.lsn || last.crc !== header.end.crc)
    throw damaged(path, 'it ends at another record')
  return { header, records }
}

function checkOrder(before: LogPoint, record: LogRecord, path: string): void {
  const follows = record.lsn === before.lsn + 1 && record.previousCrc === before.crc
  if (!follows) throw damaged(path, `record ${record.lsn} does not follow the one before it`)
}
