/** Against files that SQLite itself wrote: every page size, both header kinds, committed and open transactions, restarts. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import {
  addToChecksum,
  isLittleEndianMachine,
  lockPage,
  readDatabaseHeader,
  readWalFrameHeader,
  readWalHeader,
  readWalIndexHeader,
  readWalIndexPages,
  sameSalts,
  WAL_HEADER_BYTES,
  walFrameOffset,
  walFrames,
  walOverlay,
  type WalIndexHeader,
} from '../src/index.ts'

const PAGE_SIZES = [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536]
const MALFORMED = expect.objectContaining({ code: 'FILE_MALFORMED' })

interface Sample {
  readonly database: DatabaseSync
  readonly path: string
}

function sample(pageBytes = 4096): Sample {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-files-'))
  const path = join(folder, 'data.db')
  const database = new DatabaseSync(path)
  onTestFinished(() => {
    if (database.isOpen) database.close()
    rmSync(folder, { recursive: true })
  })
  database.exec(`pragma page_size = ${pageBytes}; pragma journal_mode = wal; pragma wal_autocheckpoint = 0;
    create table t (id integer primary key, v)`)
  return { database, path }
}

/** The bytes of a file that a connection of this process has open, read in another process: no lock is dropped. */
function bytesOf(path: string): Uint8Array {
  return new Uint8Array(execFileSync('cat', [path], { maxBuffer: 1 << 28 }))
}

function indexOf(path: string): { header: WalIndexHeader; pages: Uint32Array } {
  const bytes = bytesOf(`${path}-shm`)
  const header = readWalIndexHeader(bytes)
  if (header === undefined) throw new Error('a writer was in between')
  const pages = readWalIndexPages((target, offset) => {
    const part = bytes.subarray(offset, offset + target.length)
    target.set(part)
    return part.length
  }, header.mxFrame)
  return { header, pages }
}

test.each(PAGE_SIZES)(
  'headers, frames and wal-index agree with SQLite, with pages of %i bytes',
  (pageBytes) => {
    const { database, path } = sample(pageBytes)
    database.exec('pragma user_version = -5; pragma application_id = 77')
    for (let round = 0; round < 20; round++)
      database.exec(`insert into t (v) values (randomblob(${pageBytes}))`)
    const wal = bytesOf(`${path}-wal`)
    const walHeader = readWalHeader(wal)
    const { header, pages } = indexOf(path)
    expect(walHeader.pageBytes).toBe(pageBytes)
    expect(header.pageBytes).toBe(pageBytes)
    expect(sameSalts(walHeader.salts, header.salts)).toBe(true)
    expect(header.littleEndianChecksums).toBe(walHeader.littleEndianChecksums)
    expect(header.nBackfill).toBe(0)
    const frames = [...walFrames(wal)]
    expect(frames.length).toBe(header.mxFrame)
    expect(frames.map(({ page }) => page)).toEqual([...pages])
    expect(frames.at(-1)).toMatchObject({ commitPages: header.pageCount, checksum: header.frameChecksum })
    expect(header.pageCount).toBe(database.prepare('pragma page_count').get()?.['page_count'])
    expect(readWalFrameHeader(wal, walFrameOffset(2, pageBytes)).page).toBe(frames[1]?.page)
    // All moved: the database file says the same.
    database.exec('pragma wal_checkpoint(passive)')
    expect(indexOf(path).header).toMatchObject({
      nBackfill: header.mxFrame,
      nBackfillAttempted: header.mxFrame,
    })
    expect(readDatabaseHeader(bytesOf(path))).toMatchObject({
      pageBytes,
      wal: true,
      userVersion: -5,
      applicationId: 77,
      textEncoding: 'utf8',
      pageCount: header.pageCount,
      sizeValid: true,
    })
  },
)

test.each(PAGE_SIZES)('file and overlay together are the database, with pages of %i bytes', (pageBytes) => {
  const { database, path } = sample(pageBytes)
  for (let round = 0; round < 30; round++)
    database.exec(`insert into t (v) values (randomblob(${pageBytes / 2}))`)
  database.exec('pragma wal_checkpoint(passive)')
  database.exec('update t set v = 1 where id % 3 = 0; delete from t where id > 20; vacuum')
  const { header } = indexOf(path)
  const wal = bytesOf(`${path}-wal`)
  const overlay = walOverlay(wal, header.mxFrame)
  expect(overlay).toMatchObject({ mark: header.mxFrame, pageCount: header.pageCount })
  const image = new Uint8Array(overlay.pageCount * pageBytes)
  image.set(bytesOf(path).subarray(0, image.length))
  for (const [page, offset] of overlay.pages)
    image.set(wal.subarray(offset, offset + pageBytes), (page - 1) * pageBytes)
  database.exec('pragma wal_checkpoint(truncate)')
  expect(Buffer.compare(image, bytesOf(path))).toBe(0)
})

test('an overlay ends at the mark, and at the last commit below it', () => {
  const { database, path } = sample()
  const marks = [indexOf(path).header]
  for (let round = 0; round < 5; round++) {
    database.exec('insert into t (v) values (zeroblob(9000))')
    marks.push(indexOf(path).header)
  }
  const wal = bytesOf(`${path}-wal`)
  for (const { mxFrame, pageCount } of marks)
    expect(walOverlay(wal, mxFrame)).toMatchObject({ mark: mxFrame, pageCount })
  const [first, second] = marks as [WalIndexHeader, WalIndexHeader]
  expect(second.mxFrame).toBeGreaterThan(first.mxFrame + 1)
  expect(walOverlay(wal, second.mxFrame - 1).mark).toBe(first.mxFrame)
})

test('frames of a transaction that did not commit are valid, and in no overlay', () => {
  const { database, path } = sample()
  const before = indexOf(path).header.mxFrame
  database.exec('pragma cache_size = 10; pragma cache_spill = 10; begin')
  for (let round = 0; round < 200; round++) database.exec('insert into t (v) values (randomblob(3000))')
  const wal = bytesOf(`${path}-wal`)
  const frames = [...walFrames(wal)]
  expect(frames.length).toBeGreaterThan(before + 50)
  expect(frames.slice(before).every(({ commitPages }) => commitPages === 0)).toBe(true)
  expect(walOverlay(wal).mark).toBe(before)
  database.exec('rollback')
})

test('after a restart of the log, frames of its former life are none', () => {
  const { database, path } = sample()
  for (let round = 0; round < 20; round++) database.exec('insert into t (v) values (randomblob(3000))')
  const former = readWalHeader(bytesOf(`${path}-wal`))
  database.exec('pragma wal_checkpoint(restart)')
  database.exec('insert into t (v) values (1)')
  const wal = bytesOf(`${path}-wal`)
  expect(sameSalts(readWalHeader(wal).salts, former.salts)).toBe(false)
  expect([...walFrames(wal)].length).toBe(indexOf(path).header.mxFrame)
  expect(wal.length).toBeGreaterThan(walFrameOffset(20, 4096))
})

test('one flipped bit ends the log at its frame, wherever it is', () => {
  const { database, path } = sample(512)
  for (let round = 0; round < 4; round++) database.exec('insert into t (v) values (randomblob(200))')
  const wal = bytesOf(`${path}-wal`)
  const count = [...walFrames(wal)].length
  for (let offset = WAL_HEADER_BYTES; offset < walFrameOffset(count + 1, 512); offset++) {
    const damaged = wal.slice()
    damaged[offset] = (damaged[offset] as number) ^ (1 << (offset % 8))
    const frame = Math.floor((offset - WAL_HEADER_BYTES) / (512 + 24)) + 1
    expect([...walFrames(damaged)].length).toBe(frame - 1)
  }
  for (let offset = 0; offset < WAL_HEADER_BYTES; offset++) {
    const damaged = wal.slice()
    damaged[offset] = (damaged[offset] as number) ^ 1
    // The lowest bit of the magic chooses the byte order: a flip there shows in the checksum, too.
    expect(() => [...walFrames(damaged)]).toThrow(MALFORMED)
  }
})

test('a log whose checksums are big-endian reads the same: both orders, aligned or not', () => {
  const { database, path } = sample(512)
  for (let round = 0; round < 4; round++) database.exec('insert into t (v) values (randomblob(200))')
  const wal = bytesOf(`${path}-wal`)
  const frames = [...walFrames(wal)]
  const other = rewritten(wal, 512, !readWalHeader(wal).littleEndianChecksums)
  expect(readWalHeader(other).littleEndianChecksums).toBe(!readWalHeader(wal).littleEndianChecksums)
  const where = ({ page, commitPages, offset }: (typeof frames)[number]): unknown => [
    page,
    commitPages,
    offset,
  ]
  expect([...walFrames(other)].map(where)).toEqual(frames.map(where))
  const shifted = new Uint8Array(other.length + 1)
  shifted.set(other, 1)
  expect([...walFrames(shifted.subarray(1))].map(where)).toEqual(frames.map(where))
})

test('SQLite recovers a log with checksums of the other byte order, as this package reads it', () => {
  const { database, path } = sample(512)
  for (let round = 0; round < 4; round++) database.exec('insert into t (v) values (randomblob(200))')
  const folder = mkdtempSync(join(tmpdir(), 'understudy-files-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const wal = bytesOf(`${path}-wal`)
  execFileSync('cp', [path, join(folder, 'other.db')])
  const other = rewritten(wal, 512, !readWalHeader(wal).littleEndianChecksums)
  execFileSync('sh', ['-c', 'cat > "$0"', join(folder, 'other.db-wal')], { input: other })
  const recovered = new DatabaseSync(join(folder, 'other.db'))
  expect(recovered.prepare('select count(*) as n from t').get()).toEqual({ n: 4 })
  expect(recovered.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' })
  recovered.close()
})

/** The same log with its checksums in the given byte order. */
function rewritten(wal: Uint8Array, pageBytes: number, littleEndian: boolean): Uint8Array {
  const count = [...walFrames(wal)].length
  const out = wal.slice(0, walFrameOffset(count + 1, pageBytes))
  const view = new DataView(out.buffer)
  view.setUint32(0, littleEndian ? 0x377f_0682 : 0x377f_0683)
  const sum = { first: 0, second: 0 }
  addToChecksum(sum, out, 0, 24, littleEndian)
  view.setUint32(24, sum.first)
  view.setUint32(28, sum.second)
  for (let number = 1; number <= count; number++) {
    const offset = walFrameOffset(number, pageBytes)
    addToChecksum(sum, out, offset, offset + 8, littleEndian)
    addToChecksum(sum, out, offset + 24, offset + 24 + pageBytes, littleEndian)
    view.setUint32(offset + 16, sum.first)
    view.setUint32(offset + 20, sum.second)
  }
  return out
}

test('page numbers are found in every block of a long wal-index', () => {
  const { database, path } = sample(512)
  database.exec('begin')
  for (let round = 0; round < 5; round++) database.exec('insert into t (v) values (zeroblob(1000000))')
  database.exec('commit')
  const { header, pages } = indexOf(path)
  expect(header.mxFrame).toBeGreaterThan(4062 + 4096)
  expect([...walFrames(bytesOf(`${path}-wal`))].map(({ page }) => page)).toEqual([...pages])
})

test('a wal-index is undefined between its two header copies, and malformed when damaged', () => {
  const { path } = sample()
  const shm = bytesOf(`${path}-shm`)
  for (let offset = 0; offset < 96; offset++) {
    const damaged = shm.slice()
    damaged[offset] = (damaged[offset] as number) ^ 4
    expect(readWalIndexHeader(damaged)).toBeUndefined()
    damaged[(offset + 48) % 96] = damaged[offset] as number
    expect(() => readWalIndexHeader(damaged)).toThrow(MALFORMED)
  }
  expect(() => readWalIndexHeader(shm.subarray(0, 100))).toThrow(MALFORMED)
  expect(() => readWalIndexHeader(new Uint8Array(136))).toThrow(MALFORMED)
  expect(() => readWalIndexPages(() => 0, 3)).toThrow(MALFORMED)
  expect(() => readWalIndexPages((target) => target.length, 3)).toThrow(MALFORMED)
})

test('what is no database, or an empty or cut log, is told', () => {
  const { database, path } = sample()
  database.exec('pragma wal_checkpoint(truncate)')
  database.close()
  const bytes = new Uint8Array(readFileSync(path))
  expect(statSync(path).size).toBe(readDatabaseHeader(bytes).pageCount * 4096)
  expect(() => readDatabaseHeader(bytes.subarray(0, 99))).toThrow(MALFORMED)
  for (const offset of [0, 15, 16, 21, 22, 23]) {
    const damaged = bytes.slice()
    damaged[offset] = 0x33
    expect(() => readDatabaseHeader(damaged)).toThrow(MALFORMED)
  }
  expect([...walFrames(new Uint8Array(0))]).toEqual([])
  expect(walOverlay(new Uint8Array(0))).toEqual({ mark: 0, pageCount: 0, pages: new Map() })
  expect(() => [...walFrames(new Uint8Array(40))]).toThrow(MALFORMED)
  expect(() => readWalHeader(new Uint8Array(31))).toThrow(MALFORMED)
  expect(() => readWalFrameHeader(new Uint8Array(31), 8)).toThrow(MALFORMED)
})

test('a database in rollback mode says so, and the page of the locking bytes follows the page size', () => {
  const { database, path } = sample(8192)
  database.exec('pragma journal_mode = delete')
  expect(readDatabaseHeader(bytesOf(path))).toMatchObject({ wal: false, writeVersion: 1, readVersion: 1 })
  expect([512, 4096, 65_536].map(lockPage)).toEqual([2_097_153, 262_145, 16_385])
  expect(typeof isLittleEndianMachine()).toBe('boolean')
})
