/** A leader and its followers, page by page, without a log between them. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished } from 'vitest'
import type { CommittedPages, LogPoint, WriteTransaction } from '@understudy/contracts'
import { openStorage, type SqliteStorage, type StorageOptions } from '../src/index.ts'
import { opened, point, readImage, recorder, temporaryFolder } from './helpers.ts'

/** What travels: copies of the pages of one transaction. */
export interface Shipped {
  readonly pageCount: number
  readonly pages: readonly { page: number; image: Uint8Array; previous: Uint8Array | undefined }[]
}

export interface Leader {
  readonly storage: SqliteStorage
  readonly path: string
  /** One physical transaction; its pages, or `undefined` when that cannot be told. */
  readonly write: (body: (tx: WriteTransaction) => void) => Shipped | undefined
}

/** A storage that writes physical transactions. */
export function leader(options: Partial<StorageOptions> = {}): Leader {
  const path = options.path ?? join(temporaryFolder(), 'leader.db')
  const storage = opened({ ...options, path })
  let lsn = storage.applied.lsn
  const write = (body: (tx: WriteTransaction) => void): Shipped | undefined => {
    commitBefore(storage, point(lsn), body)
    lsn++
    const committed = storage.connection.pages.committed()
    const shipped = committed === undefined ? undefined : copied(committed)
    storage.settle(point(lsn))
    return shipped
  }
  // Makes it physical; what was committed at open is no transaction that anybody lacks.
  write((tx) => tx.exec('create table if not exists t (id integer primary key, v)'))
  return { storage, path, write }
}

export function commitBefore(
  storage: SqliteStorage,
  at: LogPoint,
  body: (tx: WriteTransaction) => void,
): void {
  storage.begin()
  storage.write(body, recorder(), { alone: true })
  storage.markBefore(at)
  storage.commit()
}

export function copied(committed: CommittedPages): Shipped {
  const pages = Array.from(committed.pages, ({ page, image, previous }) => ({
    page,
    image: image.slice(),
    previous: previous?.slice(),
  }))
  return { pageCount: committed.pageCount, pages }
}

/** A follower with the leader's file as it is now. */
export async function follower(
  of: SqliteStorage,
  options: Partial<StorageOptions> = {},
): Promise<SqliteStorage> {
  const path = join(temporaryFolder(), 'follower.db')
  const snapshot = await of.snapshot()
  writeFileSync(path, await readImage(snapshot))
  const at = snapshot.point
  await snapshot.close()
  const storage = openStorage({ ...options, path })
  onTestFinished(() => storage.close())
  storage.settle(at)
  return storage
}

/** Applies what was shipped as one transaction, checked against the images before. */
export function apply(storage: SqliteStorage, shipped: Shipped | undefined): void {
  if (shipped === undefined) throw new Error('nothing was shipped')
  const { pages } = storage.connection
  storage.begin()
  for (const { page, image, previous } of shipped.pages) {
    const base = pages.read(page)
    if (previous !== undefined && (base === undefined || Buffer.compare(base, previous) !== 0))
      throw new Error(`the image of page ${page} before differs`)
    pages.stage(page, image)
  }
  pages.resize(shipped.pageCount)
  storage.commit()
  storage.settle(point(storage.applied.lsn + 1))
}

/** The database file after everything is in it. Another process reads it: no lock is dropped. */
export async function fileOf(storage: SqliteStorage): Promise<Buffer> {
  await storage.checkpoint()
  // Of a long log the first one ends with a frame that lets it begin anew.
  await storage.checkpoint()
  if (storage.uncheckpointedBytes > 0) throw new Error('the checkpoint did not complete')
  return execFileSync('cat', [pathOf(storage)], { maxBuffer: 1 << 30 })
}

export function pathOf(storage: SqliteStorage): string {
  return String(storage.connection.database.location())
}

/** What SQLite says of the database, on a connection that has cached nothing. */
export function integrity(storage: SqliteStorage): unknown {
  const database = new DatabaseSync(pathOf(storage), { readOnly: true })
  const { integrity_check: answer } = database.prepare('pragma integrity_check').get() as {
    integrity_check: unknown
  }
  database.close()
  return answer
}

/** Runs SQL on the writer past the storage, as the project's own code can. */
export function past(storage: SqliteStorage, sql: string): void {
  const { limits } = storage.connection.database
  // VACUUM attaches a database.
  if (sql === 'vacuum') limits.attach = 1
  storage.connection.internal(() => storage.connection.database.exec(sql))
  limits.attach = 0
}

/** Expects the follower's file to be the leader's, byte for byte. */
export async function expectSameFile(copy: SqliteStorage, storage: SqliteStorage): Promise<void> {
  expect(integrity(copy)).toBe('ok')
  const [theirs, ours] = [await fileOf(copy), await fileOf(storage)]
  expect(theirs.length).toBe(ours.length)
  expect(Buffer.compare(theirs, ours)).toBe(0)
}
