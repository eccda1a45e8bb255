import { execFileSync, spawnSync } from 'node:child_process'
import {
  closeSync,
  copyFileSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import {
  advanceWalIndexHeader,
  applyToDatabase,
  foldTransactions,
  lockPage,
  readImage,
  readWalHeader,
  readWalIndexHeader,
  WAL_FRAME_HEADER_BYTES,
  WAL_INDEX_BLOCK_BYTES,
  walFrameOffset,
  walFrames,
  WalIndexBlock,
  walIndexBlockOf,
  walTransactions,
  writeWalFrameHeader,
  writeWalHeader,
  writeWalIndexHeader,
  type PageSet,
} from '../src/index.ts'

const PAGE_SIZES = [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536]

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'understudy-files-'))
  onTestFinished(() => rmSync(made, { recursive: true }))
  return made
}

function database(path: string, settings: string): DatabaseSync {
  const opened = new DatabaseSync(path)
  onTestFinished(() => {
    if (opened.isOpen) opened.close()
  })
  opened.exec(`pragma synchronous = off; ${settings}`)
  return opened
}

/** Read in another process: no lock of a connection is dropped. */
function bytesOf(path: string): Uint8Array {
  return new Uint8Array(execFileSync('cat', [path], { maxBuffer: 1 << 28 }))
}

interface Shipment {
  /** The database as it was, closed. */
  readonly copy: string
  readonly wal: Uint8Array
  /** What SQLite's checkpoint of the same log left. */
  readonly expected: Uint8Array
}

/** A database before `work`, the log of `work`, and the database after. */
function shipment(settings: string, before: string, work: readonly string[]): Shipment {
  const directory = folder()
  const path = join(directory, 'data.db')
  const source = database(path, `${settings}; pragma journal_mode = wal; pragma wal_autocheckpoint = 0`)
  source.exec(before)
  source.exec('pragma wal_checkpoint(truncate)')
  const copy = join(directory, 'copy.db')
  execFileSync('cp', [path, copy])
  for (const sql of work) source.exec(sql)
  const wal = bytesOf(`${path}-wal`)
  source.exec('pragma wal_checkpoint(truncate)')
  return { copy, wal, expected: bytesOf(path) }
}

const ROWS = `with recursive n(i) as (select 1 union all select i + 1 from n where i < 150)
  insert into t (v) select randomblob(200 + i) from n`

const WORK: Record<string, readonly string[]> = {
  'inserts, updates and deletes': [
    ROWS,
    'update t set v = id where id % 5 = 0',
    'delete from t where id > 500',
    ROWS,
  ],
  'a large transaction': [
    `begin; ${ROWS}; ${ROWS}; ${ROWS}; update t set v = zeroblob(3000) where id % 3 = 0; commit`,
  ],
  VACUUM: ['delete from t where id % 2 = 0', 'vacuum'],
  'VACUUM, then growth again': ['delete from t where id > 20', 'vacuum', ROWS, ROWS, ROWS, ROWS, ROWS],
  'dropping most of it': [
    'create table u (x)',
    'insert into u select v from t',
    'drop table t',
    'vacuum',
    'drop table u',
  ],
}

for (const [name, work] of Object.entries(WORK))
  test.each(PAGE_SIZES)(
    `${name}: folded and applied is what SQLite's checkpoint makes (pages of %i bytes)`,
    (pageBytes) => {
      for (const vacuum of pageBytes === 1024 || pageBytes === 65_536 ? ['none', 'full'] : ['full']) {
        const { copy, wal, expected } = shipment(
          `pragma page_size = ${pageBytes}; pragma auto_vacuum = ${vacuum}`,
          `create table t (id integer primary key, v); create index i on t (v); ${ROWS}`,
          work,
        )
        const folded = foldTransactions(walTransactions(wal)) as PageSet
        expect(folded.pageBytes).toBe(pageBytes)
        applyToDatabase(copy, folded)
        expect(Buffer.compare(readFileSync(copy), expected)).toBe(0)
      }
    },
  )

test('transactions come one after another, and applied one by one they make the same file', () => {
  const { copy, wal, expected } = shipment('', `create table t (id integer primary key, v); ${ROWS}`, [
    'insert into t (v) values (1)',
    'delete from t where id < 120',
    'vacuum',
    ROWS,
  ])
  const transactions = [...walTransactions(wal)]
  expect(transactions).toHaveLength(4)
  for (const [index, { firstFrame }] of transactions.entries())
    expect(firstFrame).toBe((transactions[index - 1]?.lastFrame ?? 0) + 1)
  for (const transaction of transactions) applyToDatabase(copy, transaction)
  expect(Buffer.compare(readFileSync(copy), expected)).toBe(0)
  // Again, and from a reader instead of bytes: nothing changes.
  const source = (target: Uint8Array, offset: number): number => {
    const part = wal.subarray(offset, offset + target.length)
    target.set(part)
    return part.length
  }
  applyToDatabase(copy, foldTransactions(walTransactions(source)) as PageSet)
  expect(Buffer.compare(readFileSync(copy), expected)).toBe(0)
})

test('frames after the last commit are of no transaction, and an empty log has none', () => {
  const { wal } = shipment('', 'create table t (id integer primary key, v)', [
    'insert into t (v) values (1)',
    ROWS,
  ])
  const transactions = [...walTransactions(wal)]
  const cut = wal.subarray(0, walFrameOffset(transactions[1]?.lastFrame ?? 0, 4096))
  expect([...walTransactions(cut)]).toHaveLength(1)
  expect([...walTransactions(new Uint8Array(0))]).toEqual([])
  expect(foldTransactions([])).toBeUndefined()
})

test('an empty file is filled', () => {
  const directory = folder()
  const path = join(directory, 'data.db')
  const source = database(
    path,
    'pragma journal_mode = wal; pragma wal_autocheckpoint = 0; create table t (v)',
  )
  const wal = bytesOf(`${path}-wal`)
  const empty = join(directory, 'empty.db')
  writeFileSync(empty, '')
  const whole = foldTransactions(walTransactions(wal)) as PageSet
  // Switching to WAL mode wrote page 1 into the file; the log holds the whole of it again.
  applyToDatabase(empty, whole)
  source.exec('pragma wal_checkpoint(truncate)')
  expect(Buffer.compare(readFileSync(empty), bytesOf(path))).toBe(0)
})

test('a database that is not closed, of another page size or too short is refused, and stays as it is', () => {
  const { copy, wal } = shipment('', `create table t (id integer primary key, v)`, [ROWS])
  const folded = foldTransactions(walTransactions(wal)) as PageSet
  const before = readFileSync(copy)
  const refused = (path: string, pages: PageSet): void => {
    expect(() => applyToDatabase(path, pages)).toThrow(
      expect.objectContaining({ code: 'DATABASE_UNSUITABLE' }),
    )
    expect(Buffer.compare(bytesOf(path), before)).toBe(0)
  }
  for (const suffix of ['-wal', '-journal']) {
    writeFileSync(copy + suffix, 'x')
    refused(copy, folded)
    rmSync(copy + suffix)
  }
  const reader = database(copy, 'begin; select * from t')
  // Frees the log that opening in WAL mode made, so that only the lock is left to tell.
  expect(statSync(`${copy}-wal`).size).toBe(0)
  refused(copy, folded)
  reader.close()
  const other = shipment('pragma page_size = 8192', 'create table t (id integer primary key, v)', [ROWS])
  refused(copy, foldTransactions(walTransactions(other.wal)) as PageSet)
  const short: PageSet = {
    ...folded,
    pages: new Map([...folded.pages].filter(([page]) => page !== folded.pageCount)),
  }
  refused(copy, short)
  expect(() => foldTransactions([folded, { ...folded, pageBytes: 512 }])).toThrow(
    expect.objectContaining({ code: 'FILE_MALFORMED' }),
  )
  applyToDatabase(copy, folded)
})

test.skipIf(process.getuid?.() === 0 && spawnSync('sh', ['-c', 'command -v chattr']).status !== 0)(
  'a file that cannot be written is READ_ONLY_DISK',
  () => {
    const { copy, wal } = shipment('', `create table t (id integer primary key, v)`, [ROWS])
    const folded = foldTransactions(walTransactions(wal)) as PageSet
    const error = expect.objectContaining({ code: 'READ_ONLY_DISK' })
    if (process.getuid?.() === 0) {
      if (spawnSync('chattr', ['+i', copy]).status !== 0) return
      onTestFinished(() => void spawnSync('chattr', ['-i', copy]))
    } else execFileSync('chmod', ['444', copy])
    expect(() => applyToDatabase(copy, folded)).toThrow(error)
    if (process.getuid?.() === 0) spawnSync('chattr', ['-i', copy])
  },
)

test('a log that is cut after it was read is told', () => {
  const { copy, wal } = shipment('', `create table t (id integer primary key, v)`, [ROWS])
  const path = `${copy}.log`
  writeFileSync(path, wal)
  const folded = foldTransactions(walTransactions(readFileSync(path))) as PageSet
  truncateSync(path, 4096)
  const cut = readFileSync(path)
  const place = folded.pages.get(1)
  if (place === undefined) throw new Error('page 1 is in every transaction that allocates')
  expect(() => readImage({ source: cut, offset: place.offset + 4096 }, new Uint8Array(4096))).toThrow(
    expect.objectContaining({ code: 'FILE_MALFORMED' }),
  )
})

test('the page at 1 GiB is neither wanted nor written', () => {
  const { copy } = shipment('pragma page_size = 65536', 'create table t (id integer primary key, v)', [ROWS])
  const lock = lockPage(65_536)
  truncateSync(copy, (lock - 2) * 65_536)
  const source = new Uint8Array(65_536).fill(7)
  const pages = new Map([lock - 1, lock, lock + 1].map((page) => [page, { source, offset: 0 }]))
  applyToDatabase(copy, { pageBytes: 65_536, pageCount: lock + 1, pages })
  pages.delete(lock)
  applyToDatabase(copy, { pageBytes: 65_536, pageCount: lock + 1, pages })
  const descriptor = openSync(copy, 'r')
  onTestFinished(() => closeSync(descriptor))
  const tail = Buffer.alloc(4 * 65_536)
  expect(readSync(descriptor, tail, 0, tail.length, (lock - 2) * 65_536)).toBe(3 * 65_536)
  expect([0, 65_536, 2 * 65_536].map((offset) => tail[offset])).toEqual([7, 0, 7])
})

test.each(PAGE_SIZES)(
  'a log written here is the one that SQLite wrote, in both byte orders (pages of %i bytes)',
  (pageBytes) => {
    const { wal, copy, expected } = shipment(
      `pragma page_size = ${pageBytes}`,
      'create table t (id integer primary key, v)',
      ['insert into t (v) values (1)', ROWS],
    )
    const header = readWalHeader(wal)
    const frames = [...walFrames(wal)]
    const used = wal.subarray(0, walFrameOffset(frames.length + 1, pageBytes))
    expect(Buffer.compare(written(used, header.littleEndianChecksums), used)).toBe(0)
    // SQLite takes one in the other byte order too.
    const other = written(used, !header.littleEndianChecksums)
    expect([...walFrames(other)]).toHaveLength(frames.length)
    copyFileSync(copy, `${copy}.2`)
    writeFileSync(`${copy}.2-wal`, other)
    const recovered = new DatabaseSync(`${copy}.2`)
    recovered.exec('pragma wal_checkpoint(truncate)')
    recovered.close()
    expect(Buffer.compare(readFileSync(`${copy}.2`), expected)).toBe(0)
  },
)

function written(wal: Uint8Array, littleEndianChecksums: boolean): Uint8Array {
  const header = readWalHeader(wal)
  const out = new Uint8Array(wal.length)
  const sum = writeWalHeader(out, { ...header, littleEndianChecksums })
  for (const { page, commitPages, offset } of walFrames(wal)) {
    const image = offset + WAL_FRAME_HEADER_BYTES
    out.set(wal.subarray(image, image + header.pageBytes), image)
    const frame = { page, commitPages, salts: header.salts }
    writeWalFrameHeader(out, offset, header.pageBytes, frame, sum, littleEndianChecksums)
  }
  return out
}

/** The wal-index that `WalIndexBlock` makes of the frames in `shm`'s log. */
function rebuilt(wal: Uint8Array, mxFrame: number): WalIndexBlock[] {
  const blocks: WalIndexBlock[] = []
  for (const { number, page } of walFrames(wal)) {
    if (number > mxFrame) break
    const block = (blocks[walIndexBlockOf(number)] ??= new WalIndexBlock(walIndexBlockOf(number)))
    block.insert(number, page)
  }
  return blocks
}

function expectSameIndex(path: string): void {
  const shm = bytesOf(`${path}-shm`)
  const mxFrame = readWalIndexHeader(shm)?.mxFrame ?? 0
  const blocks = rebuilt(bytesOf(`${path}-wal`), mxFrame)
  for (const [number, block] of blocks.entries()) {
    const from = number * WAL_INDEX_BLOCK_BYTES
    const theirs = shm.subarray(from + block.start, from + WAL_INDEX_BLOCK_BYTES)
    expect(Buffer.compare(block.bytes.subarray(block.start), theirs)).toBe(0)
  }
}

test('page numbers and hash tables are those of SQLite, over several blocks and pages that come again and again', () => {
  const path = join(folder(), 'data.db')
  const source = database(
    path,
    'pragma page_size = 512; pragma journal_mode = wal; pragma wal_autocheckpoint = 0',
  )
  source.exec('create table t (id integer primary key, v)')
  for (let round = 0; round < 20; round++) {
    source.exec(
      round % 3 === 0
        ? ROWS
        : 'insert into t (v) values (zeroblob(300000)); update t set v = 1 where id % 9 = 0',
    )
    expectSameIndex(path)
  }
  expect(readWalIndexHeader(bytesOf(`${path}-shm`))?.mxFrame).toBeGreaterThan(4062 + 4096)
})

test('frames that were abandoned are cleared as SQLite clears them', () => {
  const path = join(folder(), 'data.db')
  const source = database(
    path,
    'pragma page_size = 512; pragma journal_mode = wal; pragma wal_autocheckpoint = 0; pragma cache_size = 5; pragma cache_spill = 5',
  )
  source.exec('create table t (id integer primary key, v)')
  source.exec('insert into t (v) values (1)')
  const block = new WalIndexBlock(0)
  const frames = [...walFrames(bytesOf(`${path}-wal`))]
  for (const { number, page } of frames) block.insert(number, page)
  // Of another transaction, which SQLite spills and rolls back.
  for (let frame = frames.length + 1; frame < 100; frame++) block.insert(frame, frame * 7)
  source.exec(`begin; ${ROWS}; rollback`)
  source.exec('insert into t (v) values (2)')
  const after = [...walFrames(bytesOf(`${path}-wal`))]
  for (const { number, page } of after.slice(frames.length)) block.insert(number, page)
  expect(block.find(70 * 7, 4000)).toBe(0)
  const shm = bytesOf(`${path}-shm`)
  const theirs = shm.subarray(block.start, WAL_INDEX_BLOCK_BYTES)
  expect(readWalIndexHeader(shm)?.mxFrame).toBe(after.length)
  expect(Buffer.compare(block.bytes.subarray(block.start), theirs)).toBe(0)
})

test('the last frame of a page at or below a mark is found, and none that is not there', () => {
  const block = new WalIndexBlock(1)
  expect(block.firstFrame).toBe(4063)
  expect(walIndexBlockOf(4062)).toBe(0)
  expect(walIndexBlockOf(4063)).toBe(1)
  expect(walIndexBlockOf(block.lastFrame + 1)).toBe(2)
  // 8192 pages apart: one chain.
  const pages = [5, 8197, 5, 16_389, 8197, 5]
  for (const [index, page] of pages.entries()) block.insert(4063 + index, page)
  for (let upTo = 4062; upTo < 4070; upTo++)
    for (const page of [5, 8197, 16_389, 6]) {
      const seen = pages.slice(0, Math.max(0, upTo - 4062))
      const index = seen.lastIndexOf(page)
      expect(block.find(page, upTo)).toBe(index === -1 ? 0 : 4063 + index)
    }
})

test('the header of the next commit is one that is read back, and its second copy is written first', () => {
  const path = join(folder(), 'data.db')
  database(path, 'pragma page_size = 65536; pragma journal_mode = wal; create table t (v)')
  const shm = bytesOf(`${path}-shm`)
  const now = readWalIndexHeader(shm)
  const copy = shm.slice(0, 48)
  advanceWalIndexHeader(copy, { mxFrame: 77, pageCount: 9, frameChecksum: { first: 1, second: 0xffff_fffe } })
  const writes: number[] = []
  writeWalIndexHeader((bytes, offset) => {
    writes.push(offset)
    // Between the two, a reader sees that somebody is at it.
    if (writes.length === 2) expect(readWalIndexHeader(shm)).toBeUndefined()
    shm.set(bytes, offset)
  }, copy)
  expect(writes).toEqual([48, 0])
  expect(readWalIndexHeader(shm)).toEqual({
    ...now,
    change: (now?.change ?? 0) + 1,
    mxFrame: 77,
    pageCount: 9,
    frameChecksum: { first: 1, second: 0xffff_fffe },
  })
})
