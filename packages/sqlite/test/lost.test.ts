import { expect, test, vi } from 'vitest'
import type { WriteTransaction } from '@understudy/contracts'
import { commitOne, opened, point, recorder } from './helpers.ts'

test('a promise from a callback is refused, and its later statements fail', async () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  let late: unknown
  let body: Promise<void> | undefined
  storage.begin()
  expect(() =>
    storage.write((tx) => {
      body = (async () => {
        tx.run('insert into t (v) values (1)')
        await Promise.resolve()
        try {
          tx.run('insert into t (v) values (2)')
        } catch (error) {
          late = error
        }
      })()
      return body
    }, recorder()),
  ).toThrow(expect.objectContaining({ code: 'WRITE_ASYNC' }))
  storage.mark(point(2))
  storage.commit()
  await body
  expect(late).toMatchObject({ code: 'CLOSED' })
  expect(commitOne(storage, 3, (tx) => tx.all('select * from t'))).toEqual([])
})

test('a rejected promise of a callback does not end the process', async () => {
  const storage = opened()
  const unhandled = vi.fn<() => void>()
  process.once('unhandledRejection', unhandled)
  storage.begin()
  expect(() => storage.write(() => Promise.reject(new Error('late')), recorder())).toThrow(
    expect.objectContaining({ code: 'WRITE_ASYNC' }),
  )
  storage.rollback()
  await new Promise((resolve) => setImmediate(resolve))
  process.removeListener('unhandledRejection', unhandled)
  expect(unhandled).not.toHaveBeenCalled()
})

test('a transaction object is dead after its callback', () => {
  const storage = opened()
  let kept: WriteTransaction | undefined
  storage.begin()
  storage.write((tx) => void (kept = tx), recorder())
  const closed = expect.objectContaining({ code: 'CLOSED' })
  expect(() => kept?.run('select 1')).toThrow(closed)
  storage.write(() => {
    expect(() => kept?.all('select 1')).toThrow(closed)
    expect(() => kept?.exec('select 1')).toThrow(closed)
  }, recorder())
  storage.rollback()
})

const ENDERS: [string, (tx: WriteTransaction) => void][] = [
  ['INSERT OR ROLLBACK', (tx) => tx.run('insert or rollback into t values (1, 0)')],
  ['UPDATE OR ROLLBACK', (tx) => tx.run('update or rollback t set id = 1')],
  [
    'ON CONFLICT ROLLBACK',
    (tx) => tx.exec('insert into strict_one values (1); insert into strict_one values (1)'),
  ],
  ['RAISE(ROLLBACK)', (tx) => tx.run('insert into t values (666, 0)')],
]

for (const alone of [false, true])
  test.each(ENDERS)(
    `%s loses the whole group, even when the callback catches it (alone: ${alone})`,
    (_name, end) => {
      const storage = opened()
      commitOne(storage, 1, (tx) =>
        tx.exec(`create table t (id integer primary key, v);
        create table strict_one (v integer unique on conflict rollback);
        create trigger no after insert on t when new.id = 666 begin select raise(rollback, 'no'); end;
        insert into t values (1, 0), (2, 0)`),
      )
      storage.begin()
      if (!alone) storage.write((tx) => tx.run('insert into t values (10, 0)'), recorder())
      const lost = expect.objectContaining({ code: 'TRANSACTION_LOST' })
      expect(() =>
        storage.write(
          (tx) => {
            tx.run('insert into t values (11, 0)')
            expect(() => end(tx)).toThrow(lost)
            // In a transaction of its own, this row would stay.
            expect(() => tx.run('insert into t values (12, 0)')).toThrow(lost)
          },
          recorder(),
          { alone },
        ),
      ).toThrow(lost)
      storage.rollback()
      expect(storage.applied).toEqual(point(1))
      expect(commitOne(storage, 2, (tx) => tx.all('select id from t'))).toEqual([{ id: 1 }, { id: 2 }])
    },
  )

test('a full disk inside a group loses the group, says so, and later writes work', () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  const limit = (pages: number): void =>
    storage.connection.internal(() => storage.connection.database.exec(`pragma max_page_count = ${pages}`))
  limit(10)
  storage.begin()
  storage.write((tx) => tx.run('insert into t (v) values (1)'), recorder())
  expect(() =>
    storage.write((tx) => {
      for (;;) tx.run('insert into t (v) values (zeroblob(4000))')
    }, recorder()),
  ).toThrow(
    expect.objectContaining({
      code: 'TRANSACTION_LOST',
      details: expect.objectContaining({ sqliteCode: 13 }),
    }),
  )
  storage.rollback()
  limit(1_000_000)
  expect(commitOne(storage, 2, (tx) => tx.get('select count(*) as n from t'))).toEqual({ n: 0 })
})

test('a deferred foreign key fails its own write, not the commit of the group', () => {
  const storage = opened()
  commitOne(storage, 1, (tx) =>
    tx.exec(`create table parent (id integer primary key);
      create table child (id integer primary key, parent references parent deferrable initially deferred)`),
  )
  const calls: string[] = []
  storage.begin()
  storage.write((tx) => tx.run('insert into parent values (1)'), recorder())
  expect(() => storage.write((tx) => tx.run('insert into child values (1, 99)'), recorder(calls))).toThrow(
    expect.objectContaining({ code: 'NOT_WRITTEN' }),
  )
  storage.write((tx) => {
    tx.run('insert into child values (2, 2)')
    tx.run('insert into parent values (2)')
  }, recorder(calls))
  storage.mark(point(2))
  storage.commit()
  expect(calls).toEqual(['beginWrite', 'abandonWrite', 'beginWrite', 'endWrite'])
  expect(commitOne(storage, 3, (tx) => tx.all('select id from child'))).toEqual([{ id: 2 }])
  expect(() => commitOne(storage, 4, (tx) => tx.run('delete from parent where id = 2'))).toThrow(
    expect.objectContaining({ code: 'NOT_WRITTEN' }),
  )
  expect(storage.applied).toEqual(point(3))
})

test('PRAGMA defer_foreign_keys holds for its own write alone', () => {
  const storage = opened()
  commitOne(storage, 1, (tx) =>
    tx.exec(
      'create table parent (id integer primary key); create table child (id integer primary key, parent references parent)',
    ),
  )
  const orphan = 'insert into child values (1, 99)'
  storage.begin()
  storage.write((tx) => tx.exec('pragma defer_foreign_keys = on'), recorder())
  expect(() => storage.write((tx) => tx.run(orphan), recorder())).toThrow('FOREIGN KEY constraint failed')
  expect(() =>
    storage.write((tx) => {
      tx.exec('pragma defer_foreign_keys = on')
      tx.run(orphan)
    }, recorder()),
  ).toThrow(expect.objectContaining({ code: 'NOT_WRITTEN' }))
  expect(() =>
    storage.write((tx) => {
      tx.exec('pragma defer_foreign_keys = on')
      throw new Error('mine')
    }, recorder()),
  ).toThrow('mine')
  expect(() => storage.write((tx) => tx.run(orphan), recorder())).toThrow('FOREIGN KEY constraint failed')
  storage.commit()
})

test('a COMMIT that fails stops the storage for good', () => {
  const storage = opened()
  const { database } = storage.connection
  commitOne(storage, 1, (tx) =>
    tx.exec(
      'create table p (id integer primary key); create table c (p references p deferrable initially deferred)',
    ),
  )
  storage.begin()
  // What no callback can do, internal code can: leave a violation behind.
  storage.connection.internal(() => database.exec('insert into c values (5)'))
  storage.mark(point(2))
  const failed = expect.objectContaining({ code: 'STORAGE_FAILED' })
  expect(() => storage.commit()).toThrow(failed)
  expect(storage.applied).toEqual(point(1))
  expect(() => storage.begin()).toThrow(failed)
  expect(storage.failure).toMatchObject({ code: 'STORAGE_FAILED' })
})

test('a recorder that throws at the end of a write rolls that write back alone', () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key)'))
  const calls: string[] = []
  const refusing = {
    ...recorder(calls),
    endWrite: () => {
      throw new Error('no primary key')
    },
  }
  storage.begin()
  storage.write((tx) => tx.run('insert into t values (1)'), recorder())
  expect(() => storage.write((tx) => tx.run('insert into t values (2)'), refusing)).toThrow('no primary key')
  storage.commit()
  expect(calls).toEqual(['beginWrite', 'abandonWrite'])
  expect(commitOne(storage, 2, (tx) => tx.all('select id from t'))).toEqual([{ id: 1 }])
})
