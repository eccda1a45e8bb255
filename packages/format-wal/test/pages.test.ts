/** Any change of pages, encoded and applied, gives exactly the leader's pages. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { CommittedPages } from '@understudy/contracts'
import { lockPage } from '@understudy/sqlite-files'
import { walFormat } from '../src/index.ts'
import { Follower } from './helpers.ts'
import { MemoryLeader, noise, patched, recorderOver } from './memory-leader.ts'
import { MemoryPages } from './memory-pages.ts'

const pageSizes = fc.constantFrom(512, 1024, 4096, 65_536)

/** How one page of a transaction is changed. */
const edit = fc.oneof(
  fc.record({
    kind: fc.constant('bytes' as const),
    at: fc.nat(65_535),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  }),
  fc.record({
    kind: fc.constant('scatter' as const),
    step: fc.integer({ min: 1, max: 300 }),
    seed: fc.nat(),
  }),
  fc.record({ kind: fc.constant('zero' as const) }),
  fc.record({ kind: fc.constant('noise' as const), seed: fc.nat() }),
  fc.record({ kind: fc.constant('same' as const) }),
)
type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never

/** `from`: what is cut off the end, or added to it. */
const transaction = fc.record({
  edits: fc.array(fc.tuple(fc.nat(11), fc.array(edit, { minLength: 1, maxLength: 3 })), { maxLength: 8 }),
  growth: fc.integer({ min: -6, max: 6 }),
})

function edited(image: Uint8Array, change: Edit): Uint8Array {
  const { length } = image
  switch (change.kind) {
    case 'bytes': {
      const at = change.at % length
      return patched(image, at, ...change.bytes.subarray(0, length - at))
    }
    case 'scatter':
      return image.map((byte, index) => (index % change.step === 0 ? byte + change.seed + 1 : byte))
    case 'zero':
      return new Uint8Array(length)
    case 'noise':
      return noise(length, change.seed)
    case 'same':
      return image
  }
}

test('every page ends as the leader has it, whatever was changed, added and cut off', () => {
  fc.assert(
    fc.property(
      pageSizes,
      fc.boolean(),
      fc.constantFrom(0, 0.1, 0.75, 1),
      fc.constantFrom('none' as const, 'zstd' as const),
      fc.array(transaction, { minLength: 1, maxLength: 6 }),
      (pageBytes, atLockPage, wholePageAbove, compress, transactions) => {
        const lock = lockPage(pageBytes)
        const first = atLockPage ? lock - 6 : 1
        const leader = new MemoryLeader(pageBytes, first + 4, { wholePageAbove, compress })
        const follower = new Follower(pageBytes, first + 4)
        for (const { edits, growth } of transactions) {
          const before = leader.pages.pageCount
          const after = Math.max(first, before + growth) + (before + growth === lock ? 1 : 0)
          const images = new Map<number, Uint8Array>()
          for (let page = before + 1; page <= after; page += 1)
            if (page !== lock) images.set(page, noise(pageBytes, page))
          for (const [offset, changes] of edits) {
            const page = first + offset
            if (page > after || page === lock) continue
            const image = images.get(page) ?? leader.pages.read(page)?.slice() ?? new Uint8Array(pageBytes)
            images.set(page, changes.reduce(edited, image))
          }
          const payload = leader.payload(images, after)
          follower.apply([payload])
          expect(follower.pages.pageCount).toBe(after)
          expect(follower.applier.holds(payload)).toBe(true)
          expect(
            walFormat()
              .describe(payload)
              .pages?.some(({ page }) => page === lock),
          ).toBe(false)
        }
        expect(follower.pages.images()).toEqual(leader.pages.images())
      },
    ),
    { numRuns: 100 },
  )
})

test('a page that is what it was does not travel, a zero page takes a few bytes', () => {
  const leader = new MemoryLeader(4096, 3)
  const same = leader.payload(new Map([[2, new Uint8Array(4096)]]))
  expect(walFormat().describe(same).pages).toEqual([])
  const grown = leader.payload(new Map([[4, new Uint8Array(4096)]]), 4)
  expect(walFormat().describe(grown).pages).toEqual([{ page: 4, mode: 'whole', runs: 0, bytes: 0 }])
  expect(grown.length).toBeLessThanOrEqual(20)
})

test('a page that shrank away and came back travels whole, not against what it was once', () => {
  const leader = new MemoryLeader(512, 3)
  const follower = new Follower(512, 3)
  follower.apply([leader.payload(new Map([[3, noise(512, 1)]]))])
  follower.apply([leader.payload(new Map(), 2)])
  const back = leader.payload(new Map([[3, patched(noise(512, 1), 9, 9)]]), 3)
  expect(walFormat().describe(back).pages).toMatchObject([{ page: 3, mode: 'whole' }])
  follower.apply([back])
  expect(follower.pages.bytes()).toEqual(leader.pages.bytes())
})

test('a page changed from end to end travels whole where that is shorter', () => {
  const modes = (wholePageAbove: number) => {
    const file = noise(512, 1)
    const leader = new MemoryLeader(512, file, { wholePageAbove })
    const payload = leader.payload(new Map([[1, patched(new Uint8Array(512), 0, ...file.subarray(0, 20))]]))
    return walFormat()
      .describe(payload)
      .pages?.map(({ mode, bytes }) => `${mode} ${bytes}`)
  }
  expect(modes(0.75)).toEqual(['whole 20'])
  expect(modes(1)).toEqual(['runs 492'])
  const leader = new MemoryLeader(512, noise(512, 1))
  const payload = leader.payload(new Map([[1, patched(noise(512, 1), 100, ...noise(400, 2))]]))
  expect(walFormat().describe(payload).pages).toMatchObject([{ mode: 'runs' }])
})

test('a page that the file did not have travels whole, also when an image of old is at hand', () => {
  class Remembering extends MemoryPages {
    override committed(): CommittedPages {
      return {
        pageCount: 3,
        pages: [{ page: 3, image: patched(noise(512, 1), 9, 9), previous: noise(512, 1) }],
      }
    }
  }
  const recorder = recorderOver(new Remembering(512, 2))
  recorder.beginGroup()
  expect(walFormat().describe(recorder.finishGroup()[0] as Uint8Array).pages).toMatchObject([
    { mode: 'whole' },
  ])
})

test('four equal bytes in a word end a run', () => {
  const pages = (image: Uint8Array) =>
    walFormat().describe(new MemoryLeader(512, noise(512, 1)).payload(new Map([[1, image]]))).pages
  const image = noise(512, 1)
  expect(pages(patched(patched(image, 100, 0), 108, 0))).toMatchObject([{ runs: 2, bytes: 2 }])
  expect(pages(patched(patched(image, 100, 0), 107, 0))).toMatchObject([{ runs: 1, bytes: 8 }])
  expect(pages(patched(patched(image, 0, 0), 511, 0))).toMatchObject([{ runs: 2, bytes: 2 }])
})

test('bodies are compressed from 1 KiB on, when that is a gain', () => {
  const described = (image: Uint8Array, compress: 'zstd' | 'none' = 'zstd') =>
    walFormat().describe(new MemoryLeader(4096, 1, { compress }).payload(new Map([[1, image]])))
  const text = new Uint8Array(4096).fill(0x76, 100)
  expect(described(text)).toMatchObject({ compressed: true, plainBytes: expect.closeTo(4016, -2) })
  expect(described(text).payloadBytes).toBeLessThan(100)
  expect(described(text, 'none')).toMatchObject({ compressed: false })
  expect(described(new Uint8Array(4096).fill(0x76, 3200))).toMatchObject({ compressed: false })
  const random = crypto.getRandomValues(new Uint8Array(4096))
  expect(described(random)).toMatchObject({ compressed: false })
})
