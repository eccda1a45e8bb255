/**
 * Files on the operating system's file system, through node:fs.
 *
 * Decides how system errors become error codes, and that partial writes are completed. Leaves ordering and retries
 * to the callers: nothing here is retried after an error.
 *
 * Validity: 1. a descriptor is closed only after its last pending dataSync returned, because its number may be given
 * to another file at once; 2. files are made with mode 0600 and directories with 0700; 3. a symbolic link as the last
 * part of a path is refused.
 */
import fs from 'node:fs'
import nodePath from 'node:path'
import {
  UnderstudyError,
  type ErrorCode,
  type FileHandle,
  type Files,
  type OpenOptions,
} from '@understudy/contracts'

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'DISK_FULL',
  EDQUOT: 'DISK_FULL',
  EROFS: 'READ_ONLY_DISK',
  EACCES: 'READ_ONLY_DISK',
  EPERM: 'READ_ONLY_DISK',
}

const ADVICE: Readonly<Partial<Record<ErrorCode, string>>> = {
  DISK_FULL: 'No space was left. Files keep what was synced before. Free space and try again.',
  READ_ONLY_DISK: 'The path may not be written. Nothing changed. Check its owner, mode and mount options.',
}

/** The real `Files`. Holds no state; make one wherever it is needed. */
export function nodeFiles(): Files {
  return {
    open: openFile,
    exists: (path) => attempt('look for', path, () => fs.existsSync(path)),
    size: (path) => attempt('measure', path, () => fs.statSync(path).size),
    makeDirectory: (path) =>
      attempt('make directory', path, () => void fs.mkdirSync(path, { recursive: true, mode: 0o700 })),
    list: (path) => attempt('list', path, () => fs.readdirSync(path).sort()),
    rename: (from, to) => attempt(`rename to ${nodePath.basename(to)}`, from, () => fs.renameSync(from, to)),
    remove: (path) => attempt('remove', path, () => fs.unlinkSync(path)),
    syncDirectory: (path) => attempt('sync directory', path, () => syncDirectory(path)),
  }
}

function openFile(path: string, options: OpenOptions = {}): FileHandle {
  const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants
  let flags = options.write === true ? O_RDWR : O_RDONLY
  if (options.create === true) flags |= O_CREAT
  if (options.exclusive === true) flags |= O_EXCL | O_CREAT
  flags |= O_NOFOLLOW ?? 0
  return new NodeFileHandle(
    path,
    attempt('open', path, () => fs.openSync(path, flags, 0o600)),
  )
}

function syncDirectory(path: string): void {
  // Windows has no such call: its file systems order names by themselves.
  if (process.platform === 'win32') return
  const descriptor = fs.openSync(path, fs.constants.O_RDONLY)
  try {
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}

class NodeFileHandle implements FileHandle {
  readonly path: string
  readonly #descriptor: number
  #closed = false
  #syncs = 0

  constructor(path: string, descriptor: number) {
    this.path = path
    this.#descriptor = descriptor
  }

  size(): number {
    return attempt('measure', this.path, () => fs.fstatSync(this.#open()).size)
  }

  read(target: Uint8Array, offset: number): number {
    const descriptor = this.#open()
    return attempt('read', this.path, () => {
      let done = 0
      while (done < target.length) {
        const count = fs.readSync(descriptor, target, done, target.length - done, offset + done)
        if (count === 0) break
        done += count
      }
      return done
    })
  }

  write(parts: readonly Uint8Array[], offset: number): void {
    const descriptor = this.#open()
    try {
      const written =
        parts.length === 1
          ? fs.writeSync(descriptor, parts[0]!, 0, parts[0]!.length, offset)
          : fs.writevSync(descriptor, parts, offset)
      completeWrite(descriptor, parts, offset, written)
    } catch (cause) {
      throw fileError('write', this.path, cause)
    }
  }

  truncate(size: number): void {
    attempt('truncate', this.path, () => fs.ftruncateSync(this.#open(), size))
  }

  dataSyncNow(): void {
    const descriptor = this.#open()
    try {
      fs.fdatasyncSync(descriptor)
    } catch (cause) {
      throw fileError('sync', this.path, cause)
    }
  }

  dataSync(): Promise<void> {
    return new Promise((resolve, reject) => {
      const descriptor = this.#open()
      this.#syncs++
      fs.fdatasync(descriptor, (cause) => {
        this.#syncs--
        if (this.#closed && this.#syncs === 0) fs.closeSync(descriptor)
        if (cause === null) resolve()
        else reject(fileError('sync', this.path, cause))
      })
    })
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#syncs === 0) attempt('close', this.path, () => fs.closeSync(this.#descriptor))
  }

  #open(): number {
    if (this.#closed) {
      throw new UnderstudyError('CLOSED', `The file ${this.path} was closed; nothing was read or written.`)
    }
    return this.#descriptor
  }
}

/** The kernel may take fewer bytes than it was given; writes what is left, part by part. */
function completeWrite(
  descriptor: number,
  parts: readonly Uint8Array[],
  offset: number,
  written: number,
): void {
  let start = 0
  for (const part of parts) {
    const end = start + part.length
    while (written < end) {
      const from = written - start
      const count = fs.writeSync(descriptor, part, from, part.length - from, offset + written)
      if (count === 0) throw new Error('the system wrote nothing')
      written += count
    }
    start = end
  }
}

function attempt<T>(doing: string, path: string, run: () => T): T {
  try {
    return run()
  } catch (cause) {
    throw fileError(doing, path, cause)
  }
}

function fileError(doing: string, path: string, cause: unknown): UnderstudyError {
  if (cause instanceof UnderstudyError) return cause
  const systemCode = cause instanceof Error && 'code' in cause ? String(cause.code) : 'UNKNOWN'
  const code = CODES[systemCode] ?? 'STORAGE_FAILED'
  const advice = ADVICE[code] ?? 'Files keep what was synced before. Check the path and the disk.'
  return new UnderstudyError(code, `Could not ${doing} ${path}: ${systemCode}. ${advice}`, {
    cause,
    systemCode,
    path,
  })
}
