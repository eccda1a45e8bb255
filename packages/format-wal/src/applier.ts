/**
 * Follower side: payloads to staged pages.
 *
 * Decides: whether a payload may touch this file, whether each page became what the leader had. Leaves to others: how
 * staged pages become visible (`SqlitePages`), bytes (`page-decoder.ts`).
 *
 * 1. A payload is decoded as a whole before a page is staged.
 * 2. Every page ends as the exact image that the leader had. A base that was wrong in any byte is told: one that no run
 *    replaces by the result, the others by the checksum of what was replaced.
 * 3. After a throw some pages may be staged; the caller rolls back.
 */
import { crc32 } from 'node:zlib'
import { UnderstudyError, type Applier, type SqliteConnection, type SqlitePages } from '@understudy/contracts'
import { lockPage } from '@understudy/sqlite-files'
import { corrupt, diverged } from './errors.ts'
import { decodePayload, type DecodedPage, type DecodedPayload } from './page-decoder.ts'
import { RunningCrc } from './running-crc.ts'
import { applyRuns } from './runs.ts'
import { VarintReader } from './varint.ts'

export class PageApplier implements Applier {
  readonly #pages: SqlitePages
  readonly #image: Uint8Array
  readonly #replaced: RunningCrc
  readonly #results: RunningCrc = new RunningCrc(4)

  constructor(connection: SqliteConnection) {
    this.#pages = connection.pages
    this.#image = new Uint8Array(this.#pages.pageBytes)
    this.#replaced = new RunningCrc(this.#pages.pageBytes)
  }

  prepare(): void {}

  restore(): void {}

  close(): void {}

  apply(payload: Uint8Array): void {
    const decoded = decodePayload(payload)
    const { pageBytes, pageCount } = this.#pages
    if (decoded.pageBytes !== pageBytes) throw otherPageSize(decoded.pageBytes, pageBytes)
    if (decoded.base) throw baseReached(decoded.pageCount)
    this.#checkEnd(decoded, pageCount)
    this.#replaced.reset()
    this.#results.reset()
    this.#results.addUint32(decoded.pageCount)
    const reader = new VarintReader(decoded.body, 0)
    for (const page of decoded.pages) {
      reader.at = page.runsAt
      this.#applyPage(decoded.body, reader, page)
    }
    this.#checkSums(decoded)
    if (decoded.pageCount !== pageCount) this.#pages.resize(decoded.pageCount)
  }

  holds(payload: Uint8Array): boolean {
    const decoded = decodePayload(payload)
    if (decoded.pageBytes !== this.#pages.pageBytes || decoded.pageCount !== this.#pages.pageCount)
      return false
    this.#results.reset()
    this.#results.addUint32(decoded.pageCount)
    for (const { page } of decoded.pages) {
      const image = this.#pages.read(page)
      if (image === undefined) return false
      this.#results.addUint32(page)
      this.#results.addUint32(crc32(image))
    }
    return decoded.base || this.#results.sum === decoded.results
  }

  #applyPage(body: Uint8Array, reader: VarintReader, { page, whole, check }: DecodedPage): void {
    const image = this.#image
    if (whole) {
      image.fill(0)
      applyRuns(body, reader, image, undefined)
    } else {
      const base = this.#pages.read(page)
      if (base === undefined)
        throw diverged(`page ${page} is to be changed, and this file has ${this.#pages.pageCount} pages`, {
          page,
        })
      image.set(base)
      this.#replaced.reserve()
      applyRuns(body, reader, image, this.#replaced)
    }
    const sum = crc32(image)
    // The payload is whole by its own checksum, so what differs is what the runs were laid over.
    if ((sum & 0xff) !== check) {
      if (whole) throw corrupt(`page ${page} is not what it says`, { page })
      throw diverged(`page ${page} is not what it was on the leader`, { page })
    }
    this.#results.addUint32(page)
    this.#results.addUint32(sum)
    this.#pages.stage(page, image)
  }

  #checkSums({ pages, replaced, results }: DecodedPayload): void {
    const resultsRight = this.#results.sum === results
    if (resultsRight && this.#replaced.sum === replaced) return
    const changed = pages.filter(({ whole }) => !whole).map(({ page }) => page)
    if (changed.length === 0) throw corrupt('its pages are not what it says')
    const where = changed.length === 1 ? `page ${changed[0]}` : `one of the pages ${listed(changed)}`
    throw diverged(`${where} is not what it was on the leader`, { pages: changed.slice(0, LISTED_MAX) })
  }

  /** Every page beyond this file's end must be in the payload, or the leader's file was longer than this one. */
  #checkEnd({ pages, pageCount }: DecodedPayload, own: number): void {
    let next = own + 1
    const lock = lockPage(this.#pages.pageBytes)
    for (const { page } of pages) {
      if (next === lock) next += 1
      if (page < next) continue
      if (page > next) break
      next += 1
    }
    if (next === lock) next += 1
    if (next <= pageCount)
      throw diverged(
        `the leader's file has ${pageCount} pages now, this one ${own}, and page ${next} is not in the record`,
        { page: next },
      )
  }
}

const LISTED_MAX = 20

function listed(pages: readonly number[]): string {
  const shown = pages.slice(0, LISTED_MAX).join(', ')
  return pages.length > LISTED_MAX ? `${shown} and ${pages.length - LISTED_MAX} more` : shown
}

function otherPageSize(theirs: number, own: number): UnderstudyError {
  return diverged(`its pages have ${theirs} bytes, and those of this file ${own}`, { pageBytes: theirs })
}

function baseReached(pageCount: number): UnderstudyError {
  return new UnderstudyError(
    'SNAPSHOT_REQUIRED',
    `The log holds a base here: from it on, pages are changed against the leader's file of ${pageCount} pages as a whole. ` +
      `Nothing was applied, and this file was kept as it is. Make it equal by a delta of pages: the node bootstraps, and ` +
      `only the pages that differ travel.`,
    { pageCount },
  )
}
