/** Files that count what is written to a log: the bytes of its segments, as they are handed to the system. */
import type { FileHandle, Files, OpenOptions } from '@understudy/contracts'

export class CountedFiles {
  #logBytes = 0
  readonly files: Files

  constructor(inner: Files) {
    const count = (handle: FileHandle): FileHandle => this.#counted(handle)
    this.files = {
      open: (path, options?: OpenOptions) => {
        const handle = inner.open(path, options)
        return path.endsWith('.segment') ? count(handle) : handle
      },
      exists: (path) => inner.exists(path),
      size: (path) => inner.size(path),
      makeDirectory: (path) => inner.makeDirectory(path),
      list: (path) => inner.list(path),
      rename: (from, to) => inner.rename(from, to),
      remove: (path) => inner.remove(path),
      syncDirectory: (path) => inner.syncDirectory(path),
    }
  }

  get logBytes(): number {
    return this.#logBytes
  }

  #counted(inner: FileHandle): FileHandle {
    return {
      path: inner.path,
      size: () => inner.size(),
      read: (target, offset) => inner.read(target, offset),
      write: (parts, offset) => {
        for (const part of parts) this.#logBytes += part.length
        inner.write(parts, offset)
      },
      truncate: (size) => inner.truncate(size),
      dataSyncNow: () => inner.dataSyncNow(),
      dataSync: () => inner.dataSync(),
      close: () => inner.close(),
    }
  }
}
