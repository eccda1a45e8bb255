/**
 * The body of a payload as a list of pages, checked as a whole before anything is done with it.
 *
 * Decides: which bodies are well-formed. Leaves to others: images and their checksums (`applier.ts`).
 *
 * 1. Page numbers ascend, none is beyond the new end, none is the page at 1 GiB.
 * 2. Runs are within their page (`runs.ts`). 3. Nothing follows the list.
 */
import { lockPage } from '@understudy/sqlite-files'
import { corrupt } from './errors.ts'
import { openPayload, type OpenedPayload } from './payload.ts'
import { checkRuns } from './runs.ts'
import { VarintReader } from './varint.ts'

/** SQLite's limit. */
const PAGE_COUNT_MAX = 0xffff_fffe

export interface DecodedPage {
  readonly page: number
  /** Runs against zeros, else against the image before. */
  readonly whole: boolean
  /** The low byte of the CRC-32 of the image after. */
  readonly check: number
  /** Offset of the runs in the body. */
  readonly runsAt: number
  readonly runs: number
  /** Bytes in the runs. */
  readonly bytes: number
}

export interface DecodedPayload extends OpenedPayload {
  /** Pages of the file after the transaction; of a base, as of it. */
  readonly pageCount: number
  /** CRC-32 of the bytes that runs replace, in order. */
  readonly replaced: number
  /** CRC-32 of the page count, then number and CRC-32 of each page's image after, in order, as 32-bit words. */
  readonly results: number
  /** Ascending; empty for a base. */
  readonly pages: readonly DecodedPage[]
}

/** Throws `RECORD_CORRUPT` or `FORMAT_VERSION`. */
export function decodePayload(payload: Uint8Array): DecodedPayload {
  const opened = openPayload(payload)
  const reader = new VarintReader(opened.body, 0)
  const pageCount = reader.varint()
  if (pageCount === 0 || pageCount > PAGE_COUNT_MAX) throw corrupt(`no database has ${pageCount} pages`)
  if (opened.base) {
    if (!reader.atEnd) throw corrupt('its body goes on after its end')
    return { ...opened, pageCount, replaced: 0, results: 0, pages: [] }
  }
  const replaced = reader.uint32()
  const results = reader.uint32()
  const pages: DecodedPage[] = []
  const lock = lockPage(opened.pageBytes)
  let page = 0
  for (let head = reader.varint(); head !== 0; head = reader.varint()) {
    const step = Math.floor(head / 2)
    page += step
    if (step === 0 || page > pageCount || page === lock)
      throw corrupt(`page ${page} of a database of ${pageCount} pages cannot be in it`)
    const check = reader.byte()
    const runsAt = reader.at
    pages.push({ page, whole: head % 2 === 1, check, runsAt, ...checkRuns(reader, opened.pageBytes) })
  }
  if (!reader.atEnd) throw corrupt('its body goes on after its end')
  return { ...opened, pageCount, replaced, results, pages }
}
