/**
 * `SqlitePages` over a real database, leader side: committed pages read from its `-wal` file, previous images from a copy of
 * the file that is kept in memory.
 *
 * Reading and closing `-wal` drops no lock of SQLite; the database file itself is read before SQLite opens it.
 */
import { readFileSync } from 'node:fs'
import type { CommittedPage, CommittedPages, SqlitePages } from '@understudy/contracts'
import { readWalHeader, walFrames, WAL_FRAME_HEADER_BYTES } from '@understudy/sqlite-files'

export class WalFilePages implements SqlitePages {
  readonly pageBytes: number
  readonly #path: string
  #count: number
  #images: Uint8Array[]
  #life = ''
  #frames = 0

  constructor(path: string, pageBytes: number) {
    this.#path = path
    this.pageBytes = pageBytes
    const file = readFileSync(path)
    this.#count = file.length / pageBytes
    this.#images = Array.from({ length: this.#count }, (_, index) =>
      file.subarray(index * pageBytes, (index + 1) * pageBytes),
    )
  }

  get pageCount(): number {
    return this.#count
  }

  committed(): CommittedPages | undefined {
    const wal = readFileSync(`${this.#path}-wal`)
    if (wal.length === 0) return { pageCount: this.#count, pages: [] }
    const { salts } = readWalHeader(wal)
    const life = `${salts.first} ${salts.second}`
    if (life !== this.#life) this.#frames = 0
    this.#life = life
    const open = new Map<number, Uint8Array>()
    const images = new Map<number, Uint8Array>()
    let { pageCount } = this
    for (const { number, page, commitPages, offset } of walFrames(wal)) {
      if (number <= this.#frames) continue
      const start = offset + WAL_FRAME_HEADER_BYTES
      open.set(page, wal.subarray(start, start + this.pageBytes))
      if (commitPages === 0) continue
      for (const [key, image] of open) images.set(key, image)
      open.clear()
      this.#frames = number
      pageCount = commitPages
    }
    const before = this.#images.slice()
    const countBefore = this.#count
    for (const [page, image] of images) this.#images[page - 1] = image
    this.#images.length = pageCount
    this.#count = pageCount
    const pages = [...images.keys()]
      .filter((page) => page <= pageCount)
      .toSorted((a, b) => a - b)
      .map((page): CommittedPage => {
        const previous = page <= countBefore ? before[page - 1] : undefined
        return { page, image: images.get(page) as Uint8Array, previous }
      })
    return { pageCount, pages }
  }

  recover(): CommittedPages | undefined {
    this.#frames = 0
    const committed = this.committed()
    if (committed === undefined) return undefined
    return { ...committed, pages: [...committed.pages].map((page) => ({ ...page, previous: undefined })) }
  }

  read(page: number): Uint8Array | undefined {
    return this.#images[page - 1]
  }

  stage(): never {
    throw new TypeError('this side leads')
  }

  resize(): never {
    throw new TypeError('this side leads')
  }

  /** The file as it is after all that was taken. */
  bytes(): Uint8Array {
    return Buffer.concat(this.#images)
  }
}
