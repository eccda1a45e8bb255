/** Undoing: a payload and its way back leave what was there, or the payload says that it cannot be undone. */
import { expect, test } from 'vitest'
import { rowFormat } from '../src/index.ts'
import { plainCodec } from './plain-reading.ts'
import { randomNumbers } from '@understudy/testkit'
import { TestNode, type Write } from './helpers.ts'

const SETUP = `
  create table t (id integer primary key autoincrement, v, u integer unique);
  create table nc (k text collate nocase primary key not null, v);
  insert into t (v, u) values ('one', 1), ('two', 2), ('three', 3);
  insert into nc values ('abc', 1), ('def', 2)`

const format = rowFormat()

function everything(node: TestNode): unknown[][] {
  return [
    ...node.all('select * from t order by id'),
    ...node.all('select k, v from nc order by k'),
    ...node.all('select name, seq from sqlite_sequence order by rowid'),
    ...node.all('pragma user_version'),
  ]
}

/** Records a group, applies it to a follower and undoes it there; says why when it cannot be undone. */
function forthAndBack(...writes: Write[]): string | undefined {
  const leader = new TestNode(SETUP).lead()
  const follower = new TestNode(SETUP).follow()
  const before = everything(follower)
  const { payloads } = leader.group(...writes)
  const [payload] = payloads
  if (payload === undefined || payloads.length > 1) throw new Error('no payload, or many')
  follower.apply(payload)
  const after = everything(follower)
  expect(after).toEqual(everything(leader))
  const why = format.needsPages(payload)
  if (why === undefined) {
    follower.transaction(() => follower.applier?.undo?.(payload))
    expect(everything(follower)).toEqual(before)
  } else {
    expect(() => follower.transaction(() => follower.applier?.undo?.(payload))).toThrow(
      expect.objectContaining({ code: 'SNAPSHOT_REQUIRED' }),
    )
    expect(everything(follower)).toEqual(after)
  }
  return why
}

const failing = (sql: string) => (connection: TestNode['connection']) => {
  connection.exec(sql)
  throw new Error('on purpose')
}

test('rows, counters and pragmas turn back', () => {
  const done = [
    [`insert into t (v) values ('four'), ('five')`],
    [`update t set v = id, u = u + 10`],
    [`delete from t`],
    [`delete from t where id = 2; insert into t (id, v, u) values (2, 'new', 9)`],
    [`update t set id = 77 where id = 1`],
    ['pragma user_version = 9', `insert into t (id) values (1000)`],
    ['delete from sqlite_sequence'],
    ['delete from sqlite_sequence', `insert into t (v) values ('x')`],
    [`update sqlite_sequence set seq = 5`, failing('delete from t'), 'delete from t where id = 1'],
  ]
  expect(done.map((writes) => forthAndBack(...writes))).toEqual(done.map(() => undefined))
})

test('a row that returns does not leave its mark on a counter', () => {
  // Row 3 returns while the counter stands at 1.
  const leader = new TestNode(SETUP).lead()
  const follower = new TestNode(SETUP).follow()
  const first = leader.payload(`update sqlite_sequence set seq = 1`)
  const second = leader.payload('delete from t where id = 3')
  follower.apply(first, second)
  follower.transaction(() => follower.applier?.undo?.(second))
  expect(follower.all('select seq from sqlite_sequence')).toEqual([[1]])
})

test('keys that compare equal come back in their spelling', () => {
  const done = [
    [`update nc set k = 'ABC' where k = 'abc'`],
    [`update nc set k = 'ABC', v = 7 where k = 'abc'`],
    [`delete from nc where k = 'abc'`, `insert into nc values ('ABC', 9)`],
    [`insert or replace into nc values ('Abc', 5)`],
    [`insert into nc values ('new', 5), ('other', 6)`],
    [`insert into nc values ('def', 5) on conflict do update set k = 'DEF'`],
  ]
  expect(done.map((writes) => forthAndBack(...writes))).toEqual(done.map(() => undefined))
})

test('an insert that may be of a row that was there all along is not undone', () => {
  const unknown: Write[][] = [
    [`update nc set k = 'ABC' where k = 'abc'; update nc set k = 'abc' where k = 'abc'`],
    [`insert or replace into nc values ('ABC', 1); insert or replace into nc values ('abc', 1)`],
    [failing(`update nc set k = 'ABC' where k = 'abc'`), `insert into nc values ('x', 1)`],
    [
      // A delete that nobody counts would make up for it.
      `update nc set k = 'ABC' where k = 'abc'; update nc set k = 'abc' where k = 'abc'`,
      `insert or replace into t (id, u) values (9, 1)`,
    ],
    [
      (connection) => {
        expect(() =>
          connection.exec(`update nc set k = upper(k), v = case v when 2 then abs(-9223372036854775808) end`),
        ).toThrow('integer overflow')
        connection.exec(`insert into nc values ('x', 1)`)
      },
    ],
  ]
  expect(unknown.map((writes) => forthAndBack(...writes))).toEqual(
    unknown.map(() => 'it does not say all that was there before'),
  )
})

test('a change of the schema or of triggers needs pages', () => {
  expect(forthAndBack('create table more (id integer primary key)')).toBe('it changes the schema')
  expect(forthAndBack('create index more on t (v)')).toBe('it changes the schema')
  expect(forthAndBack('create trigger more after insert on t begin select 1; end')).toBe(
    'it changes triggers',
  )
})

test('a payload from before there was a way back says so where it lacks something', () => {
  const codec = plainCodec()
  const leader = new TestNode(SETUP).lead()
  const without = (payload: Uint8Array): string | undefined => {
    const { before: _, ...group } = codec.decode(payload) as unknown as Record<string, unknown>
    return format.needsPages(codec.encode(group as never))
  }
  expect(without(leader.payload(`insert into t (v) values ('x')`))).toBe(
    'it does not say all that was there before',
  )
  expect(without(leader.payload(`update t set v = 1 where id = 1`))).toBeUndefined()
})

test('what is not as the payload left it is not undone', () => {
  const leader = new TestNode(SETUP).lead()
  const follower = new TestNode(SETUP).follow()
  const payload = leader.payload(`update t set v = 'x' where id = 1`)
  follower.apply(payload)
  follower.database.exec(`update t set v = 'y' where id = 1`)
  expect(() => follower.transaction(() => follower.applier?.undo?.(payload))).toThrow(
    expect.objectContaining({ code: 'DIVERGED' }),
  )
})

test('random groups, undone to the first', () => {
  const seed = 7
  const random = randomNumbers(seed)
  const leader = new TestNode(SETUP).lead()
  const follower = new TestNode(SETUP).follow()
  const states: unknown[][][] = []
  const payloads: Uint8Array[] = []
  const spelled = (): string => `'${['abc', 'ABC', 'def', 'Def', 'x', 'X'][random(6)]}'`
  for (let group = 0; group < 400; group += 1) {
    const writes = Array.from({ length: 1 + random(4) }, (): Write => {
      const id = random(8)
      const sql = [
        `insert into t (v, u) values (${random(9)}, ${random(50)})`,
        `insert or replace into t (id, v, u) values (${id}, 1.5, ${random(6)})`,
        `update t set v = ${random(9)}, u = u + 1 where id = ${id}`,
        `update or replace t set u = ${random(6)} where id > ${id}`,
        `delete from t where id = ${id}`,
        `update or ignore t set id = ${random(30)} where id = ${id}`,
        `insert or replace into nc values (${spelled()}, ${random(3)})`,
        `update or ignore nc set k = ${spelled()} where k = ${spelled()}`,
        `delete from nc where k = ${spelled()}`,
        `insert or ignore into nc values (${spelled()}, 0)`,
        `pragma user_version = ${random(5)}`,
        `update sqlite_sequence set seq = seq + 3`,
      ][random(12)] as string
      return random(5) === 0 ? failing(sql) : sql
    })
    const before = everything(follower)
    for (const payload of leader.group(...writes).payloads) {
      follower.apply(payload)
      if (format.needsPages(payload) !== undefined) {
        // Nothing before it can be reached.
        states.length = 0
        payloads.length = 0
        continue
      }
      states.push(before)
      payloads.push(payload)
    }
    if (random(12) > 0) continue
    const here = everything(follower)
    for (let at = payloads.length - 1; at >= 0; at -= 1) {
      follower.transaction(() => follower.applier?.undo?.(payloads[at] as Uint8Array))
      expect({ seed, group, at, state: everything(follower) }).toEqual({ seed, group, at, state: states[at] })
    }
    follower.apply(...payloads)
    expect(everything(follower)).toEqual(here)
  }
})
