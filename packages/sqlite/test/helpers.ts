import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { LogPoint, Recorder, WriteTransaction } from '@understudy/contracts'
import { openStorage, type SqliteStorage, type StorageOptions } from '../src/index.ts'

/** A folder that is gone after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-sqlite-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A storage that is closed after the test. */
export function opened(options: Partial<StorageOptions> = {}): SqliteStorage {
  const storage = openStorage({ path: join(temporaryFolder(), 'data.db'), ...options })
  onTestFinished(() => storage.close())
  return storage
}

/** A recorder that notes what it is told. */
export function recorder(calls: string[] = []): Recorder {
  const note =
    (name: string): (() => void) =>
    () =>
      void calls.push(name)
  return {
    beginGroup: note('beginGroup'),
    beginWrite: note('beginWrite'),
    endWrite: note('endWrite'),
    abandonWrite: note('abandonWrite'),
    finishGroup: () => [],
    abandonGroup: note('abandonGroup'),
    close: note('close'),
  }
}

export function point(lsn: number): LogPoint {
  return { epoch: 1, lsn, crc: lsn * 7 }
}

/** One group of one write, committed at `lsn`. */
export function commitOne<R>(storage: SqliteStorage, lsn: number, body: (tx: WriteTransaction) => R): R {
  storage.begin()
  try {
    const result = storage.write(body, recorder(), { alone: true })
    storage.mark(point(lsn))
    storage.commit()
    return result
  } catch (error) {
    storage.rollback()
    throw error
  }
}
