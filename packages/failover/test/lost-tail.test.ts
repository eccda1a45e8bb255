/** What a former leader alone had: kept whole, compared with the new history, applied once. */
import { DatabaseSync } from 'node:sqlite'
import {
  FLAG_AWAITS_ACKS,
  FLAG_CONTINUES,
  FLAG_JOINS_GROUP,
  FLAG_UNMET,
  type Log,
  type LogPoint,
  type LogRecord,
} from '@understudy/contracts'
import { SeededRandom, SimulatedDisk } from '@understudy/testkit'
import { expect, test } from 'vitest'
import {
  classify,
  discardLostTail,
  exportLostTail,
  findLostTail,
  listLostTails,
  noteApplied,
  readLostTail,
  statementsFor,
  type Classification,
  type ReadRows,
  type SqlValue,
  type TailFormat,
} from '../src/index.ts'

const COMMON: LogPoint = { epoch: 1, lsn: 10, crc: 110 }
const DIRECTORY = '/data/lost-tail'

/** Payloads are descriptions in JSON, in the shape of the row format's. */
const ROWS: TailFormat = {
  id: 1,
  name: 'row',
  describe: (payload) => JSON.parse(Buffer.from(payload).toString()),
}
const STATEMENTS: TailFormat = { ...ROWS, id: 2, name: 'statement' }
const PAGES: TailFormat = { ...ROWS, id: 3, name: 'wal', physical: true }
const FORMATS = [ROWS, STATEMENTS, PAGES]

interface Made {
  readonly format?: number
  readonly flags?: number
  readonly epoch?: number
  readonly payload?: Uint8Array
  readonly described?: unknown
}

function recordsOf(made: readonly Made[]): LogRecord[] {
  return made.map(({ format = 1, flags = 0, epoch = 1, payload, described }, index) => ({
    epoch,
    lsn: COMMON.lsn + 1 + index,
    crc: COMMON.crc + 1 + index,
    previousCrc: COMMON.crc + index,
    format,
    flags,
    committedAtMs: 1000 + index,
    payload: payload ?? Buffer.from(JSON.stringify(described ?? {})),
  }))
}

function logOf(records: readonly LogRecord[], first: number = COMMON.lsn + 1): Log {
  return {
    first,
    history: [{ number: 1, runId: '', leader: 'a', firstLsn: 1, crcBefore: 0 }],
    crcAt: (lsn) => 100 + lsn,
    *records(from: number, upTo: number) {
      for (const record of records) if (record.lsn >= from && record.lsn <= upTo) yield record
    },
  } as Partial<Log> as Log
}

function exported(
  made: readonly Made[],
  disk: SimulatedDisk = new SimulatedDisk({ directories: 'durable' }),
  highWatermark?: number,
) {
  const records = recordsOf(made)
  const { epoch, lsn, crc } = records.at(-1) as LogRecord
  const path = exportLostTail({
    files: disk,
    directory: DIRECTORY,
    log: logOf(records),
    cluster: 'c',
    node: 'a',
    common: COMMON,
    end: { epoch, lsn, crc },
    ...(highWatermark !== undefined && { highWatermark }),
    nowMs: 5000,
  })
  return { disk, path }
}

function tailOf(made: readonly Made[]) {
  const { disk, path } = exported(made)
  return readLostTail(disk, path as string, FORMATS)
}

type Row = Record<string, unknown>
const insert = (after: Row, table = 'note') => step(table, { inserts: [after] })
const remove = (before: Row, table = 'note') => step(table, { deletes: [before] })
const update = (key: Row, old: Row, changed: Row) => step('note', { updates: [{ key, old, new: changed }] })
const step = (table: string, rows: object) => ({
  table,
  key: ['id'],
  deletes: [],
  updates: [],
  inserts: [],
  ...rows,
})
const group = (...steps: unknown[]) => ({ described: { writes: 1, changes: steps.length, steps } })

function database(sql: string): DatabaseSync {
  const db = new DatabaseSync(':memory:')
  db.exec(`create table note (id integer primary key, body, n); ${sql}`)
  return db
}

function reading(db: DatabaseSync): ReadRows {
  return (sql, parameters) => {
    const statement = db.prepare(sql)
    statement.setReturnArrays(true)
    statement.setReadBigInts(true)
    return Promise.resolve(statement.all(...parameters) as unknown as SqlValue[][])
  }
}

/** One write: all or nothing. */
function write(db: DatabaseSync, classification: Classification): number {
  const statements = statementsFor(classification)
  db.exec('begin')
  try {
    for (const { sql, params } of statements) db.prepare(sql).all(...params)
    db.exec('commit')
  } catch (error) {
    db.exec('rollback')
    throw error
  }
  return statements.length
}

const rows = (db: DatabaseSync) =>
  db
    .prepare('select * from note order by id')
    .all()
    .map((row) => ({ ...row }))
const outline = ({ transactions }: Classification) =>
  transactions.map(
    ({ decision, changes }) => `${decision}: ${changes.map(({ verdict }) => verdict).join(' ')}`,
  )

test('a tail is kept whole, in order, with how far each transaction had got', () => {
  const { disk, path } = exported([
    { described: { writes: 2, steps: [insert({ id: 1, body: 'x', n: { real: '1' } })] } },
    {
      ...group(insert({ id: 2, body: { blob: '00ff' }, n: { integer: '9007199254740993' } })),
      flags: FLAG_UNMET,
    },
    { ...group(remove({ id: 2, body: null, n: null })), flags: FLAG_AWAITS_ACKS },
    { ...group(insert({ id: 3, body: 'y', n: 1 })), flags: FLAG_AWAITS_ACKS },
    { ...group(insert({ id: 4, body: 'z', n: 1 })), flags: FLAG_AWAITS_ACKS | FLAG_JOINS_GROUP },
  ])
  expect(path).toBe(`${DIRECTORY}/1-11-15-00000073.tail`)
  const { header, transactions } = readLostTail(disk, path as string, FORMATS)
  expect(header).toEqual({
    cluster: 'c',
    node: 'a',
    common: COMMON,
    end: { epoch: 1, lsn: 15, crc: 115 },
    exportedAtMs: 5000,
  })
  expect(
    transactions.map(({ position, level, writes, committedAtMs }) => [
      position.lsn,
      level,
      writes,
      committedAtMs,
    ]),
  ).toEqual([
    [11, 'local', 2, 1000],
    [12, 'unmet', 1, 1001],
    [13, 'acked', 1, 1002],
    [14, 'unacked', 1, 1003],
    [15, 'unacked', 1, 1004],
  ])
  expect(transactions.slice(0, 2).map(({ changes }) => changes)).toEqual([
    [
      {
        operation: 'insert',
        table: 'note',
        key: ['id'],
        before: undefined,
        after: { id: 1n, body: 'x', n: 1 },
      },
    ],
    [
      {
        operation: 'insert',
        table: 'note',
        key: ['id'],
        before: undefined,
        after: { id: 2n, body: Uint8Array.of(0, 255), n: 9007199254740993n },
      },
    ],
  ])
})

test('a high watermark tells that the last group was acked', () => {
  const { disk, path } = exported([{ ...group(), flags: FLAG_AWAITS_ACKS }], undefined, 11)
  expect(readLostTail(disk, path as string, FORMATS).transactions[0]?.level).toBe('acked')
})

test('parts are one transaction; what never was whole is none', () => {
  const payload = Buffer.from(JSON.stringify(group(insert({ id: 1, body: 'x', n: 1 })).described))
  const { transactions } = tailOf([
    { payload: payload.subarray(0, 7), flags: FLAG_CONTINUES },
    { payload: payload.subarray(7) },
    { payload: payload.subarray(0, 7), flags: FLAG_CONTINUES },
    { format: 0, epoch: 2, payload: Uint8Array.of(1) },
    { epoch: 2, payload },
    { epoch: 2, payload: payload.subarray(0, 9), flags: FLAG_CONTINUES },
  ])
  expect(transactions.map(({ position, changes }) => [position, changes.length])).toEqual([
    [{ epoch: 1, lsn: 12 }, 1],
    [{ epoch: 2, lsn: 15 }, 1],
  ])
})

test('a log that no longer reaches back to the common point says from where on it has the tail', () => {
  const records = recordsOf([group(), group(), group(insert({ id: 1, body: 'x', n: 1 }))])
  const disk = new SimulatedDisk({ directories: 'durable' })
  const { epoch, lsn, crc } = records.at(-1) as LogRecord
  const path = exportLostTail({
    files: disk,
    directory: DIRECTORY,
    log: logOf(records, 13),
    cluster: 'c',
    node: 'a',
    common: COMMON,
    end: { epoch, lsn, crc },
    nowMs: 5000,
  })
  const { header, transactions } = readLostTail(disk, path as string, FORMATS)
  expect([header.common, header.after]).toEqual([COMMON, { epoch: 1, lsn: 12, crc: 112 }])
  expect(transactions.map(({ position }) => position.lsn)).toEqual([13])
})

test('a tail of nothing but records of the log makes no file', () => {
  const { disk, path } = exported([{ format: 0 }, { format: 0 }])
  expect(path).toBeUndefined()
  expect(listLostTails(disk, DIRECTORY)).toEqual([])
})

test('whatever a crash leaves, the file is whole when the export returned, and made again when it did not', () => {
  const made = [
    group(insert({ id: 1, body: 'x'.repeat(3000), n: 1 })),
    group(insert({ id: 2, body: 'y'.repeat(3000), n: 1 })),
  ]
  let failures = 0
  for (const operation of ['open', 'write', 'truncate', 'dataSync', 'rename', 'syncDirectory'] as const) {
    for (let after = 0; ; after += 1) {
      const disk = new SimulatedDisk({ random: new SeededRandom(after), directories: 'durable' })
      disk.failOnce(operation, { after })
      let path: string | undefined
      try {
        ;({ path } = exported(made, disk))
      } catch {
        failures += 1
      }
      if (disk.counts.injectedFaults === 0) break
      disk.crash()
      if (path !== undefined) expect(readLostTail(disk, path, FORMATS).transactions).toHaveLength(2)
      const again = exported(made, disk).path as string
      disk.crash()
      expect(readLostTail(disk, again, FORMATS).transactions).toHaveLength(2)
      expect(listLostTails(disk, DIRECTORY)).toHaveLength(1)
    }
  }
  expect(failures).toBeGreaterThan(8)
})

test('every damaged byte is noticed', () => {
  const { disk, path } = exported([
    group(insert({ id: 1, body: 'x', n: 1 })),
    group(remove({ id: 1, body: 'x', n: 1 })),
  ])
  const whole = bytesOf(disk, path as string)
  for (let at = 0; at < whole.length; at += 1) {
    const damaged = Uint8Array.from(whole)
    damaged[at] = (damaged[at] as number) ^ 0x10
    put(disk, path as string, damaged)
    expect(() => readLostTail(disk, path as string, FORMATS)).toThrow(/STATE_CORRUPT|damaged|version/)
    put(disk, path as string, whole.subarray(0, at))
    expect(() => readLostTail(disk, path as string, FORMATS)).toThrow('damaged')
  }
})

test('a newer file says so', () => {
  const disk = new SimulatedDisk({ directories: 'durable' })
  put(disk, '/x.tail', Buffer.from('understudy-lost-tail 2\n'))
  expect(() => readLostTail(disk, '/x.tail', FORMATS)).toThrow(
    expect.objectContaining({ code: 'FORMAT_VERSION' }),
  )
})

test('changes are compared with the new history, and clean ones are applied once', async () => {
  const db = database(`insert into note values (1, 'one', 1), (2, 'two', 2), (3, 'three', 3), (5, 'five', 5)`)
  const tail = tailOf([
    group(insert({ id: 9, body: 'nine', n: 9 })),
    group(
      update({ id: 9 }, { body: 'nine' }, { body: 'NINE' }),
      update({ id: 9 }, { n: 9 }, { n: { real: '9.5' } }),
    ),
    group(update({ id: 1 }, { body: 'one' }, { body: 'uno' })),
    group(remove({ id: 2, body: 'two', n: 2 })),
    group(update({ id: 3 }, { n: 0 }, { n: 3 })),
    group(remove({ id: 77, body: 'gone', n: 1 })),
  ])
  const first = await classify(tail, reading(db))
  expect(outline(first)).toEqual([
    'apply: clean',
    'apply: clean clean',
    'apply: clean',
    'apply: clean',
    'nothing: alreadyThere',
    'nothing: alreadyThere',
  ])
  expect(first.counts).toEqual({ clean: 5, alreadyThere: 2, idTaken: 0, conflict: 0 })
  write(db, first)
  const after = rows(db)
  expect(after).toEqual([
    { id: 1, body: 'uno', n: 1 },
    { id: 3, body: 'three', n: 3 },
    { id: 5, body: 'five', n: 5 },
    { id: 9, body: 'NINE', n: 9.5 },
  ])
  const second = await classify(tail, reading(db))
  // The row came and changed; only its end is there now, and nothing is done again.
  expect(write(db, second)).toBe(0)
  expect(rows(db)).toEqual(after)
})

test('an id that the new history gave to another row is told, and what builds on it is kept back', async () => {
  const db = database(`insert into note values (4, 'theirs', 1), (6, 'six', 1)`)
  const tail = tailOf([
    group(insert({ id: 4, body: 'ours', n: 1 })),
    group(update({ id: 4 }, { n: 1 }, { n: 2 })),
    group(
      update({ id: 6 }, { body: 'was six' }, { body: 'now six' }),
      insert({ id: 7, body: 'seven', n: 7 }),
    ),
    group(update({ id: 7 }, { n: 7 }, { n: 8 })),
    group(insert({ id: 8, body: 'eight', n: 8 })),
  ])
  const classification = await classify(tail, reading(db))
  expect(outline(classification)).toEqual([
    'skip: idTaken',
    'skip: conflict',
    'skip: conflict clean',
    'skip: conflict',
    'apply: clean',
  ])
  expect(classification.transactions.map(({ reason }) => reason)).toEqual([
    'insert in note: another row has its key',
    'update in note: it goes on from 1/11, which is not applied',
    'update in note: the row has other values now',
    'update in note: it goes on from 1/13, which is not applied',
    undefined,
  ])
  write(db, classification)
  expect(rows(db).map(({ id, body }) => [id, body])).toEqual([
    [4, 'theirs'],
    [6, 'six'],
    [8, 'eight'],
  ])
})

test('a row that changes between comparing and applying undoes the whole write', async () => {
  for (const meanwhile of [
    `update note set n = 5 where id = 1`,
    `delete from note where id = 1`,
    `update note set n = 5 where id = 2`,
    `insert into note values (3, 'theirs', 0)`,
  ]) {
    const db = database(`insert into note values (1, 'one', 1), (2, 'two', 2)`)
    const classification = await classify(
      tailOf([
        group(update({ id: 1 }, { n: 1 }, { n: 2 })),
        group(insert({ id: 3, body: 'ours', n: 1 })),
        group(remove({ id: 2, body: 'two', n: 2 })),
      ]),
      reading(db),
    )
    expect(classification.counts.clean).toBe(3)
    db.exec(meanwhile)
    const before = rows(db)
    expect(() => write(db, classification)).toThrow(/overflow|UNIQUE/)
    expect(rows(db)).toEqual(before)
  }
})

test('what is no plain row is never applied, nor what may rest on it', async () => {
  const db = database('')
  const outlines = async (...made: Made[]) => {
    const { transactions } = await classify(
      tailOf([...made, group(insert({ id: 1, body: 'x', n: 1 }))]),
      reading(db),
    )
    return transactions.map(({ decision, reason }) => `${decision}: ${reason ?? ''}`)
  }
  expect(await outlines({ described: { writes: 1, steps: [{ sql: 'create table more (id)' }] } })).toEqual([
    'skip: it changes the schema',
    'skip: 1/11 before it is not applied: it changes the schema',
  ])
  expect((await outlines({ format: 2, described: { writes: [[{ sql: 'delete from note' }]] } }))[0]).toBe(
    'skip: it holds statements, not rows',
  )
  expect((await outlines({ format: 3 }))[0]).toBe('skip: it holds pages, not rows')
  expect((await outlines({ format: 9 }))[0]).toBe('skip: its format is not known here')
  expect((await outlines({ described: { something: 'else' } }))[0]).toBe(
    'skip: its description has no shape that is known',
  )
  expect((await outlines(group(insert({ id: 5, body: 'a\ufffd', n: 1 }))))[0]).toBe(
    'skip: it holds a text that is not UTF-8',
  )
  expect((await outlines(group(insert({ id: 5, other: 1 })))).map((line) => line)).toEqual([
    'skip: insert in note: table note has no column other',
    'apply: ',
  ])
  expect((await outlines(group(insert({ id: 5 }, 'nowhere'))))[0]).toBe(
    'skip: insert in nowhere: there is no table nowhere',
  )
})

test('triggers of the new history are not run again by what they did in the old one', async () => {
  const db = database('create trigger t after insert on note begin select 1; end')
  const { transactions } = await classify(
    tailOf([group(insert({ id: 1, body: 'x', n: 1 })), group(remove({ id: 2, body: 'x', n: 1 }))]),
    reading(db),
  )
  expect(transactions.map(({ decision, reason }) => [decision, reason])).toEqual([
    ['skip', 'triggers of table note would run again; what they did is in the tail'],
    ['nothing', undefined],
  ])
})

test('rows that an action takes along are no conflict', async () => {
  const db = database(`create table child (id integer primary key, note references note on delete cascade);
    insert into note values (1, 'x', 1); insert into child values (5, 1); pragma foreign_keys = on`)
  const child = { table: 'child', key: ['id'], deletes: [{ id: 5, note: 1 }], updates: [], inserts: [] }
  const classification = await classify(
    tailOf([group(remove({ id: 1, body: 'x', n: 1 }), child)]),
    reading(db),
  )
  expect(outline(classification)).toEqual(['apply: clean clean'])
  write(db, classification)
  expect([rows(db), db.prepare('select * from child').all()]).toEqual([[], []])
})

test('values are the same only with their types', async () => {
  const db = database(`insert into note values (1, 1, 1.0), (2, '1', x'31')`)
  const classification = await classify(
    tailOf([
      group(remove({ id: 1, body: 1, n: { real: '1' } })),
      group(remove({ id: 2, body: 1, n: { blob: '31' } })),
    ]),
    reading(db),
  )
  expect(outline(classification)).toEqual(['apply: clean', 'skip: conflict'])
})

test('tails are listed, noted as applied, and discarded', () => {
  const { disk, path } = exported([group(insert({ id: 1, body: 'x', n: 1 }))])
  const file = findLostTail(disk, DIRECTORY, '1-11-11-0000006f')
  expect(file).toEqual({ id: '1-11-11-0000006f', path, applied: undefined })
  const note = { position: '3/7', atMs: 9, transactions: 1, of: 1 }
  noteApplied(disk, file, note)
  disk.crash()
  expect(listLostTails(disk, DIRECTORY)).toEqual([{ ...file, applied: note }])
  expect(() => findLostTail(disk, DIRECTORY, 'other')).toThrow('there are: 1-11-11-0000006f')
  discardLostTail(disk, file)
  disk.crash()
  expect(listLostTails(disk, DIRECTORY)).toEqual([])
})

function bytesOf(disk: SimulatedDisk, path: string): Uint8Array {
  const handle = disk.open(path)
  const bytes = new Uint8Array(handle.size())
  handle.read(bytes, 0)
  handle.close()
  return bytes
}

function put(disk: SimulatedDisk, path: string, bytes: Uint8Array): void {
  const handle = disk.open(path, { create: true, write: true })
  handle.truncate(0)
  handle.write([bytes], 0)
  handle.close()
}
