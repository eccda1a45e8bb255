/**
 * Pages from a hostile leader. Whoever ships pages writes every byte of the follower's file, so nothing of what the file
 * says can be promised. What is promised: no crash, no hang, no write outside the file; the storage stops or its
 * statements fail; it closes, and a restart says what is wrong.
 */
import { expect, test } from 'vitest'
import { openStorage } from '../src/index.ts'
import { crashed } from './helpers.ts'
import { apply, follower, leader, pathOf, type Shipped } from './physical.ts'

/** The pages of one honest transaction, for somebody to change. */
async function world(): Promise<{
  copy: Awaited<ReturnType<typeof follower>>
  shipped: Shipped
  positionPage: number
}> {
  const { storage, write } = leader()
  write((tx) => tx.exec('create table u (v); create index u_v on u (v)'))
  const copy = await follower(storage)
  const shipped = write((tx) =>
    tx.exec("insert into t (v) values ('x'); insert into u values ('y')"),
  ) as Shipped
  const root = storage.connection.database
    .prepare("select rootpage from sqlite_schema where name = '_understudy_position'")
    .get()?.['rootpage']
  return { copy, shipped, positionPage: Number(root) }
}

function changed(
  shipped: Shipped,
  page: number,
  change: (image: Buffer) => void,
  base?: Uint8Array,
): Shipped {
  const found = shipped.pages.find((each) => each.page === page)
  const image = Buffer.from(found?.image ?? (base as Uint8Array))
  change(image)
  const others = shipped.pages.filter((each) => each.page !== page)
  return {
    ...shipped,
    pages: [...others, { page, image, previous: undefined }].toSorted((a, b) => a.page - b.page),
  }
}

const POSITIONS: readonly (readonly [string, (image: Buffer) => void])[] = [
  ['without a row', (image) => image.fill(0).writeUInt8(13, 0)],
  ['of zeros', (image) => image.fill(0)],
  ['of noise', (image) => image.fill(0xa7)],
  ['with a cell beyond the page', (image) => image.writeUInt16BE(0xffff, 8)],
  ['with a thousand rows', (image) => image.writeUInt16BE(1000, 3)],
]

test.each(POSITIONS)('a position page %s stops the storage; a restart says so', async (_name, change) => {
  const { copy, shipped, positionPage } = await world()
  expect(() => apply(copy, changed(shipped, positionPage, change))).toThrow(
    expect.objectContaining({ code: 'STORAGE_FAILED' }),
  )
  expect(copy.failure?.code).toBe('STORAGE_FAILED')
  expect(() => copy.begin()).toThrow(expect.objectContaining({ code: 'STORAGE_FAILED' }))
  const path = crashed(pathOf(copy))
  await copy.close()
  expect(() => openStorage({ path })).toThrow(/position|malformed|damaged/)
})

const HEADERS: readonly (readonly [string, (image: Buffer) => void])[] = [
  ['no magic', (image) => image.fill(0, 0, 16)],
  ['another page size', (image) => image.writeUInt16BE(512, 16)],
  ['all bytes reserved', (image) => image.writeUInt8(255, 20)],
  ['a page count that lies', (image) => image.writeUInt32BE(1_000_000, 28)],
  ['another encoding', (image) => image.writeUInt32BE(3, 56)],
  ['a free list beyond the end', (image) => image.writeUInt32BE(4_000_000_000, 32)],
  ['a format of the future', (image) => image.writeUInt32BE(99, 44)],
  ['a schema of noise', (image) => image.fill(0xa7, 100)],
  ['no schema', (image) => image.fill(0, 100)],
]

test.each(HEADERS)(
  'a first page with %s fails reads or the storage, and nothing else',
  async (_name, change) => {
    const { copy, shipped } = await world()
    const first = copy.connection.pages.read(1) as Uint8Array
    const withCookie = (image: Buffer): void => {
      // A new schema cookie, so that the schema is read anew.
      image.writeUInt32BE(image.readUInt32BE(40) + 1, 40)
      change(image)
    }
    let failure: unknown
    try {
      apply(copy, changed(shipped, 1, withCookie, first))
    } catch (error) {
      failure = error
      expect(error).toMatchObject({
        code: expect.stringMatching(/STORAGE_FAILED|FILE_MALFORMED|DATABASE_UNSUITABLE/),
      })
    }
    const read = await copy.read((tx) => tx.all('select * from t')).catch((error: unknown) => error)
    const isHarmless = Array.isArray(read) && read.length === 1
    expect(failure !== undefined || read instanceof Error || isHarmless).toBe(true)
    await copy.checkpoint().catch(() => {})
    await copy.close()
  },
)

test.each([
  ['an index of noise', 'u_v', (image: Buffer) => image.fill(0x5a)],
  ['a table that is its own child', 't', (image: Buffer) => loop(image)],
  ['a table of one cell that overlaps', 't', (image: Buffer) => image.writeUInt16BE(9, 8)],
])('%s fails the statements that meet it', async (_name, object, change) => {
  const { copy, shipped } = await world()
  const root = Number(
    copy.connection.database.prepare('select rootpage from sqlite_schema where name = ?').get(object)?.[
      'rootpage'
    ],
  )
  const base = copy.connection.pages.read(root) as Uint8Array
  apply(copy, changed(shipped, root, change, base))
  const sql = object === 't' ? 'select * from t' : 'select v from u order by v'
  await expect(copy.read((tx) => tx.all(sql))).rejects.toThrow(/malformed/)
  expect(await copy.read((tx) => tx.get('select count(*) as n from _understudy_position'))).toEqual({ n: 1 })
})

/** An interior page whose only child is itself, which is page 2 or 3. */
function loop(image: Buffer): void {
  image.fill(0)
  image.writeUInt8(5, 0)
  image.writeUInt16BE(image.length, 5)
  image.writeUInt32BE(3, 8)
}
