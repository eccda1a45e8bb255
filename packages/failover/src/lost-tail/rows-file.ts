/**
 * The rows of a lost tail whose records do not tell them: a file beside the tail, one line of JSON for each transaction.
 *
 * ```
 * {"understudy":"lost-tail-rows","version":1}
 * {"lsn":1043,"described":{…}}          what a format of rows says of the transaction at that position
 * {"lines":1,"crc":123456}              of the lines before, with their ends
 * ```
 *
 * Decides: what is a whole file. Leaves to others: what a description means (`changes.ts`).
 *
 * 1. The tail itself does not need it: a file that is missing, unfinished or damaged tells no rows, and nothing is lost.
 */
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { Files, LogPoint, Lsn } from '@understudy/contracts'
import { lostTailPath } from './files.ts'

const FIRST = { understudy: 'lost-tail-rows', version: 1 }
const BYTES_MAX = 512 << 20

export interface WriteLostRowsOptions {
  readonly files: Files
  readonly directory: string
  readonly common: LogPoint
  readonly end: LogPoint
  readonly rows: ReadonlyMap<Lsn, unknown>
}

/** Of the tail that `exportLostTail` kept for the same points; durable when it returns. */
export function writeLostRows({ files, directory, common, end, rows }: WriteLostRowsOptions): void {
  const path = lostTailPath(directory, common, end)
  if (rows.size === 0 || !files.exists(path)) return
  const lines = [FIRST, ...Array.from(rows, ([lsn, described]) => ({ lsn, described }))]
  const text = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  const last = Buffer.from(`${JSON.stringify({ lines: rows.size, crc: crc32(text) })}\n`)
  const aside = `${rowsPath(path)}.part`
  const handle = files.open(aside, { create: true, write: true })
  try {
    handle.truncate(0)
    handle.write([text, last], 0)
    handle.dataSyncNow()
  } finally {
    handle.close()
  }
  files.rename(aside, rowsPath(path))
  files.syncDirectory(join(path, '..'))
}

export function rowsPath(tail: string): string {
  return `${tail}.rows`
}

/** By the position of each transaction; nothing when there is no whole file. */
export function readLostRows(files: Files, tail: string): ReadonlyMap<Lsn, unknown> {
  const rows = new Map<Lsn, unknown>()
  if (!files.exists(rowsPath(tail))) return rows
  const handle = files.open(rowsPath(tail))
  try {
    const bytes = Buffer.allocUnsafe(Math.min(handle.size(), BYTES_MAX))
    handle.read(bytes, 0)
    const lastAt = bytes.lastIndexOf(0x0a, bytes.length - 2) + 1
    const last = JSON.parse(bytes.toString('utf8', lastAt)) as { readonly crc?: number }
    if (last.crc !== crc32(bytes.subarray(0, lastAt))) return rows
    const [first, ...lines] = bytes.toString('utf8', 0, lastAt).trimEnd().split('\n')
    if (first !== JSON.stringify(FIRST)) return rows
    for (const line of lines) {
      const { lsn, described } = JSON.parse(line) as { readonly lsn: Lsn; readonly described: unknown }
      rows.set(lsn, described)
    }
  } catch {
    rows.clear()
  } finally {
    handle.close()
  }
  return rows
}
