import { DatabaseSync } from 'node:sqlite'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { subject as sqlite } from '../src/subjects/sqlite.ts'
import { clientStatements } from '../src/subjects/understudy.ts'
import { Databases } from '../src/matrix/database.ts'
import { seededRandom } from '../src/workloads/random.ts'
import { WORKLOADS, workloadOf } from '../src/workloads/registry.ts'
import { scaleOf } from '../src/workloads/tpcb.ts'
import type { Operation, Workload } from '../src/workloads/workload.ts'
import { YCSB_MIXES, ycsbKey } from '../src/workloads/ycsb.ts'
import { testFolder } from './folder.ts'

const folder = testFolder()
const ROWS = 500

/** Runs operations of a workload on bare SQLite, each answered before the next; the file. */
async function executed(
  workload: Workload,
  operations: number,
  rows = ROWS,
): Promise<{ file: string; made: Operation[] }> {
  const file = await new Databases(folder.path).of(workload, rows)
  const connections = await sqlite.connect({ file, synchronous: 'off' }, { writers: 1 })
  const session = workload.start({ random: seededRandom(1), load: 1, rows })
  const made: Operation[] = []
  for (let index = 0; index < operations; index++) {
    const operation = session.next(0)
    for (const step of operation.steps) await connections.run(step, 0)
    session.done?.(operation)
    made.push(operation)
  }
  await connections[Symbol.asyncDispose]()
  return { file, made }
}

function scalar(file: string, sql: string): number {
  const database = new DatabaseSync(file, { readOnly: true })
  const [value] = Object.values(database.prepare(sql).get() ?? {})
  database.close()
  return Number(value)
}

describe('every workload', () => {
  for (const workload of WORKLOADS)
    test(`${workload.name} runs on its own tables, and its operations repeat with the seed`, async () => {
      const count = workload.operationsMax ?? 200
      const { made } = await executed(workload, count)
      const again = workload.start({ random: seededRandom(1), load: 1, rows: ROWS })
      const repeated = Array.from({ length: count }, () => {
        const operation = again.next(0)
        again.done?.(operation)
        return operation
      })
      expect(repeated).toEqual(made)
      const other = workload.start({ random: seededRandom(2), load: 2, rows: ROWS })
      // One statement touches all rows: there is nothing to draw.
      if (workload.name !== 'update-many') expect(other.next(0)).not.toEqual(made[0])
    })
})

describe('YCSB', () => {
  test('has the shares of the published workloads', async () => {
    for (const [letter, mix] of Object.entries(YCSB_MIXES)) {
      expect(mix.read + mix.update + mix.insert + mix.scan + mix.readModifyWrite).toBeCloseTo(1)
      const workload = await workloadOf(`ycsb-${letter}`)
      const session = workload.start({ random: seededRandom(9), load: 1, rows: ROWS })
      const names = Array.from({ length: 20_000 }, () => {
        const operation = session.next(0)
        session.done?.(operation)
        return operation.name
      })
      for (const name of ['read', 'update', 'insert', 'scan', 'readModifyWrite'] as const)
        expect(names.filter((each) => each === name).length / names.length).toBeCloseTo(mix[name], 1.7)
    }
  })

  test('has records of ten fields of 100 bytes, and reads only keys that exist, new ones too', async () => {
    for (const letter of ['d', 'e']) {
      const workload = await workloadOf(`ycsb-${letter}`)
      const { file, made } = await executed(workload, 1500)
      const inserted = made.filter(({ name }) => name === 'insert').length
      expect(scalar(file, 'select count(*) from usertable')).toBe(ROWS + inserted)
      expect(scalar(file, 'select min(length(field0) + length(field9)) from usertable')).toBe(200)
      const keys = made.flatMap(({ steps: [step] }) =>
        step?.kind === 'read' ? [step.statement.params?.[0]] : [],
      )
      const known = new Set(Array.from({ length: ROWS + inserted }, (_, at) => ycsbKey(at)))
      expect(keys.filter((key) => !known.has(String(key)))).toEqual([])
    }
  })

  test('never reads a record whose insert was not answered', async () => {
    const workload = await workloadOf('ycsb-d')
    const session = workload.start({ random: seededRandom(1), load: 1, rows: 10 })
    const known = new Set(Array.from({ length: 10 }, (_, at) => ycsbKey(at)))
    for (let index = 0; index < 500; index++) {
      const [step] = session.next(0).steps
      if (step?.kind === 'read') expect(known).toContain(step.statement.params?.[0])
    }
  })

  test('scans 1 to 100 records, and a read-modify-write reads the record that it writes', async () => {
    const { made: scans } = await executed(await workloadOf('ycsb-e'), 1000)
    const lengths = scans.flatMap(({ name, steps: [step] }) =>
      name === 'scan' && step?.kind === 'read' ? [Number(step.statement.params?.[1])] : [],
    )
    expect([Math.min(...lengths), Math.max(...lengths)]).toEqual([1, 100])
    const { made } = await executed(await workloadOf('ycsb-f'), 100)
    const changes = made.filter(({ name }) => name === 'readModifyWrite')
    expect(changes.length).toBeGreaterThan(30)
    for (const { steps } of changes) {
      const [first, second] = steps
      expect(first?.kind === 'read' && first.statement.params?.[0]).toBe(
        second?.kind === 'write' && second.statements[0]?.params?.[1],
      )
    }
  })
})

describe('TPC-B', () => {
  test('has one branch, ten tellers and 100,000 accounts for each unit of scale, and its sums agree after transfers', async () => {
    const workload = await workloadOf('tpcb')
    const { file, made } = await executed(workload, 300, 1)
    expect(scaleOf(1)).toBe(1)
    expect(scaleOf(250_000)).toBe(3)
    for (const [table, rows] of [
      ['branches', 1],
      ['tellers', 10],
      ['accounts', 100_000],
      ['history', 300],
    ] as const)
      expect(scalar(file, `select count(*) from pgbench_${table}`)).toBe(rows)
    for (const { sql } of workload.invariants ?? []) expect(scalar(file, sql)).toBe(1)
    const [step] = made[0]?.steps ?? []
    expect(step?.kind === 'write' && step.statements).toHaveLength(5)
    // Money that appears from nowhere is found.
    const database = new DatabaseSync(file)
    database.exec('update pgbench_tellers set tbalance = tbalance + 1 where tid = 3')
    database.close()
    expect(workload.invariants?.map(({ sql }) => scalar(file, sql))).toEqual([1, 0, 1])
  })
})

describe('modules of the user', () => {
  test('a workload of a file is measured by its path; what is none is refused with what it needs', async () => {
    const file = path.join(folder.path, 'mine.ts')
    await writeFile(
      file,
      `export const workload = { name: 'mine', title: '', rowsDefault: 1, rowsQuick: 1, schema: () => [], rows: () => [], start: () => ({ next: () => ({ name: 'x', steps: [] }) }) }`,
    )
    expect((await workloadOf(file)).name).toBe('mine')
    await writeFile(path.join(folder.path, 'none.ts'), 'export const workload = { name: 1 }')
    await expect(workloadOf(path.join(folder.path, 'none.ts'))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
    await writeFile(path.join(folder.path, 'other.ts'), 'export const x = 1')
    await expect(workloadOf(path.join(folder.path, 'other.ts'))).rejects.toThrow(/exports no 'workload'/)
    await expect(workloadOf('./not-there.ts')).rejects.toThrow(/cannot be loaded/)
    await expect(workloadOf('insert')).rejects.toThrow(/There is no workload insert/)
  })

  test('a database of the user is copied, and gets the tables of a workload that it lacks', async () => {
    const own = path.join(folder.path, 'own.db')
    const database = new DatabaseSync(own)
    database.exec('create table mine (id integer primary key); insert into mine values (1), (2)')
    database.close()
    const made = await new Databases(folder.path, own).of(await workloadOf('updates'), 10)
    expect(scalar(made, 'select count(*) from mine')).toBe(2)
    expect(scalar(made, 'select count(*) from kv')).toBe(10)
    expect(scalar(own, "select count(*) from sqlite_master where name = 'kv'")).toBe(0)
    const missing = new Databases(folder.path, path.join(folder.path, 'nothing.db'))
    await expect(missing.of(await workloadOf('inserts'), 0)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
  })
})

test('a transaction of many rows fits into what a client may send, and no row is lost on the way', () => {
  const many = Array.from({ length: 1050 }, (_, at) => [`k${at}`, 'v', at])
  const statements = clientStatements({ sql: 'insert into kv (k, v, n) values (?, ?, ?)', many })
  expect(statements).toHaveLength(11)
  expect(statements.flatMap(({ params }) => params)).toEqual(many.flat())
  const database = new DatabaseSync(':memory:')
  database.exec('create table kv (id integer primary key, k, v, n)')
  for (const { sql, params = [] } of statements) database.prepare(sql).run(...(params as string[]))
  expect(database.prepare('select count(*) as c, sum(n) as s from kv').get()).toEqual({
    c: 1050,
    s: (1050 * 1049) / 2,
  })
  database.close()
  expect(clientStatements({ sql: 'update kv set n = ?', many: [[1], [2]] })).toHaveLength(2)
})
