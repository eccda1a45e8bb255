/**
 * Files, as the log sees them: positioned reads, positioned writes, explicit syncs.
 *
 * Semantics (those of POSIX on a disk that may lose power):
 * 1. What was written but not synced may be lost, kept, torn or reordered by a crash, in units as small as 512 bytes.
 * 2. A successful `dataSync` makes the bytes and the size of that file durable, as written before the call began.
 * 3. Creating, renaming or removing a name is durable only after `syncDirectory` of its directory.
 * 4. After a failed sync the state of the unsynced bytes is unknown, and a later successful sync does not bring them
 *    back: the caller must stop trusting them.
 * 5. A full disk fails the write with `DISK_FULL`; a prefix of the bytes may have been written.
 *
 * Paths are plain strings. Errors are `UnderstudyError` (`DISK_FULL`, `READ_ONLY_DISK`, `STORAGE_FAILED`) with the
 * system's error as `cause`.
 */
export interface Files {
  /**
   * Opens a file. `create`: makes it when missing; `exclusive`: fails when it exists; `write`: for writing too.
   * Throws `STORAGE_FAILED` with `details.systemCode === 'ENOENT'` when it is missing and `create` is not given.
   */
  open(path: string, options?: OpenOptions): FileHandle
  exists(path: string): boolean
  /** Size in bytes without opening the file. */
  size(path: string): number
  /** Makes a directory with its parents; no effect when it exists. */
  makeDirectory(path: string): void
  /** Names (not paths) in a directory, sorted. */
  list(path: string): string[]
  /** Atomically gives `from` the name `to`, replacing what `to` named. */
  rename(from: string, to: string): void
  remove(path: string): void
  /** Makes names in this directory durable. */
  syncDirectory(path: string): void
}

export interface OpenOptions {
  readonly create?: boolean
  readonly exclusive?: boolean
  readonly write?: boolean
}

/** An open file. Not safe for SQLite's own files: see the descriptor rule in the README of `sqlite`. */
export interface FileHandle {
  readonly path: string
  size(): number
  /** Reads into `target` from `offset`; returns how many bytes came (fewer only at the end of the file). */
  read(target: Uint8Array, offset: number): number
  /** Writes the parts one after another at `offset`, all of them or throws. The parts may be reused after the call. */
  write(parts: readonly Uint8Array[], offset: number): void
  truncate(size: number): void
  /** fdatasync on the calling thread. */
  dataSyncNow(): void
  /** fdatasync off the calling thread. */
  dataSync(): Promise<void>
  /** No effect when closed already. */
  close(): void
}
