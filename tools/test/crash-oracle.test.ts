/** The judge of the crash tests must see each kind of loss, or the crash tests prove nothing. */
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { beforeEach, describe, expect, test } from 'vitest'
import type { WriteTransaction } from '@understudy/contracts'
import { Oracle } from '../src/crash/oracle.ts'
import { SCHEMA, applyWrite, readState, type LoadState } from '../src/crash/workload.ts'

const WRITERS = 3
const WRITES = 200

let database: DatabaseSync
let oracle: Oracle

/** The four calls that the workload uses, on a bare database. */
function transactionOn(db: DatabaseSync): WriteTransaction {
  const values = (parameters: unknown): SQLInputValue[] => (parameters ?? []) as SQLInputValue[]
  return {
    run: (sql: string, parameters: unknown) => db.prepare(sql).run(...values(parameters)),
    all: (sql: string, parameters: unknown) => db.prepare(sql).all(...values(parameters)),
    get: (sql: string, parameters: unknown) => db.prepare(sql).get(...values(parameters)),
    exec: (sql: string) => db.exec(sql),
  } as unknown as WriteTransaction
}

function write(writer: number, serial: number): void {
  applyWrite(transactionOn(database), writer, serial)
}

function state(): LoadState {
  return readState(transactionOn(database), true)
}

beforeEach(() => {
  database = new DatabaseSync(':memory:')
  oracle = new Oracle()
  for (const sql of SCHEMA) database.exec(sql)
  for (let serial = 1; serial <= WRITES; serial++) {
    for (let writer = 0; writer < WRITERS; writer++) {
      write(writer, serial)
      oracle.acknowledge([writer, serial])
    }
  }
})

describe('what was acknowledged and is there', () => {
  test('is right at every step of the load, DDL and large transactions included', () => {
    expect(oracle.commits).toBe(WRITERS * WRITES)
    expect(oracle.check(state())).toEqual({ lost: [], wrong: [] })
    for (let serial = WRITES + 1; serial <= WRITES + 100; serial++) {
      for (let writer = 0; writer < WRITERS; writer++) write(writer, serial)
      expect(oracle.check(state())).toEqual({ lost: [], wrong: [] })
    }
  })

  test('may be followed by one write whose acknowledgement died with its process', () => {
    write(2, WRITES + 1)
    expect(oracle.check(state())).toEqual({ lost: [], wrong: [] })
  })
})

describe('is seen:', () => {
  test('an acknowledged write that is gone', () => {
    oracle.acknowledge([1, WRITES + 1])
    const { lost } = oracle.check(state())
    expect(lost).toEqual([`writer 1: write ${WRITES + 1} was acknowledged, the last one found is ${WRITES}`])
  })

  test('a writer that is gone as a whole', () => {
    database.exec('delete from progress where writer = 2')
    expect(oracle.check(state()).lost).toHaveLength(1)
  })

  test('a write that nobody sent', () => {
    write(0, WRITES + 1)
    write(0, WRITES + 2)
    expect(oracle.check(state()).wrong).toHaveLength(1)
  })

  test.each([
    ['a row that is gone', 'delete from item where rowid = (select min(rowid) from item)'],
    [
      'a row of an older write',
      'update item set serial = serial - 1 where rowid = (select min(rowid) from item)',
    ],
    [
      'a row with other bytes',
      "update item set body = body || '!' where rowid = (select min(rowid) from item)",
    ],
    ['a row that was deleted', "insert into item values (1, 99, 5, 'x')"],
    ['half of a large transaction', 'delete from bulk where id > 100'],
    ['a large transaction that is gone', 'delete from bulk'],
    ['a table that is gone', 'drop table extra_180'],
    ['a table that was dropped', 'create table extra_120 (id integer primary key)'],
  ])('%s', (_name, damage) => {
    database.exec(damage)
    expect(oracle.check(state()).wrong).toHaveLength(1)
  })

  test('a database that fails its own check', () => {
    expect(oracle.check({ ...state(), integrity: 'row 3 missing from index' }).wrong).toHaveLength(1)
  })

  test('data that goes back behind what a reader has seen', () => {
    write(2, WRITES + 1)
    oracle.check(state())
    database.exec(`update progress set serial = ${WRITES} where writer = 2`)
    expect(oracle.check(state()).lost).toHaveLength(1)
  })
})

describe('a power loss', () => {
  test('may take what was acknowledged after the cut was asked for, and nothing else', () => {
    const promised = oracle.promised()
    oracle.acknowledge([0, WRITES + 1])
    expect(oracle.check(state(), promised)).toEqual({ lost: [], wrong: [] })
    const later = oracle.promised()
    write(0, WRITES + 1)
    oracle.acknowledge([0, WRITES + 1])
    database.exec('delete from progress where writer = 0')
    expect(oracle.check(state(), later).lost).toHaveLength(1)
  })
})
