/**
 * Any sequence of writes ends alike on leader and follower: random statements, safe and unsafe, with chance and time in
 * them, that fail, that change the schema, in writes that are rolled back.
 */
import { isUnderstudyError } from '@understudy/contracts'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { statementFormat, type DescribedPayload } from '../src/index.ts'
import { TestNode, type Write } from './helpers.ts'

const SETUP = `
  create table auto (id integer primary key autoincrement, v, at default current_timestamp, r default (random()));
  create table plain (id integer primary key, v, n integer);
  create table words (k text collate nocase primary key not null, v);
  create table loose (a, b);
  create table wide (b, a, v, primary key (a, b)) without rowid;
  create table uniq (id integer primary key, u unique, w, unique (w, u));
  create table parent (id integer primary key);
  create table child (id integer primary key, p integer references parent on delete cascade on update set null) strict;
  create index plain_v on plain (v);
  create view recent as select v, id from plain order by id desc limit 3;
  create trigger t1 after delete on child begin insert into auto (v) values ('gone ' || old.id || ' ' || last_insert_rowid()); end;
  create trigger t2 after insert on words begin insert into loose values (new.k, random()); update plain set n = changes() where id = 2; end;
  insert into loose values (1, 'x'), (2, 'y'), (2, 'z'), (null, null);
  insert into plain values (1, 'a', 1), (2, 'b', 2), (3, 'a', 3), (4, 'c', 4);
  insert into parent values (1), (2); insert into child values (1, 1), (2, 1), (3, 2)`

/** Every table has a key, so that the tripwire sees every row. */
const KEYED = SETUP.replace('loose (a, b)', 'loose (a, b, id integer primary key)').replaceAll(
  'insert into loose values',
  'insert into loose (a, b) values',
)

const small = fc.integer({ min: 1, max: 5 })
const word = fc.constantFrom(`'a'`, `'A'`, `'b'`, `'ß'`, 'null', '1', '1.0')
const value = fc.constantFrom(
  'random()',
  'randomblob(3)',
  'current_timestamp',
  `julianday('now')`,
  `strftime('%f')`,
  `date('2024-02-29', '+1 day')`,
  'last_insert_rowid()',
  'changes()',
  '(select max(n) from plain)',
  '(select group_concat(v order by id) from plain)',
  '(select v from plain where id = 2)',
  '(select count(*) from loose)',
  '7',
)
const table = fc.constantFrom('auto', 'plain', 'words', 'loose', 'wide', 'uniq')

const statement: fc.Arbitrary<string> = fc.oneof(
  value.map((v) => `insert into auto (v) values (${v}), (${v})`),
  fc.tuple(small, value).map(([id, v]) => `update auto set v = ${v} where id >= ${id}`),
  fc
    .tuple(small, value)
    .map(([id, v]) => `insert or replace into plain (id, v, n) values (${id}, ${v}, ${id})`),
  fc.tuple(value, small).map(([v, id]) => `update plain set v = ${v} where id = ${id}`),
  fc
    .tuple(word, value)
    .map(([k, v]) => `insert into words values (${k}, ${v}) on conflict do update set v = ${v}`),
  fc.tuple(word, word).map(([a, b]) => `update words set k = ${a} where k = ${b}`),
  fc.tuple(word, value).map(([a, b]) => `insert into loose values (${a}, ${b})`),
  word.map((a) => `update loose set b = upper(b) where a is ${a}`),
  word.map((a) => `delete from loose where a is ${a}`),
  fc.tuple(word, small).map(([a, b]) => `insert or ignore into wide values (${b}, ${a}, random())`),
  fc
    .tuple(small, small)
    .map(([i, u]) => `insert into uniq values (${i}, ${u}, ${i}) on conflict do update set w = -excluded.w`),
  small.map((n) => `update or ignore uniq set u = u + ${n}`),
  fc
    .tuple(small, small)
    .map(([a, b]) => `insert or fail into plain (id) values (${a + 10}), (${b + 10}), (${a}), (99)`),
  small.map((id) => `insert or ignore into parent values (${id})`),
  fc.tuple(small, small).map(([id, p]) => `insert or replace into child values (${id}, ${p})`),
  small.map((id) => `delete from parent where id = ${id}`),
  fc.tuple(small, small).map(([a, b]) => `update parent set id = ${a} where id = ${b}`),
  fc
    .tuple(table, table)
    .map(([a, b]) => `insert into ${a === 'auto' ? 'auto (v)' : 'loose (a)'} select ${b}.rowid from ${b}`),
  fc.constantFrom(
    'insert into auto (v) select v from plain',
    'insert into auto (v) select v from plain order by n, id',
    'insert into auto (v) select v from recent',
    'insert into loose select v, count(*) from plain group by v',
    'insert into loose select v, n from plain group by v',
    'insert into plain (v) select a from loose order by a',
    'delete from plain where id in (select id from plain order by v, id limit 2)',
    'delete from loose where a in (select a from loose limit 1)',
    'update loose set b = random()',
    'update plain set v = (select b from loose)',
    'update plain set v = (select sum(a) from loose)',
    'update plain set n = c.id from child c where c.p = plain.id',
    'update plain set n = c.p from child c where c.id = plain.id',
    'delete from auto',
    'delete from sqlite_sequence',
    'pragma user_version = 5',
    'analyze',
    'insert into auto (v) select row_number() over () from plain',
  ),
)

const schemaChange = fc.constantFrom(
  'create table if not exists extra (id integer primary key, v, d default current_time); insert into extra (v) values (1)',
  'drop table if exists extra',
  'alter table loose rename to looser',
  'alter table looser rename to loose',
  'alter table plain add column w default 7; update plain set w = 8 where id > 2',
  'drop trigger if exists t1',
  'create index if not exists i on loose (a)',
  'create unique index if not exists j on plain (n)',
  'drop index if exists i',
)

const write = fc.record({
  statements: fc.array(
    fc.oneof({ weight: 14, arbitrary: statement }, { weight: 1, arbitrary: schemaChange }),
    { minLength: 1, maxLength: 5 },
  ),
  fails: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
})
const groupsOfWrites = fc.array(fc.array(write, { minLength: 1, maxLength: 4 }), {
  minLength: 1,
  maxLength: 5,
})
type Writes = readonly { readonly statements: readonly string[]; readonly fails: boolean }[]

function asWrites(group: Writes): Write[] {
  return group.map(({ statements, fails }) => (connection) => {
    for (const sql of statements) {
      try {
        connection.exec(sql)
      } catch {
        // Unsafe, or a constraint: the statement failed alone, as a user's callback may let it.
      }
    }
    if (fails) throw new Error('rolled back')
  })
}

/** Rows as sets: where they lie does not count. */
function rows(node: TestNode): string[] {
  return node.dump().filter((line) => !line.startsWith('sqlite_stat1'))
}

function isRow(line: string): boolean {
  return /^\w+: /.test(line)
}

test('random writes end alike', () => {
  let payloadCount = 0
  fc.assert(
    fc.property(groupsOfWrites, (groups) => {
      const leader = new TestNode(SETUP).lead()
      const follower = new TestNode(SETUP).follow()
      for (const group of groups) {
        const { payloads } = leader.group(...asWrites(group))
        payloadCount += payloads.length
        follower.apply(...payloads)
        expect(follower.dump()).toEqual(leader.dump())
      }
    }),
    { numRuns: 120 },
  )
  expect(payloadCount).toBeGreaterThan(150)
})

test('what is judged safe does the same where rows without a key lie in another order', () => {
  const elsewhere = `; create table t2 as select * from loose order by b desc; delete from loose; insert into loose select * from t2; drop table t2`
  let payloadCount = 0
  fc.assert(
    fc.property(groupsOfWrites, (groups) => {
      const leader = new TestNode(SETUP).lead()
      const follower = new TestNode(SETUP + elsewhere).follow()
      for (const group of groups) {
        const { payloads } = leader.group(...asWrites(group))
        payloadCount += payloads.length
        follower.apply(...payloads)
        expect(rows(follower)).toEqual(rows(leader))
      }
    }),
    { numRuns: 120 },
  )
  expect(payloadCount).toBeGreaterThan(150)
})

/** The table on the leader, an index on the follower. */
const UNORDERED = 'insert into auto (v) select n from plain'

test('whatever is let through by policy allow, a follower that differs stops and does not go on silently', () => {
  const format = statementFormat({ unsafe: 'allow' })
  let stopped = 0
  fc.assert(
    fc.property(groupsOfWrites, fc.boolean(), (groups, tempts) => {
      const leader = new TestNode(KEYED, format).lead()
      const follower = new TestNode(KEYED, format).follow()
      // Rows are visited in another order where none was asked for.
      follower.database.exec(
        'create index x on plain (n desc); create index y on loose (a desc, b, id); create index z on auto (at, r desc, v)',
      )
      for (const group of groups) {
        const { payloads } = leader.group(...(tempts ? [UNORDERED] : []), ...asWrites(group))
        try {
          follower.apply(...payloads)
        } catch (error) {
          expect(isUnderstudyError(error, 'DIVERGED')).toBe(true)
          stopped += 1
          return
        }
        const described = payloads.map((payload) => leader.format.describe?.(payload) as DescribedPayload)
        // Tables that were made and undone: then counts alone are compared.
        if (described.some(({ digest }) => digest.kind === 'none')) return
        expect(rows(follower).filter(isRow)).toEqual(rows(leader).filter(isRow))
      }
    }),
    { numRuns: 120 },
  )
  expect(stopped).toBeGreaterThan(10)
})
