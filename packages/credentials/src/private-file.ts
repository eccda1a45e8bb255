/**
 * Files that hold something secret: read only when nobody else can read them, and replaced as a whole.
 *
 * Decides what a readable file is. Leaves to others what stands in it.
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
  type Stats,
} from 'node:fs'
import { dirname, resolve } from 'node:path'
import { UnderstudyError } from '@understudy/contracts'

/** A list with thousands of credentials is far below it. */
const BYTES_MAX = 16 * 1024 * 1024

export interface PrivateFile {
  readonly text: string
  /** Changes whenever the file does. */
  readonly stamp: string
}

/** Throws `CREDENTIALS_INVALID`. */
export function readPrivateFile(path: string): PrivateFile {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (error) {
    throw invalid(path, `cannot be read (${codeOf(error)})`, 'Check the path and who may read it.', error)
  }
  try {
    const stat = fstatSync(file)
    const { mode, size } = stat
    if (process.platform !== 'win32' && (mode & 0o077) !== 0)
      throw invalid(path, 'can be read or written by others', `Run: chmod 600 ${path}`)
    if (size > BYTES_MAX) throw invalid(path, `has ${size} bytes`, 'That is no file of credentials.')
    return { text: readFileSync(file, 'utf8'), stamp: stampOf(stat) }
  } finally {
    closeSync(file)
  }
}

/** As `PrivateFile.stamp`; without the file it says so. */
export function stampAt(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat === undefined ? 'missing' : stampOf(stat)
}

function stampOf({ ino, size, mtimeMs, ctimeMs }: Stats): string {
  return `${ino} ${size} ${mtimeMs} ${ctimeMs}`
}

/** Writes aside and renames, readable by the owner alone. `exclusive`: throws when the file exists. */
export function writePrivateFile(
  path: string,
  text: string,
  options: { readonly exclusive?: boolean } = {},
): void {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants
  const aside = options.exclusive === true ? path : `${path}.new-${process.pid}`
  let file: number
  try {
    file = openSync(aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
  } catch (error) {
    const advice =
      codeOf(error) === 'EEXIST' ? 'It was kept; name another file, or remove it.' : 'Check the folder.'
    throw invalid(aside, `cannot be made (${codeOf(error)})`, advice, error)
  }
  try {
    writeSync(file, text)
    fsyncSync(file)
  } catch (error) {
    rmSync(aside, { force: true })
    throw invalid(
      aside,
      `cannot be written (${codeOf(error)})`,
      'Nothing was changed; check the disk.',
      error,
    )
  } finally {
    closeSync(file)
  }
  if (aside !== path) renameSync(aside, path)
  syncFolder(dirname(resolve(path)))
}

export function invalid(path: string, what: string, advice: string, cause?: unknown): UnderstudyError {
  return new UnderstudyError('CREDENTIALS_INVALID', `The file of credentials ${path} ${what}. ${advice}`, {
    path,
    ...(cause !== undefined && { cause }),
  })
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'an unknown error'
}
