/** The format as a value: options, what the handshake compares, and payloads of every released version. */
import { readFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { walFormat, type WalFormatOptions } from '../src/index.ts'
import { Directory, Follower, Leader, TestConnection } from './helpers.ts'
import { MemoryLeader, noise, patched } from './memory-leader.ts'
import { MemoryPages } from './memory-pages.ts'

test('it is format 3, physical', () => {
  expect(walFormat()).toMatchObject({ id: 3, name: 'wal', version: 1, physical: true })
})

test.each([
  [{ compress: 'gzip' }, 'compress is "gzip"'],
  [{ wholePageAbove: 2 }, 'wholePageAbove is 2'],
  [{ wholePageAbove: Number.NaN }, 'wholePageAbove is NaN'],
  [{ payloadBytesMax: 0 }, 'payloadBytesMax is 0'],
  [{ payloadBytesMax: 2 ** 31 }, 'payloadBytesMax is 2147483648'],
])('options that cannot be are INVALID_ARGUMENT: %o', (options, message) => {
  expect(() => walFormat(options as WalFormatOptions)).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(message) }),
  )
})

function fingerprint(options: ConstructorParameters<typeof Leader>[1]): string {
  using directory = new Directory()
  const leader = new Leader(directory.path, options)
  const text = walFormat().fingerprint(leader.connection)
  leader.finalFile()
  return text
}

test('the fingerprint is short text; a peer with another page size or encoding is told what differs and why', () => {
  const own = fingerprint({})
  expect(own).toBe('page size 4096, reserved bytes 0, encoding UTF-8, file format 2/2, schema format 4')
  expect(own.length).toBeLessThanOrEqual(200)
  const format = walFormat()
  const accepts = (here: string, there: string) => format.accepts(here, there)
  expect(accepts(own, fingerprint({ setup: 'create table more (x)' }))).toBeUndefined()
  expect(accepts(own, fingerprint({ pageBytes: 8192 }))).toMatch(
    /page size 4096 here and 8192 there\. .*that is its price/,
  )
  expect(accepts(own, fingerprint({ before: `pragma encoding = 'UTF-16le'` }))).toMatch(
    /peer's: encoding UTF-8 here and UTF-16le there\./,
  )
  expect(accepts(own, fingerprint({ before: 'pragma legacy_file_format = on' }))).toBeUndefined()
  expect(accepts(own, own.replace('schema format 4', 'schema format 1'))).toMatch(
    /schema format 4 here and 1 there/,
  )
  expect(accepts(own, own.replace('2/2', '1/1'))).toMatch(/file format 2\/2 here and 1\/1 there/)
  expect(accepts(own, '')).toMatch(/page size 4096 here and unknown there/)
  expect(accepts(own, `${own}, more 1`)).toMatch(/more 1" there/)
})

test('a database without a page has no fingerprint', () => {
  const connection = new TestConnection(new DatabaseSync(':memory:'), new MemoryPages(512, 0))
  expect(() => walFormat().fingerprint(connection)).toThrow(
    expect.objectContaining({ code: 'DATABASE_UNSUITABLE' }),
  )
})

/** The transactions of the golden file, from a file of three pages. */
function goldenPayloads(): Record<string, Uint8Array> {
  const file = Buffer.concat([noise(512, 1), noise(512, 2), noise(512, 3)])
  const leader = new MemoryLeader(512, file)
  const runs = leader.payload(new Map([[2, patched(patched(noise(512, 2), 7, 0, 0), 400, 0)]]))
  const grown = leader.payload(
    new Map([
      [1, new Uint8Array(512).fill(5, 500)],
      [4, patched(new Uint8Array(512), 3, 1, 2, 3)],
    ]),
    4,
  )
  const shrunk = leader.payload(new Map([[1, new Uint8Array(512)]]), 3)
  const base = leader.recorder.base()
  return { runs, grown, shrunk, base }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const golden = JSON.parse(readFileSync(new URL('fixtures/payloads-v1.json', import.meta.url), 'utf8')) as {
  readonly payloads: Record<string, string>
  readonly compressed: string
  readonly described: Record<string, unknown>
}

test('payloads of version 1 are written as they were released', () => {
  expect(
    Object.fromEntries(Object.entries(goldenPayloads()).map(([name, bytes]) => [name, hex(bytes)])),
  ).toEqual(golden.payloads)
})

test('payloads of version 1 are read as they were released', () => {
  const read = (text: string | undefined) => Uint8Array.from(Buffer.from(text ?? '', 'hex'))
  const file = Buffer.concat([noise(512, 1), noise(512, 2), noise(512, 3)])
  const follower = new Follower(512, file)
  const { runs, grown, shrunk, base } = golden.payloads
  follower.apply([read(runs), read(grown), read(shrunk)])
  expect(follower.applier.holds(read(base))).toBe(true)
  expect(follower.pages.bytes()).toEqual(
    new Uint8Array(
      Buffer.concat([new Uint8Array(512), patched(patched(noise(512, 2), 7, 0, 0), 400, 0), noise(512, 3)]),
    ),
  )
  // zstd may pack otherwise one day; what it packed then must still be read.
  follower.apply([read(golden.compressed)])
  expect(follower.pages.read(3)).toEqual(new Uint8Array(512).fill(9))
  expect(
    Object.fromEntries(
      Object.entries({ ...golden.payloads, compressed: golden.compressed }).map(([name, text]) => [
        name,
        walFormat().describe(read(text)),
      ]),
    ),
  ).toEqual(golden.described)
})
