/** What an applier refuses, and what it says then. */
import { crc32 } from 'node:zlib'
import { expect, test } from 'vitest'
import { isUnderstudyError } from '@understudy/contracts'
import { walFormat } from '../src/index.ts'
import { Directory, Follower, Leader } from './helpers.ts'
import { MemoryLeader, noise, patched } from './memory-leader.ts'

const PAGE = 512

function file(pages: number): Uint8Array {
  return Buffer.concat(Array.from({ length: pages }, (_, index) => noise(PAGE, index + 1)))
}

/** A payload that changes bytes 100 to 102 and 300 of page 2. */
function delta(): Uint8Array {
  const image = patched(patched(noise(PAGE, 2), 100, 0, 0, 0), 300, 0)
  return new MemoryLeader(PAGE, file(4)).payload(new Map([[2, image]]))
}

/** A payload of its parts, with a right checksum. */
function sealed(...body: number[]): Uint8Array {
  const payload = Uint8Array.from([1, 0, ...body, 0, 0, 0, 0])
  const end = payload.length - 4
  new DataView(payload.buffer).setUint32(end, crc32(payload.subarray(0, end)), true)
  return payload
}

function refusal(follower: Follower, payload: Uint8Array): string {
  try {
    follower.apply([payload])
  } catch (error) {
    if (!isUnderstudyError(error)) throw error
    return `${error.code}: ${error.message}`
  }
  return 'applied'
}

test('a base that is wrong in any single byte of the page is DIVERGED, and the page is named', () => {
  const payload = delta()
  for (let at = 0; at < PAGE; at += 1) {
    const base = file(4)
    base[PAGE + at] = (base[PAGE + at] as number) ^ 1
    const follower = new Follower(PAGE, base)
    expect(refusal(follower, payload)).toMatch(/^DIVERGED: A page delta on a wrong base: page 2 is not/)
    expect(follower.pages.bytes()).toEqual(new Uint8Array(base))
  }
})

test('a base that differs where a run replaces it is DIVERGED among the pages of the record', () => {
  const images = new Map([
    [2, patched(noise(PAGE, 2), 100, 0)],
    [3, patched(noise(PAGE, 3), 100, 0)],
  ])
  const payload = new MemoryLeader(PAGE, file(4)).payload(images)
  const base = file(4)
  base[2 * PAGE + 100] = 77
  expect(refusal(new Follower(PAGE, base), payload)).toMatch(/one of the pages 2, 3 is not what it was/)
})

test('a record that was left out is noticed at the next one', () => {
  using directory = new Directory()
  const leader = new Leader(directory.path, { setup: 'create table a (x); create table b (x)' })
  const follower = leader.follower()
  follower.apply(leader.group('insert into a values (1)'))
  leader.group('insert into a values (2)')
  const [next] = leader.group('insert into b values (3)')
  expect(refusal(follower, next as Uint8Array)).toMatch(/^DIVERGED/)
})

test('a record that is applied a second time is DIVERGED, and held', () => {
  using directory = new Directory()
  const leader = new Leader(directory.path, { setup: 'create table a (x)' })
  const follower = leader.follower()
  const [payload] = leader.group('insert into a values (1)') as [Uint8Array]
  expect(follower.applier.holds(payload)).toBe(false)
  follower.apply([payload])
  expect(follower.applier.holds(payload)).toBe(true)
  expect(refusal(follower, payload)).toMatch(/^DIVERGED/)
})

test('a file shorter than the leader had is DIVERGED, with and without new pages in the record', () => {
  const changed = delta()
  expect(refusal(new Follower(PAGE, file(1)), changed)).toMatch(
    /^DIVERGED: .*page 3 is not in the record|^DIVERGED: /,
  )
  const grown = new MemoryLeader(PAGE, file(4)).payload(new Map([[5, noise(PAGE, 5)]]), 5)
  expect(refusal(new Follower(PAGE, file(3)), grown)).toMatch(/^DIVERGED: .*this one 3, and page 4 is not in/)
  expect(refusal(new Follower(PAGE, file(4)), grown)).toBe('applied')
})

test('a page beyond the end that is no whole image is DIVERGED', () => {
  // Page 3 of 3 pages, one run of one byte.
  const payload = sealed(3, 0, 0, 0, 0, 0, 0, 0, 0, 3 * 2, 0, 1, 0, 9, 0, 0)
  expect(walFormat().describe(payload).pages).toEqual([{ page: 3, mode: 'runs', runs: 1, bytes: 1 }])
  expect(refusal(new Follower(PAGE, file(2)), payload)).toMatch(
    /^DIVERGED: .*page 3 is to be changed, and this file has 2/,
  )
})

test('another page size is DIVERGED', () => {
  expect(refusal(new Follower(1024, file(4)), delta())).toMatch(
    /its pages have 512 bytes, and those of this file 1024/,
  )
})

test('a base asks for a delta of pages and changes nothing', () => {
  const leader = new MemoryLeader(PAGE, file(4))
  const base = leader.recorder.base()
  const follower = new Follower(PAGE, file(4))
  expect(refusal(follower, base)).toMatch(/^SNAPSHOT_REQUIRED: .*file of 4 pages.*delta of pages/)
  expect(follower.applier.holds(base)).toBe(true)
  expect(new Follower(PAGE, file(3)).applier.holds(base)).toBe(false)
  expect(new Follower(1024, new Uint8Array(4096)).applier.holds(base)).toBe(false)
  expect(walFormat().describe(base)).toEqual({
    kind: 'base',
    pageBytes: PAGE,
    pageCount: 4,
    payloadBytes: 7,
    compressed: false,
    plainBytes: 1,
  })
})

test.each([
  ['page 0', [2, ...zeros(8), 1, 0, 0, 0], /page 0 of a database of 2/],
  ['a page twice', [2, ...zeros(8), 3, 0, 0, 1, 0, 0, 0], /page 1 of a database of 2/],
  ['a page beyond the new end', [2, ...zeros(8), 7, 0, 0, 0], /page 3 of a database of 2/],
  ['no pages at all', [0, ...zeros(8), 0], /no database has 0 pages/],
  [
    'more pages than SQLite has',
    [0xff, 0xff, 0xff, 0xff, 0x0f, ...zeros(8), 0],
    /no database has 4294967295/,
  ],
  ['a number without an end', [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...zeros(8), 0], /has no end/],
  [
    'a run that leaves the page',
    [2, ...zeros(8), 3, 0, 1, 0x80, 0x04, 9, 0, 0],
    /ends at 513 of a page of 512/,
  ],
  [
    'a run longer than the page',
    [2, ...zeros(8), 3, 0, 0x81, 0x04, 0, 9, 0, 0],
    /ends at 513 of a page of 512/,
  ],
  ['runs that touch', [2, ...zeros(8), 3, 0, 1, 0, 9, 1, 0, 9, 0, 0], /two runs of bytes touch/],
  ['bytes that are missing', [2, ...zeros(8), 3, 0, 9, 0, 1, 2], /cut/],
  ['no end', [2, ...zeros(8), 3, 0, 1, 0, 9, 0], /cut/],
  ['bytes after its end', [2, ...zeros(8), 0, 0], /goes on after its end/],
] as const)('a body with %s is RECORD_CORRUPT', (_, body, message) => {
  const payload = sealed(...body)
  const follower = new Follower(PAGE, file(2))
  const said = refusal(follower, payload)
  expect(said).toMatch(/^RECORD_CORRUPT/)
  expect(said).toMatch(message)
  expect(follower.pages.stagedPages).toBe(0)
  expect(() => walFormat().describe(payload)).toThrow(message)
})

test('the page at 1 GiB is RECORD_CORRUPT', () => {
  const lock = 0x4000_0000 / PAGE + 1
  const varint = (value: number): number[] =>
    value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))]
  const payload = sealed(...varint(lock + 1), ...zeros(8), ...varint(lock * 2 + 1), 0, 0, 0)
  expect(() => walFormat().describe(payload)).toThrow(new RegExp(`page ${lock} of a database`))
})

test('a whole page whose checksum is wrong is RECORD_CORRUPT', () => {
  const payload = sealed(2, ...zeros(8), 3, 1, 1, 0, 9, 0, 0)
  expect(refusal(new Follower(PAGE, file(2)), payload)).toMatch(
    /^RECORD_CORRUPT: .*page 1 is not what it says/,
  )
  const check = crc32(new Uint8Array(PAGE).fill(9, 0, 1)) & 0xff
  const matching = sealed(2, ...zeros(8), 3, check, 1, 0, 9, 0, 0)
  expect(refusal(new Follower(PAGE, file(2)), matching)).toMatch(
    /^RECORD_CORRUPT: .*its pages are not what it says/,
  )
})

test('flags that do not exist are RECORD_CORRUPT, a newer version says which one is needed', () => {
  for (const flags of [4, 8, 0x80]) {
    const payload = delta()
    payload[1] = flags
    expect(() => walFormat().describe(reseal(payload))).toThrow(/with flags \d+ does not exist/)
  }
  const newer = delta()
  newer[0] = 2
  expect(() => walFormat().describe(reseal(newer))).toThrow(
    expect.objectContaining({ code: 'FORMAT_VERSION', details: { version: 2, versionMax: 1 } }),
  )
})

test('bytes that would expand to more than they may are refused before memory is taken for them', () => {
  const leader = new MemoryLeader(4096, 1)
  const payload = leader.payload(new Map([[1, new Uint8Array(4096).fill(1)]]))
  expect(walFormat().describe(payload)).toMatchObject({ compressed: true })
  // The length claimed: two bytes in the original, five here.
  const bomb = Buffer.concat([
    payload.subarray(0, 2),
    Uint8Array.of(0x80, 0x80, 0x80, 0x80, 4),
    payload.subarray(4),
  ])
  expect(() => walFormat().describe(reseal(bomb))).toThrow(/compressed bytes claim to be 1073741824/)
  const longer = Buffer.concat([payload.subarray(0, 2), Uint8Array.of(0xff, 0x7f), payload.subarray(4)])
  expect(() => walFormat().describe(reseal(longer))).toThrow(/bytes instead of 16383/)
  const shorter = Buffer.concat([payload.subarray(0, 2), Uint8Array.of(0x80, 0x08), payload.subarray(4)])
  expect(() => walFormat().describe(reseal(shorter))).toThrow(/cannot be decompressed/)
})

test('a body that would expand too far for its readers travels uncompressed', () => {
  const leader = new MemoryLeader(65_536, 1)
  const images = new Map(
    Array.from({ length: 20 }, (_, index) => [index + 1, new Uint8Array(65_536).fill(1)]),
  )
  const payload = leader.payload(images, 20)
  expect(walFormat().describe(payload)).toMatchObject({ compressed: false })
  const follower = new Follower(65_536, 1)
  follower.apply([payload])
  expect(follower.pages.bytes()).toEqual(leader.pages.bytes())
})

function reseal(payload: Uint8Array): Uint8Array {
  const end = payload.length - 4
  new DataView(payload.buffer, payload.byteOffset).setUint32(end, crc32(payload.subarray(0, end)), true)
  return payload
}

function zeros(count: number): number[] {
  return Array.from({ length: count }, () => 0)
}
