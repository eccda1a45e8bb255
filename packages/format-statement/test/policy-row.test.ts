/** Policy `row`: a group with an unsafe statement is logged by the row format that was handed in. */
import type { LogFormat, SqliteConnection } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { statementFormat } from '../src/index.ts'
import { KV, TestNode } from './helpers.ts'

/** Notes what it is told; its payload is the number of its group. */
function fakeRows(): { format: LogFormat<SqliteConnection>; calls: string[] } {
  const calls: string[] = []
  let groups = 0
  const note = (call: string) => () => void calls.push(call)
  return {
    calls,
    format: {
      id: 1,
      name: 'row',
      version: 1,
      recorder: () => ({
        beginGroup: note('begin'),
        beginWrite: note('write'),
        endWrite: note('end'),
        abandonWrite: note('abandon'),
        finishGroup: () => {
          calls.push('finish')
          groups += 1
          return [Uint8Array.of(1, groups)]
        },
        abandonGroup: note('abandonGroup'),
        close: note('close'),
      }),
      applier: () => {
        throw new Error('never')
      },
      inspect: note('inspect'),
    },
  }
}

function leads(): { node: TestNode; calls: string[] } {
  const { format, calls } = fakeRows()
  return { node: new TestNode(KV, statementFormat({ unsafe: 'row', row: format })).lead(), calls }
}

const UNSAFE = 'insert into kv (k) select k from kv'

test('a safe group stays statements, an unsafe one becomes rows', () => {
  const { node } = leads()
  const safe = node.payload('insert into kv (k) values (1)')
  expect(node.recorder?.finishedFormat).toBeUndefined()
  expect(node.format.describe?.(safe)).toMatchObject({ writes: [[{ changes: 1 }]] })
  expect(node.payload('insert into kv (k) values (2)', UNSAFE, 'insert into kv (k) values (3)')).toEqual(
    Uint8Array.of(1, 2),
  )
  expect(node.recorder?.finishedFormat).toBe(1)
  const next = node.payload('insert into kv (k) values (4)')
  expect(node.recorder?.finishedFormat).toBeUndefined()
  expect(node.format.describe?.(next)).toMatchObject({ writes: [[{ changes: 1 }]] })
})

test('an unsafe statement whose write is rolled back leaves the group as it was', () => {
  const { node } = leads()
  node.payload('insert into kv (k) values (1)')
  const { payloads } = node.group('insert into kv (k) values (2)', (connection) => {
    connection.exec(UNSAFE)
    throw new Error('undone')
  })
  expect(node.recorder?.finishedFormat).toBeUndefined()
  expect(node.format.describe?.(payloads[0] as Uint8Array)).toMatchObject({ writes: [[{ changes: 1 }]] })
  // One that went through keeps it escalated.
  expect(
    node.group(UNSAFE, (connection) => {
      connection.exec(UNSAFE)
      throw new Error('undone')
    }).payloads,
  ).toEqual([Uint8Array.of(1, 3)])
})

test('texts of escalated groups are no part of the dictionary', () => {
  const { node } = leads()
  const sql = 'insert into kv (k) values (?)'
  const twice = (connection: TestNode['connection']) =>
    [1, 2].forEach((value) => connection.exec(sql, [value]))
  node.payload(twice, UNSAFE)
  expect(node.all(`select count(*) from sqlite_schema where name = '_understudy_statement'`)).toEqual([[0n]])
  node.payload(twice)
  expect(node.all('select number, sql from _understudy_statement')).toEqual([[1n, sql]])
})

test('the recorder of rows is told of everything', () => {
  const { node, calls } = leads()
  node.group('insert into kv (k) values (1)', (connection) => {
    connection.exec('select 1')
    throw new Error('undone')
  })
  node.lostGroup('insert into kv (k) values (1)')
  node.recorder?.close()
  node.format.inspect?.(node.connection)
  expect(calls.join(' ')).toBe(
    'begin write end write abandon finish begin write end finish abandonGroup close inspect',
  )
})
