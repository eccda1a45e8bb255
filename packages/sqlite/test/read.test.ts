import { expect, test } from 'vitest'
import { commitOne, opened } from './helpers.ts'

test('a read sees one moment of the database, also across awaits', async () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key)'))
  const counts = await storage.read(async (tx) => {
    const before = tx.get('select count(*) as n from t')
    commitOne(storage, 2, (write) => write.run('insert into t values (1)'))
    await Promise.resolve()
    return [before, tx.get('select count(*) as n from t')]
  })
  expect(counts).toEqual([{ n: 0 }, { n: 0 }])
  expect(await storage.read((tx) => tx.get('select count(*) as n from t'))).toEqual({ n: 1 })
})

test('reads wait for a free reader, in order, and a throw frees it', async () => {
  const storage = opened({ readers: 1 })
  const order: string[] = []
  const gate = Promise.withResolvers<void>()
  const first = storage.read(async () => {
    await gate.promise
    order.push('first')
    throw new Error('mine')
  })
  const second = storage.read(() => void order.push('second'))
  const third = storage.read(() => void order.push('third'))
  gate.resolve()
  await expect(first).rejects.toThrow('mine')
  await Promise.all([second, third])
  expect(order).toEqual(['first', 'second', 'third'])
})

test('with a free reader the callback runs in the turn of the call', () => {
  const storage = opened()
  let ran = false
  const reading = storage.read(() => void (ran = true))
  expect(ran).toBe(true)
  return reading
})

test.each([
  'insert into t values (1)',
  'create table u (v)',
  'commit',
  "attach ':memory:' as other",
  'pragma query_only = off',
  'pragma journal_mode = delete',
  'create temp table u (v)',
  'vacuum',
])('a read callback may not run: %s', async (sql) => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key)'))
  await expect(storage.read((tx) => tx.all(sql))).rejects.toMatchObject({ code: 'WRITE_FORBIDDEN' })
  expect(await storage.read((tx) => tx.all('select * from t'))).toEqual([])
})

test('a read object is dead after its callback, and close ends those that wait', async () => {
  const storage = opened({ readers: 1 })
  const gate = Promise.withResolvers<void>()
  const running = storage.read(async (tx) => {
    await gate.promise
    return tx
  })
  const waiting = storage.read(() => 1)
  const closing = storage.close()
  await expect(waiting).rejects.toMatchObject({ code: 'CLOSED' })
  gate.resolve()
  const kept = await running
  await closing
  expect(() => kept.all('select 1')).toThrow(expect.objectContaining({ code: 'CLOSED' }))
})
