/** A leader whose pages are in memory: transactions are page images, so that properties need no SQL. */
import { DatabaseSync } from 'node:sqlite'
import type { SqlitePages } from '@understudy/contracts'
import { walFormat, type WalFormatOptions } from '../src/index.ts'
import { TestConnection } from './helpers.ts'
import { MemoryPages } from './memory-pages.ts'

export type Images = ReadonlyMap<number, Uint8Array>

export class MemoryLeader {
  readonly pages: MemoryPages
  readonly recorder: ReturnType<ReturnType<typeof walFormat>['recorder']>

  constructor(pageBytes: number, file: Uint8Array | number, options: WalFormatOptions = {}) {
    this.pages = new MemoryPages(pageBytes, file)
    this.recorder = recorderOver(this.pages, options)
  }

  /** Commits images and a size; returns the payloads. */
  transaction(images: Images, pageCount: number = this.pages.pageCount): readonly Uint8Array[] {
    this.recorder.beginGroup()
    for (const [page, image] of images) this.pages.stage(page, image)
    this.pages.resize(pageCount)
    this.pages.commit()
    return this.recorder.finishGroup()
  }

  /** The one payload of a transaction. */
  payload(images: Images, pageCount?: number): Uint8Array {
    const [payload, ...more] = this.transaction(images, pageCount)
    if (payload === undefined || more.length > 0) throw new Error('not one payload')
    return payload
  }
}

export function recorderOver(pages: SqlitePages, options: WalFormatOptions = {}): MemoryLeader['recorder'] {
  return walFormat(options).recorder(new TestConnection(new DatabaseSync(':memory:'), pages))
}

/** A page of bytes that neither repeat nor are zero. */
export function noise(pageBytes: number, seed: number): Uint8Array {
  let state = seed | 0 || 1
  return Uint8Array.from({ length: pageBytes }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) | 0
    return ((state >>> 16) % 255) + 1
  })
}

/** A copy of `image` with `bytes` at `at`. */
export function patched(image: Uint8Array, at: number, ...bytes: number[]): Uint8Array {
  const copy = image.slice()
  copy.set(bytes, at)
  return copy
}
