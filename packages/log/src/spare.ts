/**
 * Prepares the next segment file ahead of its use, so that an append that begins a new segment waits for little.
 *
 * A megabyte of zeros per timer tick, then a sync off the thread. A file that `collect` removes from the log is taken
 * as it is: what it holds has lower LSNs and another salt, so none of it can be taken for records of its new life.
 * A file that is wanted before it is ready is finished on the spot.
 *
 * Validity: 1. a file is handed out only when it has all its bytes, which whoever names it must sync; 2. a full disk while preparing costs nothing:
 * it is tried again when the file is needed; 3. any other error fails the log.
 */
import path from 'node:path'
import { isUnderstudyError, type Clock, type FileHandle, type Files, type Timer } from '@understudy/contracts'
import { prepareFile, SPARE_SUFFIX, writeZeros, type LogDirectory } from './segment-files.ts'

const STEP_BYTES = 1024 * 1024
const STEP_MS = 1

interface Preparing {
  readonly handle: FileHandle
  written: number
  syncing: boolean
}

export class Spare {
  readonly #dir: LogDirectory
  readonly #files: Files
  readonly #clock: Clock
  readonly #failed: (cause: unknown) => void
  readonly #file: string
  #current: Preparing | undefined
  #timer: Timer | undefined
  #blocked = false

  constructor(dir: LogDirectory, clock: Clock, failed: (cause: unknown) => void) {
    this.#dir = dir
    this.#files = dir.files
    this.#clock = clock
    this.#failed = failed
    this.#file = path.join(dir.path, `next${SPARE_SUFFIX}`)
  }

  get exists(): boolean {
    return this.#current !== undefined
  }

  /** Begins to prepare; no effect when one is there, or when the disk was found full. */
  start(): void {
    if (this.#current !== undefined || this.#timer !== undefined || this.#blocked) return
    this.#timer = this.#clock.schedule(STEP_MS, () => this.#step())
  }

  /** A file of at least `size` bytes, whole but perhaps not synced, for the caller to use and close. Throws what `Files` throws; then there is no file. */
  take(size: number): FileHandle {
    this.#blocked = false
    if (size > this.#dir.segmentBytes) {
      return prepareFile(this.#files, path.join(this.#dir.path, `large${SPARE_SUFFIX}`), size)
    }
    this.#cancel()
    const spare = this.#current
    if (spare === undefined) return prepareFile(this.#files, this.#file, this.#dir.segmentBytes)
    try {
      this.#write(spare, this.#dir.segmentBytes)
    } catch (error) {
      this.discard()
      throw error
    }
    this.#current = undefined
    return spare.handle
  }

  /** Makes a segment file of the usual size the spare. The caller syncs the directory. */
  adopt(file: string): void {
    this.#cancel()
    this.#files.rename(file, this.#file)
    const handle = this.#files.open(this.#file, { write: true })
    this.#current = { handle, written: this.#dir.segmentBytes, syncing: false }
  }

  /** Removes the spare, which frees its space. */
  discard(): void {
    this.#cancel()
    const spare = this.#current
    if (spare === undefined) return
    this.#current = undefined
    if (!spare.syncing) spare.handle.close()
    this.#files.remove(this.#file)
  }

  #cancel(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #step(): void {
    this.#timer = undefined
    try {
      this.#current ??= {
        handle: this.#files.open(this.#file, { create: true, write: true }),
        written: 0,
        syncing: false,
      }
      const spare = this.#current
      this.#write(spare, Math.min(spare.written + STEP_BYTES, this.#dir.segmentBytes))
      if (spare.written < this.#dir.segmentBytes) {
        this.#timer = this.#clock.schedule(STEP_MS, () => this.#step())
        return
      }
      this.#sync(spare)
    } catch (error) {
      this.#gaveUp(error)
    }
  }

  #write(spare: Preparing, upTo: number): void {
    if (spare.written >= upTo) return
    writeZeros(spare.handle, spare.written, upTo)
    spare.written = upTo
  }

  #sync(spare: Preparing): void {
    spare.syncing = true
    const ended = (): boolean => {
      spare.syncing = false
      if (this.#current === spare) return true
      spare.handle.close()
      return false
    }
    spare.handle.dataSync().then(
      () => {
        ended()
      },
      (error: unknown) => {
        if (ended()) this.#gaveUp(error)
        else this.#failed(error)
      },
    )
  }

  #gaveUp(error: unknown): void {
    this.#blocked = true
    try {
      this.discard()
    } catch (worse) {
      this.#failed(worse)
      return
    }
    if (!isUnderstudyError(error, 'DISK_FULL')) this.#failed(error)
  }
}
