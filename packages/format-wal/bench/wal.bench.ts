/**
 * Bytes and time of the wal format: `node --conditions=@understudy/source bench/wal.bench.ts`. A real database makes the
 * write-ahead log; encoding and applying are timed over pages in memory, since files and fsync are measured elsewhere.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { CommittedPage, CommittedPages, SqliteConnection, SqlitePages } from '@understudy/contracts'
import { readWalFrameHeader, WAL_FRAME_HEADER_BYTES, walFrameOffset } from '@understudy/sqlite-files'
import { walFormat, type WalFormatOptions } from '../src/index.ts'

const PAGE_BYTES = 4096
/** What the log puts before each payload. */
const RECORD_HEADER_BYTES = 45
const SCHEMA = `create table _understudy_position (epoch integer not null, lsn integer not null, crc integer not null);
  insert into _understudy_position values (1, 1000, 1);
  create table kv (id integer primary key, k text, v text, n integer)`

interface Transaction extends CommittedPages {
  readonly pages: readonly CommittedPage[]
  readonly before: number
}

/** What each workload does in one write. */
const WORKLOADS = {
  'insert, repeated text': {
    rows: 0,
    sql: 'insert into kv (k, v, n) values (?, ?, ?)',
    parameters: (index: number) => [String(1_000_000_000 + index), 'v'.repeat(100), index],
  },
  'insert, random text': {
    rows: 0,
    sql: 'insert into kv (k, v, n) values (?, ?, ?)',
    parameters: (index: number) => [text(10), text(100), index],
  },
  'update a text of 100 by key': {
    rows: 100_000,
    sql: 'update kv set v = ? where id = ?',
    parameters: () => [text(100), 1 + Math.floor(Math.random() * 100_000)],
  },
  'update a number by key': {
    rows: 100_000,
    sql: 'update kv set n = n + ? where id = ?',
    parameters: () => [1, 1 + Math.floor(Math.random() * 100_000)],
  },
} as const

function text(length: number): string {
  let made = ''
  while (made.length < length) made += Math.random().toString(36).slice(2)
  return made.slice(0, length)
}

/** Runs a workload on a real file; the transactions as pages, and the file before them. */
function produce(
  name: keyof typeof WORKLOADS,
  writes: number,
  groups: number,
): { file: Uint8Array; transactions: Transaction[] } {
  const directory = mkdtempSync(join(tmpdir(), 'understudy-wal-bench-'))
  const path = join(directory, 'bench.db')
  const { rows, sql, parameters } = WORKLOADS[name]
  const making = new DatabaseSync(path)
  making.exec(
    `pragma page_size = ${PAGE_BYTES}; pragma journal_mode = wal; pragma synchronous = off; ${SCHEMA}; begin`,
  )
  const fill = making.prepare('insert into kv (k, v, n) values (?, ?, ?)')
  for (let row = 0; row < Math.max(rows, 1000); row += 1) fill.run(text(10), text(100), row)
  making.exec('commit; pragma wal_checkpoint(truncate)')
  making.close()
  const file = readFileSync(path)
  const database = new DatabaseSync(path)
  database.exec('pragma wal_autocheckpoint = 0; pragma synchronous = off')
  const write = database.prepare(sql)
  const mark = database.prepare('update _understudy_position set epoch = 1, lsn = lsn + 1, crc = ?')
  for (let group = 0; group < groups; group += 1) {
    database.exec('begin immediate')
    for (let index = 0; index < writes; index += 1) write.run(...parameters(group * writes + index))
    mark.run(Math.floor(Math.random() * 2 ** 32))
    database.exec('commit')
  }
  const wal = readFileSync(`${path}-wal`)
  database.close()
  rmSync(directory, { recursive: true })
  return { file, transactions: transactionsOf(file, wal) }
}

function transactionsOf(file: Uint8Array, wal: Uint8Array): Transaction[] {
  const images: Uint8Array[] = []
  for (let at = 0; at < file.length; at += PAGE_BYTES) images.push(file.subarray(at, at + PAGE_BYTES))
  const transactions: Transaction[] = []
  let open: CommittedPage[] = []
  for (let number = 1; walFrameOffset(number, PAGE_BYTES) < wal.length; number += 1) {
    const offset = walFrameOffset(number, PAGE_BYTES)
    const { page, commitPages } = readWalFrameHeader(wal, offset)
    const image = wal.subarray(offset + WAL_FRAME_HEADER_BYTES, offset + WAL_FRAME_HEADER_BYTES + PAGE_BYTES)
    open.push({ page, image, previous: images[page - 1] })
    if (commitPages === 0) continue
    const before = images.length
    for (const changed of open) images[changed.page - 1] = changed.image
    transactions.push({ pageCount: commitPages, pages: open.toSorted((a, b) => a.page - b.page), before })
    open = []
  }
  return transactions
}

/** Both sides of the contract, without copies that would be timed. */
class BenchPages implements SqlitePages {
  readonly pageBytes: number = PAGE_BYTES
  pageCount: number
  next: Transaction | undefined
  readonly #images: Uint8Array[] = []

  constructor(file: Uint8Array) {
    for (let at = 0; at < file.length; at += PAGE_BYTES) this.#images.push(file.slice(at, at + PAGE_BYTES))
    this.pageCount = this.#images.length
  }

  committed(): CommittedPages {
    return this.next ?? { pageCount: this.pageCount, pages: [] }
  }

  recover(): undefined {}

  read(page: number): Uint8Array | undefined {
    return this.#images[page - 1]
  }

  stage(page: number, image: Uint8Array): void {
    const own = this.#images[page - 1]
    if (own === undefined) this.#images[page - 1] = image.slice()
    else own.set(image)
  }

  resize(pageCount: number): void {
    this.pageCount = pageCount
  }
}

function connect(pages: SqlitePages): SqliteConnection {
  return {
    database: new DatabaseSync(':memory:'),
    internal: (run) => run(),
    guarded: (run) => run(),
    observe: () => () => {},
    pages,
    ownTablePrefix: '_understudy_',
  }
}

function measure(
  name: keyof typeof WORKLOADS,
  writes: number,
  groups: number,
  options: WalFormatOptions,
): Record<string, unknown> {
  const { file, transactions } = produce(name, writes, groups)
  const leader = new BenchPages(file)
  const recorder = walFormat(options).recorder(connect(leader))
  const follower = new BenchPages(file)
  const applier = walFormat(options).applier(connect(follower))
  const payloads: Uint8Array[] = []
  let encodeMs = 0
  for (const transaction of transactions) {
    leader.pageCount = transaction.before
    // A storage has just read the pages of a transaction when the format gets them.
    leader.next = { ...transaction, pages: transaction.pages.map(copied) }
    encodeMs += timed(() => {
      recorder.beginGroup()
      payloads.push(...recorder.finishGroup())
    })
  }
  const applyMs = timed(() => {
    for (const payload of payloads) applier.apply(payload)
  })
  const bytes = payloads.reduce((sum, payload) => sum + payload.length, 0)
  const pages = transactions.reduce((sum, transaction) => sum + transaction.pages.length, 0)
  const round = (value: number): number => Math.round(value * 10) / 10
  return {
    workload: name,
    writesPerGroup: writes,
    compress: options.compress ?? 'zstd',
    pagesPerGroup: round(pages / groups),
    payloadBytesPerGroup: round(bytes / groups),
    bytesPerCommit: round((bytes / groups + RECORD_HEADER_BYTES) / writes),
    encodeMicrosPerGroup: round((encodeMs / groups) * 1000),
    applyMicrosPerGroup: round((applyMs / groups) * 1000),
  }
}

function copied({ page, image, previous }: CommittedPage): CommittedPage {
  return { page, image: image.slice(), previous: previous?.slice() }
}

function timed(run: () => void): number {
  const start = performance.now()
  run()
  return performance.now() - start
}

measure('insert, random text', 64, 200, {})
for (const name of Object.keys(WORKLOADS) as (keyof typeof WORKLOADS)[])
  for (const [writes, groups] of [
    [1, 2000],
    [64, 500],
    [256, 200],
  ] as const)
    for (const compress of ['none', 'zstd'] as const)
      process.stdout.write(`${JSON.stringify(measure(name, writes, groups, { compress }))}\n`)
