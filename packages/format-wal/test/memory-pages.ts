/**
 * `SqlitePages` in memory, as faithful as the contract: views are scrambled when the next method is called, staged pages
 * become visible at commit and are dropped by rollback, a resize without its pages fails.
 */
import type { CommittedPage, CommittedPages, SqlitePages } from '@understudy/contracts'
import { lockPage } from '@understudy/sqlite-files'

export class MemoryPages implements SqlitePages {
  readonly pageBytes: number
  stagedPages = 0
  #count: number
  #images = new Map<number, Uint8Array>()
  #staged = new Map<number, Uint8Array>()
  #stagedCount: number | undefined
  #views: Uint8Array[] = []
  #taken: { count: number; images: Map<number, Uint8Array> }

  constructor(pageBytes: number, file: Uint8Array | number) {
    this.pageBytes = pageBytes
    if (typeof file === 'number') this.#count = file
    else {
      this.#count = file.length / pageBytes
      for (let page = 1; page <= this.#count; page += 1)
        this.#images.set(page, file.slice((page - 1) * pageBytes, page * pageBytes))
    }
    this.#taken = { count: this.#count, images: new Map(this.#images) }
  }

  get pageCount(): number {
    return this.#stagedCount ?? this.#count
  }

  committed(): CommittedPages | undefined {
    this.#endViews()
    const before = this.#taken
    const images = new Map(this.#images)
    this.#taken = { count: this.#count, images }
    const changed = [...images].filter(([page, image]) => before.images.get(page) !== image)
    return {
      pageCount: this.#count,
      pages: this.#walk(changed, (page) =>
        page <= before.count ? (before.images.get(page) ?? new Uint8Array(this.pageBytes)) : undefined,
      ),
    }
  }

  recover(): CommittedPages | undefined {
    this.#endViews()
    return { pageCount: this.#count, pages: this.#walk([...this.#images], () => undefined) }
  }

  read(page: number): Uint8Array | undefined {
    this.#endViews()
    if (page < 1 || page > this.pageCount) return undefined
    return this.#view(this.#staged.get(page) ?? this.#images.get(page) ?? new Uint8Array(this.pageBytes))
  }

  stage(page: number, image: Uint8Array): void {
    if (image.length !== this.pageBytes || page < 1)
      throw new TypeError(`page ${page} of ${image.length} bytes`)
    this.#staged.set(page, image.slice())
    this.stagedPages += 1
    this.#endViews()
  }

  resize(pageCount: number): void {
    this.#endViews()
    for (let page = this.pageCount + 1; page <= pageCount; page += 1)
      if (!this.#staged.has(page) && page !== lockPage(this.pageBytes))
        throw new TypeError(`page ${page} was not staged`)
    this.#stagedCount = pageCount
  }

  commit(): void {
    for (const [page, image] of this.#staged) this.#images.set(page, image)
    this.#count = this.pageCount
    for (const page of this.#images.keys()) if (page > this.#count) this.#images.delete(page)
    this.rollback()
  }

  rollback(): void {
    this.#staged.clear()
    this.#stagedCount = undefined
    this.stagedPages = 0
  }

  /** The file, the page at 1 GiB left out. */
  bytes(): Uint8Array {
    const file = new Uint8Array(this.#count * this.pageBytes)
    for (const [page, image] of this.#images) file.set(image, (page - 1) * this.pageBytes)
    return file
  }

  /** Images by page, for files too long to hold. */
  images(): Map<number, Uint8Array> {
    return new Map([...this.#images].filter(([, image]) => image.some((byte) => byte !== 0)))
  }

  *#walk(
    images: readonly (readonly [number, Uint8Array])[],
    previousOf: (page: number) => Uint8Array | undefined,
  ): Generator<CommittedPage, void, void> {
    for (const [page, image] of images.toSorted(([a], [b]) => a - b)) {
      this.#endViews()
      const previous = previousOf(page)
      yield { page, image: this.#view(image), previous: previous && this.#view(previous) }
    }
    this.#endViews()
  }

  /** At an odd address now and then, as a view of a buffer can be. */
  #view(image: Uint8Array): Uint8Array {
    const room = new Uint8Array(image.length + 1)
    const view = room.subarray(this.#views.length % 2)
    view.set(image)
    this.#views.push(room)
    return view.subarray(0, image.length)
  }

  #endViews(): void {
    for (const view of this.#views) view.fill(0xa5)
    this.#views = []
  }
}
