/**
 * An open file of a simulated disk: checks of what the handle may do, in front of the inode.
 *
 * Decides: what a write does on a full disk, which part of the file a sync covers.
 * Leaves to others: what is durable (inode.ts), which calls fail (disk.ts).
 */
import { UnderstudyError, type FileHandle } from '@understudy/contracts'
import type { Inode } from './inode.ts'

export type DiskOperation =
  | 'open'
  | 'read'
  | 'write'
  | 'truncate'
  | 'dataSync'
  | 'rename'
  | 'remove'
  | 'syncDirectory'

/** What an open file needs of its disk. */
export interface FileBackend {
  alive(): boolean
  check(operation: DiskOperation, path: string): void
  checkWritable(path: string): void
  freeBytes(): number
  wrote(path: string, offset: number, bytes: number): void
  /** Ends a sync of everything before `mark`; throws when it is to fail. */
  sync(path: string, inode: Inode, mark: number): void
  /** Calls after the time that a sync takes, unless the disk crashed meanwhile. */
  later(run: () => void): void
}

/** The error that a failed system call becomes. */
export function systemError(systemCode: string, message: string): UnderstudyError {
  return new UnderstudyError('STORAGE_FAILED', `${message} (${systemCode}, simulated)`, { systemCode })
}

export class SimulatedFile implements FileHandle {
  readonly path: string
  readonly #backend: FileBackend
  readonly #inode: Inode
  readonly #writable: boolean
  #open = true

  constructor(backend: FileBackend, path: string, inode: Inode, writable: boolean) {
    this.#backend = backend
    this.path = path
    this.#inode = inode
    this.#writable = writable
  }

  size(): number {
    this.#checkAlive()
    return this.#inode.size
  }

  read(target: Uint8Array, offset: number): number {
    this.#checkAlive()
    this.#backend.check('read', this.path)
    return this.#inode.read(target, offset)
  }

  write(parts: readonly Uint8Array[], offset: number): void {
    this.#checkChange()
    this.#backend.check('write', this.path)
    let at = offset
    for (const part of parts) {
      const free = this.#backend.freeBytes()
      const growth = Math.max(0, at + part.byteLength - this.#inode.size)
      if (growth > free) {
        this.#inode.write(part.subarray(0, Math.max(0, part.byteLength - (growth - free))), at)
        throw new UnderstudyError(
          'DISK_FULL',
          `${this.path}: no space is left; a part of the write may be in the file.`,
          { systemCode: 'ENOSPC', path: this.path },
        )
      }
      this.#inode.write(part, at)
      at += part.byteLength
    }
    this.#backend.wrote(this.path, offset, at - offset)
  }

  truncate(size: number): void {
    this.#checkChange()
    this.#backend.check('truncate', this.path)
    if (size - this.#inode.size > this.#backend.freeBytes()) {
      throw new UnderstudyError('DISK_FULL', `${this.path}: no space is left; the file was not extended.`, {
        systemCode: 'ENOSPC',
        path: this.path,
      })
    }
    this.#inode.truncate(size)
  }

  dataSyncNow(): void {
    this.#checkAlive()
    this.#backend.sync(this.path, this.#inode, this.#inode.syncMark())
  }

  dataSync(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#checkAlive()
      const mark = this.#inode.syncMark()
      this.#backend.later(() => {
        try {
          this.#backend.sync(this.path, this.#inode, mark)
          resolve()
        } catch (error) {
          reject(error)
        }
      })
    })
  }

  close(): void {
    this.#open = false
  }

  #checkAlive(): void {
    if (!this.#open) throw new UnderstudyError('CLOSED', `${this.path} was closed.`)
    if (!this.#backend.alive()) throw systemError('EBADF', `${this.path} was opened before the crash.`)
  }

  #checkChange(): void {
    this.#checkAlive()
    if (!this.#writable) throw systemError('EBADF', `${this.path} was not opened for writing.`)
    this.#backend.checkWritable(this.path)
  }
}
