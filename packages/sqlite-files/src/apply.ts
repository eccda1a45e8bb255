/**
 * Applies pages to a closed database file.
 *
 * Decides: whether the file may be written, and what a checkpoint would have left of it. Leaves to others: which pages
 * those are (`transactions.ts`). The only part of this package that opens files.
 *
 * 1. Nobody has the database open. As far as can be told without SQLite: it has no journal or log with content beside it,
 *    and (Linux) no process, this one included, holds a lock of SQLite on it. Opening the file here while this process has
 *    it open through SQLite would drop SQLite's locks, so that is looked at first.
 * 2. The pages are of this database and the next ones: page sizes are equal, and every page beyond the old end is there.
 * 3. The result is synced before this returns. It is not atomic: after a crash apply the same pages again.
 */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  writeSync,
} from 'node:fs'
import { isUnderstudyError, UnderstudyError, type ErrorCode } from '@understudy/contracts'
import { DATABASE_HEADER_BYTES, lockPage, readDatabaseHeader } from './database-header.ts'
import { readImage, type ImagePlace, type PageSet } from './transactions.ts'

/** SQLite's lock bytes in a database file, as in the lines of /proc/locks. */
const LOCK_BYTES = [0x4000_0000, 0x4000_01ff] as const

/**
 * Writes every page of `pages` into the database at `path`, which nobody may have open, cuts or grows it to its page
 * count, and syncs it: what SQLite's own checkpoint makes of it. An empty file is filled.
 * Throws `DATABASE_UNSUITABLE` with nothing changed; `FILE_MALFORMED`, `DISK_FULL`, `READ_ONLY_DISK`.
 */
export function applyToDatabase(path: string, pages: PageSet): void {
  checkClosed(path)
  let descriptor: number | undefined
  try {
    descriptor = openSync(path, 'r+')
    checkSame(path, descriptor, pages)
    write(descriptor, pages)
    fsyncSync(descriptor)
  } catch (error) {
    throw explained(path, error)
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

function checkClosed(path: string): void {
  for (const suffix of ['-wal', '-journal'])
    if ((statSync(path + suffix, { throwIfNoEntry: false })?.size ?? 0) > 0)
      throw unsuitable(
        path,
        `${path}${suffix} has content, which SQLite would lay over what is written here`,
        'Open and close the database with SQLite first, which moves the content into the file; or, if it is of another database, remove it.',
      )
  const stats = statSync(path, { throwIfNoEntry: false, bigint: true })
  if (stats !== undefined && isLocked(String(stats.ino)))
    throw unsuitable(path, 'a process has it open', 'Close the database everywhere, then apply again.')
}

/** Whether a process holds one of SQLite's locks on the file; false where the system does not tell. */
function isLocked(inode: string): boolean {
  let text: string
  try {
    text = readFileSync('/proc/locks', 'latin1')
  } catch {
    return false
  }
  for (const line of text.split('\n')) {
    // 1: POSIX ADVISORY READ 4711 08:01:1234567 1073741826 1073742335
    const match = /\s[0-9a-f]+:[0-9a-f]+:(\d+)\s+(\d+)\s+(\d+|EOF)\s*$/.exec(line)
    if (match === null || match[1] !== inode) continue
    const first = Number(match[2])
    if (first >= LOCK_BYTES[0] && first <= LOCK_BYTES[1]) return true
  }
  return false
}

function checkSame(path: string, descriptor: number, pages: PageSet): void {
  const { size } = fstatSync(descriptor)
  const { pageBytes, pageCount } = pages
  if (size > 0) {
    const head = new Uint8Array(DATABASE_HEADER_BYTES)
    const got = readSync(descriptor, head, 0, head.length, 0)
    const header = readDatabaseHeader(head.subarray(0, got))
    if (header.pageBytes !== pageBytes)
      throw unsuitable(
        path,
        `it has pages of ${header.pageBytes} bytes, what is to be applied has ${pageBytes}`,
        'Give pages of the same database.',
      )
  }
  const first = Math.ceil(size / pageBytes) + 1
  for (let page = first; page <= pageCount; page++)
    if (!pages.pages.has(page) && page !== lockPage(pageBytes))
      throw unsuitable(
        path,
        `it ends before page ${page}, which is not among those to be applied`,
        'Apply the transactions before them first, or give a copy of the database that is as new.',
      )
}

function write(descriptor: number, { pageBytes, pageCount, pages }: PageSet): void {
  const image = new Uint8Array(pageBytes)
  // In the order of the file: that is how disks like it.
  for (const [page, place] of [...pages].sort(([a], [b]) => a - b)) {
    if (page > pageCount || page === lockPage(pageBytes)) continue
    read(place, image)
    for (let done = 0; done < pageBytes;)
      done += writeSync(descriptor, image, done, pageBytes - done, (page - 1) * pageBytes + done)
  }
  ftruncateSync(descriptor, pageCount * pageBytes)
}

function read(place: ImagePlace, image: Uint8Array): void {
  try {
    readImage(place, image)
  } catch (error) {
    if (!isUnderstudyError(error, 'FILE_MALFORMED')) throw error
    throw new UnderstudyError(
      'FILE_MALFORMED',
      'The log ends before an image that it held when it was looked at. Some pages may be written. Apply the same ' +
        'pages again, from the whole log.',
      { cause: error, ...error.details },
    )
  }
}

const SYSTEM_CODES: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'DISK_FULL',
  EDQUOT: 'DISK_FULL',
  EROFS: 'READ_ONLY_DISK',
  EACCES: 'READ_ONLY_DISK',
  EPERM: 'READ_ONLY_DISK',
}

function explained(path: string, error: unknown): unknown {
  const system = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : ''
  const code = SYSTEM_CODES[system]
  if (code !== 'DISK_FULL' && code !== 'READ_ONLY_DISK') return error
  const text = error instanceof Error ? error.message : String(error)
  const [kept, advice] =
    code === 'DISK_FULL'
      ? ['Some pages may be written', 'Free some space and apply the same pages again']
      : ['Nothing was changed', 'Make the file writable for this process']
  return new UnderstudyError(
    code,
    `The pages could not be written to ${path}: ${text}. ${kept}. ${advice}.`,
    {
      cause: error,
      path,
    },
  )
}

function unsuitable(path: string, why: string, advice: string): UnderstudyError {
  return new UnderstudyError(
    'DATABASE_UNSUITABLE',
    `The pages cannot be applied to ${path}: ${why}. Nothing was changed. ${advice}`,
    { path },
  )
}
