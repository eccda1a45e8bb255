/**
 * Records with right checksums from a leader that ran what its callbacks may not: on the real storage of a follower they
 * are refused as a whole, or do not reach what belongs to the node.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { LogFormat, LogPoint, SqliteConnection, WriteTransaction } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { statementFormat } from '@understudy/format-statement'
import { openStorage } from '@understudy/sqlite'

type Storage = ReturnType<typeof openStorage>
type Format = LogFormat<SqliteConnection>

const SCHEMA = `create table t (id integer primary key, v text); create table other (x);
  create virtual table words using fts5 (body)`

function point(lsn: number): LogPoint {
  return { epoch: 1, lsn, crc: lsn }
}

/** A storage at position 1 with the schema, made without a format. */
function storageWith(schema: string): Storage {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-hostile-'))
  const storage = openStorage({ path: join(folder, 'data.db') })
  onTestFinished(async () => {
    await storage.close()
    rmSync(folder, { recursive: true, force: true })
  })
  storage.begin()
  storage.connection.internal(() => storage.connection.database.exec(schema))
  storage.mark(point(1))
  storage.commit()
  return storage
}

/** The payloads of a leader whose guard was switched off. */
function recorded(
  format: Format,
  schema: string,
  body: (tx: WriteTransaction) => void,
): readonly Uint8Array[] {
  const storage = storageWith(schema)
  const { connection } = storage
  const recorder = format.recorder(connection)
  storage.begin()
  recorder.beginGroup()
  storage.write((tx) => connection.internal(() => body(tx)), recorder, { alone: true })
  const payloads = recorder.finishGroup()
  storage.rollback()
  recorder.close()
  return payloads
}

/** Applies as a follower does; the code of what it threw, rolled back. */
function applied(format: Format, storage: Storage, payloads: readonly Uint8Array[]): string {
  const applier = format.applier(storage.connection)
  try {
    storage.begin()
    applier.prepare()
    for (const payload of payloads) applier.apply(payload)
    storage.mark(point(2))
    storage.commit()
    return 'applied'
  } catch (error) {
    storage.rollback()
    return String((error as { code?: unknown }).code)
  } finally {
    applier.close()
  }
}

const STATEMENTS: readonly (readonly [string, string])[] = [
  ['deletes the position, its name in single quotes', "delete from '_understudy_position'"],
  ['updates it', "update '_understudy_position' set lsn = 99"],
  ['adds a position', "insert into '_understudy_position' values (1, 99, 0, 0, 300)"],
  ['replaces it', "replace into '_understudy_position' values (1, 99, 0, 0, 300)"],
  ['drops it', "drop table '_understudy_position'"],
  ['puts an index on it', "create index i on '_understudy_position' (lsn)"],
  [
    'puts a trigger on it',
    "create trigger w after update on '_understudy_position' begin delete from t; end",
  ],
  ['makes a table of the node', "create table '_understudy_mine' (v)"],
]

test.each(STATEMENTS)('020 a statement record that %s is refused', async (_name, sql) => {
  const format = statementFormat()
  // The leader of such a record: its own position is no concern of it.
  const payloads = recorded(format, SCHEMA, (tx) => tx.exec(sql))
  expect(payloads.length).toBe(1)
  const follower = storageWith(SCHEMA)
  expect(applied(format, follower, payloads)).toMatch(/RECORD_CORRUPT|DIVERGED/)
  expect(follower.applied).toEqual(point(1))
  expect(await follower.read((tx) => tx.all('select lsn from _understudy_position'))).toEqual([{ lsn: 1 }])
  expect(
    applied(
      format,
      follower,
      recorded(format, SCHEMA, (tx) => tx.exec("insert into t values (1, 'x')")),
    ),
  ).toBe('applied')
})

const TRIGGERS: readonly (readonly [string, string])[] = [
  ['deletes the position', 'delete from _understudy_position'],
  ['moves the position', 'update _understudy_position set lsn = 99'],
  ['loads an extension', "select load_extension('/tmp/x.so')"],
]

test.each(TRIGGERS)('020 a trigger that %s is not fired by a statement record', async (_name, body) => {
  const format = statementFormat()
  const payloads = recorded(format, SCHEMA, (tx) => tx.exec("insert into t values (1, 'x')"))
  const follower = storageWith(`${SCHEMA}; create trigger w after insert on t begin ${body}; end`)
  expect(applied(format, follower, payloads)).toBe('DIVERGED')
  expect(await follower.read((tx) => tx.all('select lsn from _understudy_position'))).toEqual([{ lsn: 1 }])
})

test.each(TRIGGERS)('020 a trigger that %s is not fired by a row record', async (_name, body) => {
  const format = rowFormat()
  const payloads = recorded(format, SCHEMA, (tx) => tx.exec("insert into t values (1, 'x')"))
  const follower = storageWith(`${SCHEMA}; create trigger w after insert on t begin ${body}; end`)
  // Followers of the row format keep no triggers: the row arrives, the trigger does nothing.
  expect(applied(format, follower, payloads)).toBe('applied')
  expect(await follower.read((tx) => tx.all('select lsn from _understudy_position'))).toEqual([{ lsn: 2 }])
  expect(await follower.read((tx) => tx.all('select v from t'))).toEqual([{ v: 'x' }])
})

test('020 a foreign key of the node’s own table that cascades is not the way around it', async () => {
  const format = statementFormat()
  const schema = `${SCHEMA}; create table parent (id integer primary key);
    create table _understudy_child (id references parent on delete cascade on update cascade);
    insert into parent values (1); insert into _understudy_child values (1)`
  const payloads = recorded(format, schema, (tx) => tx.exec('delete from parent'))
  const follower = storageWith(schema)
  const outcome = applied(format, follower, payloads)
  expect(outcome).toMatch(/DIVERGED|applied/)
  expect(await follower.read((tx) => tx.get('select lsn from _understudy_position'))).toEqual({
    lsn: outcome === 'applied' ? 2 : 1,
  })
})

test('020 a row record cannot speak of the position: a session does not see its table', async () => {
  const format = rowFormat()
  const payloads = recorded(format, SCHEMA, (tx) => {
    tx.exec("insert into t values (1, 'x')")
    tx.exec('update _understudy_position set lsn = 99')
  })
  const follower = storageWith(SCHEMA)
  expect(applied(format, follower, payloads)).toBe('applied')
  expect(await follower.read((tx) => tx.all('select lsn from _understudy_position'))).toEqual([{ lsn: 2 }])
})

test.each([
  ['the index of a full-text table', 'delete from words_data where id > 9'],
  ['its settings', "insert into words_config values ('x', 1)"],
])('020 a statement record cannot write %s: defensive mode is on', async (_name, sql) => {
  const format = statementFormat()
  const leader = storageWith(SCHEMA)
  leader.connection.database.enableDefensive(false)
  const recorder = format.recorder(leader.connection)
  leader.begin()
  recorder.beginGroup()
  let payloads: readonly Uint8Array[] = []
  try {
    leader.write((tx) => leader.connection.internal(() => tx.exec(sql)), recorder, { alone: true })
    payloads = recorder.finishGroup()
  } finally {
    leader.rollback()
    recorder.close()
  }
  expect(payloads.length).toBe(1)
  const follower = storageWith(SCHEMA)
  expect(applied(format, follower, payloads)).toBe('DIVERGED')
  expect(await follower.read((tx) => tx.all('select * from words_config'))).toEqual([{ k: 'version', v: 4 }])
})
