import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { LogPoint, Recorder, SnapshotSource, WriteTransaction } from '@understudy/contracts'
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

/** Runs `sql` on the database at `path` in another process. */
export function elsewhere(path: string, sql: string): { ok: boolean; errcode?: number } {
  const program = fileURLToPath(new URL('programs/other-process.ts', import.meta.url))
  const output = execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', program, path, sql])
  return JSON.parse(output.toString()) as { ok: boolean; errcode?: number }
}

/** The whole image of a snapshot, read in pieces of `pieceBytes`. */
export async function readImage(
  snapshot: SnapshotSource,
  pieceBytes: number = 1024 * 1024,
): Promise<Uint8Array> {
  const image = new Uint8Array(snapshot.totalBytes)
  for (let offset = 0; offset < image.length;) {
    const count = await snapshot.read(image.subarray(offset, offset + pieceBytes), offset)
    if (count === 0) throw new Error(`nothing came at ${offset}`)
    offset += count
  }
  return image
}

/** Copies a file that a connection of this process may have open: in another process, so that no lock is dropped. */
export function copyElsewhere(from: string, to: string): void {
  execFileSync('cp', [from, to])
}

/** The database and its log as a crash would leave them now, elsewhere. */
export function crashed(path: string, bytes?: number): string {
  const to = join(temporaryFolder(), 'data.db')
  for (const suffix of ['', '-wal']) copyElsewhere(path + suffix, to + suffix)
  if (bytes !== undefined) writeFileSync(`${to}-wal`, readFileSync(`${to}-wal`).subarray(0, bytes))
  return to
}
