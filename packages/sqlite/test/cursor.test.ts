/** Results in parts, what is known of a statement before it runs, and reads that may take long. */
import { expect, test } from 'vitest'
import type { SqliteStorage } from '../src/index.ts'
import { commitOne, opened } from './helpers.ts'

function filled(options: Parameters<typeof opened>[0] = {}): SqliteStorage {
  const storage = opened(options)
  commitOne(storage, 1, (tx) => {
    tx.exec('create table t (id integer primary key, v text)')
    for (let id = 1; id <= 10; id++) tx.run('insert into t values (?, ?)', [id, 'x'.repeat(id)])
  })
  return storage
}

test('a cursor gives every row once, in parts as large as asked for, and knows the last one', async () => {
  const storage = filled()
  await storage.read((tx) => {
    for (const rowsMax of [1, 3, 9, 10, 11]) {
      const cursor = tx.cursor('select id from t order by id')
      const ids: unknown[] = []
      for (let parts = 1; ; parts++) {
        const { rows, isLast } = cursor.next({ rowsMax, bytesMax: 1_000_000 })
        ids.push(...rows.map(([id]) => id))
        if (!isLast) continue
        expect(parts).toBe(Math.ceil(10 / rowsMax))
        break
      }
      expect(ids).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    }
    const wide = tx.cursor('select v from t order by id desc')
    expect(wide.next({ rowsMax: 100, bytesMax: 1 }).rows).toEqual([['x'.repeat(10)]])
    const none = tx.cursor('select id from t where id > ?', [10])
    expect(none.next({ rowsMax: 5, bytesMax: 5 })).toEqual({ columns: ['id'], rows: [], isLast: true })
  })
})

test('two cursors of one text, and the cached statement of it, do not disturb each other', async () => {
  const storage = filled()
  const sql = 'select id from t order by id'
  await storage.read((tx) => {
    const [a, b] = [tx.cursor(sql), tx.cursor(sql)]
    const one = { rowsMax: 1, bytesMax: 100 }
    expect([a.next(one).rows, b.next(one).rows, a.next(one).rows]).toEqual([[[1]], [[1]], [[2]]])
    expect(tx.all(sql).length).toBe(10)
    expect([a.next(one).rows, b.next(one).rows]).toEqual([[[3]], [[2]]])
  })
})

test('a cursor that nobody closed holds back nothing after its read', async () => {
  const storage = filled({ heldReaders: 1 })
  const left = await storage.read(
    (tx) => {
      const cursor = tx.cursor('select id from t')
      cursor.next({ rowsMax: 1, bytesMax: 1 })
      return cursor
    },
    { held: true },
  )
  expect(() => left.next({ rowsMax: 1, bytesMax: 1 })).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  commitOne(storage, 2, (tx) => tx.run('delete from t'))
  // The reader sees what was written since: its old view is gone.
  expect(await storage.read((tx) => tx.get('select count(*) as n from t'), { held: true })).toEqual({ n: 0 })
})

test('integers come as bigints where that is asked for', async () => {
  const storage = filled()
  await storage.read((tx) => {
    const limits = { rowsMax: 5, bytesMax: 100 }
    const sql = 'select 1, 9007199254740993, 1.5'
    expect(tx.cursor(sql).next(limits).rows).toEqual([[1, 9_007_199_254_740_993n, 1.5]])
    expect(tx.cursor(sql, [], { bigints: true }).next(limits).rows).toEqual([
      [1n, 9_007_199_254_740_993n, 1.5],
    ])
    expect(tx.table('select 1, 1.0', [], { bigints: true }).rows).toEqual([[1n, 1]])
    expect(tx.table('select 1, 1.0').rows).toEqual([[1, 1]])
  })
})

test('a statement is described without being run, a write too', async () => {
  const storage = filled()
  await storage.read((tx) => {
    expect(tx.describe('select id, v || ? as w from t where id in (?, ?)')).toEqual({
      columns: [
        { name: 'id', type: 'INTEGER' },
        { name: 'w', type: '' },
      ],
      parameters: 3,
      readOnly: true,
    })
    const many = Array.from({ length: 1000 }).fill('?').join(', ')
    expect(tx.describe(`delete from t where id in (${many})`)).toEqual({
      columns: [],
      parameters: 1000,
      readOnly: false,
    })
    expect(tx.get('select count(*) as n from t')).toEqual({ n: 10 })
  })
})

test('there are so many reads that may take long; others never wait for them, nor does the end of the storage', async () => {
  const storage = filled({ heldReaders: 2, readers: 1 })
  const never = new Promise<void>(() => {})
  const uses: (() => unknown)[] = []
  for (let at = 0; at < 2; at++)
    void storage.read(
      (tx) => {
        uses.push(() => tx.get('select 1'))
        return never
      },
      { held: true },
    )
  await expect(storage.read(() => undefined, { held: true })).rejects.toMatchObject({ code: 'OVERLOADED' })
  expect(await storage.read((tx) => tx.get('select 1 as one'), { foreign: true })).toEqual({ one: 1 })
  await storage.close()
  for (const use of uses) expect(use).toThrow(expect.objectContaining({ code: 'CLOSED' }))
})
