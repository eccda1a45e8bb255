/** What the tests of the storage suite share: the storage under test, shortcuts, a recorder that notes its calls. */
import { UnderstudyError, type LogPoint, type Recorder, type Storage } from '@understudy/contracts'
import type { StorageUnderTest } from './storage.ts'

/** What the tests share. */
export class StorageBench<C, T> {
  #under: StorageUnderTest<C, T> | undefined
  #all: StorageUnderTest<C, T>[] = []

  open(under: StorageUnderTest<C, T>): StorageUnderTest<C, T> {
    this.#under = under
    this.#all.push(under)
    return under
  }

  /** Power loss; the survivor is the storage under test from then on. */
  async crash(): Promise<StorageUnderTest<C, T>> {
    const { crash } = this.under
    if (crash === undefined) throw new UnderstudyError('INVALID_ARGUMENT', 'This storage cannot be crashed.')
    return this.open(await crash())
  }

  /** Registers another storage for disposal. */
  also(under: StorageUnderTest<C, T>): StorageUnderTest<C, T> {
    this.#all.push(under)
    return under
  }

  get under(): StorageUnderTest<C, T> {
    if (this.#under === undefined) throw new UnderstudyError('INVALID_ARGUMENT', 'The suite was not opened.')
    return this.#under
  }

  get storage(): Storage<C, T> {
    return this.under.storage
  }

  recorder(): Recorder {
    return this.under.recorder?.() ?? new HookRecorder()
  }

  /** One write in the open transaction. */
  put(key: string, value: string, recorder: Recorder = new HookRecorder()): void {
    this.storage.write((tx) => this.under.put(tx, key, value), recorder)
  }

  /** A transaction of its own for one value, at this position. */
  commit(key: string, value: string, point?: LogPoint): void {
    const recorder = this.recorder()
    this.storage.begin()
    recorder.beginGroup()
    this.put(key, value, recorder)
    if (point !== undefined) this.storage.mark(point)
    recorder.finishGroup()
    this.storage.commit()
    recorder.close()
  }

  /** A physical transaction of its own for one value, right after this position. The storage is ahead then. */
  commitBefore(key: string, value: string, point: LogPoint): void {
    this.storage.begin()
    this.put(key, value)
    this.storage.markBefore(point)
    this.storage.commit()
  }

  async close(): Promise<void> {
    for (const under of this.#all.splice(0)) await under.dispose()
  }
}

/** Notes which hooks were called; records nothing. */
export class HookRecorder implements Recorder {
  readonly calls: string[] = []

  beginGroup(): void {
    this.calls.push('beginGroup')
  }
  beginWrite(): void {
    this.calls.push('beginWrite')
  }
  endWrite(): void {
    this.calls.push('endWrite')
  }
  abandonWrite(): void {
    this.calls.push('abandonWrite')
  }
  finishGroup(): readonly Uint8Array[] {
    this.calls.push('finishGroup')
    return []
  }
  abandonGroup(): void {
    this.calls.push('abandonGroup')
  }
  close(): void {
    this.calls.push('close')
  }
}

/** A position that tells its LSN apart in every field. */
export function pointAt(lsn: number): LogPoint {
  return { epoch: 1 + Math.floor(lsn / 10), lsn, crc: (lsn * 2_654_435_761) >>> 0 }
}
