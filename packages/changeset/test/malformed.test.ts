/** Bytes that are no changeset: an error with a code, in bounded time, never a read beyond the end. */
import { isUnderstudyError } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { changesetCursor, decodeChangeset, encodeChangeset, invertChangeset } from '../src/index.ts'
import { hex, record, unhex } from './helpers.ts'

const SAMPLE = record(
  `create table t (id integer primary key, a, b); create table w (k text primary key not null, v) without rowid;
   insert into t values (1, 'a', 1), (2, 'b', 2); insert into w values ('k', zeroblob(300))`,
  (database) =>
    database.exec(
      `insert into t values (3, x'0102', 1.5); delete from t where id = 1; update t set a = null where id = 2; update w set v = 'x'`,
    ),
)

const outcome = (bytes: Uint8Array): string => {
  try {
    return `${[...decodeChangeset(bytes)].length} changes`
  } catch (error) {
    if (isUnderstudyError(error, 'CHANGESET_MALFORMED')) return error.code
    throw error
  }
}

test.each([
  ['another first byte', '55'],
  ['a change before any header', '1200'],
  ['no columns', '5400007400'],
  ['too many columns', '5483ffff00'],
  ['a header cut off in the key', '5403 01'],
  ['a header cut off in the name', '5401 01 74'],
  ['no key column', '5401 00 7400'],
  ['a table name that is not UTF-8', '5401 01 ff00'],
  ['an unknown operation', '5401 01 7400 0a00'],
  ['a change cut off after its operation', '5401 01 7400 12'],
  ['an indirect flag of 2', '5401 01 7400 1202 0100000000 00000001'],
  ['a value type of 6', '5401 01 7400 1200 06'],
  ['an integer cut off', '5401 01 7400 1200 01000000'],
  ['a text longer than the rest', '5401 01 7400 1200 030561'],
  ['a length without an end', '5401 01 7400 1200 03ffffffffffff'],
  ['a length beyond 31 bits', '5401 01 7400 1200 038880808000'],
  ['an insert with a missing value', '540201007400 1200 010000000000000001 00'],
  ['a delete with a missing value', '540201007400 0900 010000000000000001 00'],
  ['an update without its key', '540201007400 1700 00 05 00 05'],
  ['a delete of a patchset without its key', '500201007400 0900 00'],
])('%s is CHANGESET_MALFORMED', (_, bytes) => {
  expect(outcome(unhex(bytes))).toBe('CHANGESET_MALFORMED')
})

test('no bytes are a changeset without changes', () => {
  expect(outcome(new Uint8Array(0))).toBe('0 changes')
})

test('every cut of a changeset is either a whole changeset or malformed', () => {
  const counts = new Map<string, number>()
  for (let length = 0; length <= SAMPLE.length; length += 1) {
    // A view into a larger buffer: what lies beyond the end must not be read.
    const padded = new Uint8Array(SAMPLE.length + 16).fill(1)
    padded.set(SAMPLE.subarray(0, length))
    const result = outcome(padded.subarray(0, length))
    counts.set(result, (counts.get(result) ?? 0) + 1)
  }
  expect(outcome(SAMPLE)).toBe('4 changes')
  // Whole after the header of each table and after each change but the last, which is the whole.
  expect(
    [...counts]
      .filter(([result]) => result !== 'CHANGESET_MALFORMED')
      .reduce((sum, [, count]) => sum + count, 0),
  ).toBeLessThan(9)
})

test('mutated bytes end in changes or CHANGESET_MALFORMED; what decodes can be encoded and inverted', () => {
  let seed = 0x2545f491
  const random = (below: number): number => {
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    return (seed >>> 0) % below
  }
  let decoded = 0
  for (let round = 0; round < 5_000; round += 1) {
    const bytes = SAMPLE.slice()
    for (let flips = 1 + random(4); flips > 0; flips -= 1) bytes[random(bytes.length)] = random(256)
    const cut = random(4) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes
    if (outcome(cut) === 'CHANGESET_MALFORMED') continue
    decoded += 1
    const cursor = changesetCursor(cut)
    while (cursor.next()) {
      for (let index = 0; index < 2 * cursor.columns; index += 1) {
        if (cursor.types[index] === 0) continue
        expect((cursor.starts[index] as number) + (cursor.lengths[index] as number)).toBeLessThanOrEqual(
          cut.length,
        )
      }
    }
    const inverse = invertChangeset(cut)
    expect([...decodeChangeset(inverse)].length).toBe([...decodeChangeset(cut)].length)
  }
  expect(decoded).toBeGreaterThan(300)
})

test('changes that no changeset can hold are INVALID_ARGUMENT', () => {
  const base = {
    table: 't',
    key: [1, 0],
    operation: 'insert',
    indirect: false,
    patchset: false,
    before: [],
    after: [1n, 2n],
  } as const
  expect(hex(encodeChangeset([base])).length).toBeGreaterThan(0)
  for (const wrong of [
    { ...base, table: '' },
    { ...base, table: 'a\0b' },
    { ...base, key: [0, 0] },
    { ...base, key: [], after: [] },
    { ...base, after: [1n] },
    { ...base, after: [1n, undefined] },
    { ...base, after: [1n, 2n ** 63n] },
    { ...base, operation: 'update' as const, before: [undefined, 1n] },
    { ...base, operation: 'delete' as const, before: [1n, undefined] },
    { ...base, after: [1n, { type: 'integer' as const, bytes: new Uint8Array(4) }] },
  ]) {
    expect(() => encodeChangeset([wrong])).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  }
})
