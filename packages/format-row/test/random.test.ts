/**
 * Any sequence of writes ends alike on leader and follower: random statements on tables that are awkward in different
 * ways, in random groups, with writes that fail and are rolled back, schema changes among them.
 */
import { isUnderstudyError } from '@understudy/contracts'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { rowFormat } from '../src/index.ts'
import { TestNode, type Write } from './helpers.ts'

const SETUP = `
  create table auto (id integer primary key autoincrement, v);
  create table nocase (k text collate nocase primary key, v);
  create table loose (k, l, v, primary key (l, k));
  create table uniq (id integer primary key, u unique, w, unique (w, u));
  create table parent (id integer primary key);
  create table child (id integer primary key, p integer references parent on delete cascade on update set null) strict;
  create table log (id integer primary key autoincrement, what);
  create trigger t1 after delete on child begin insert into log (what) values ('gone ' || old.id); end;
  create trigger t2 after insert on nocase begin insert into log (what) values (new.k); delete from auto where id = 2; end`

const small = fc.integer({ min: 1, max: 5 })
const word = fc.constantFrom(`'a'`, `'A'`, `'b'`, `'B'`, `'ß'`)
const loose = fc.constantFrom('1', '1.0', `'1'`, `x'31'`, '2', '2.5', '-0.0', '0')

const statement: fc.Arbitrary<string> = fc.oneof(
  small.map((v) => `insert into auto (v) values (${v})`),
  small.map((id) => `insert or replace into auto values (${id}, 'r')`),
  small.map((id) => `delete from auto where id >= ${id}`),
  fc.tuple(small, small).map(([a, b]) => `update auto set id = ${a} where id = ${b}`),
  fc.tuple(word, small).map(([k, v]) => `insert or replace into nocase values (${k}, ${v})`),
  fc.tuple(word, word).map(([a, b]) => `update nocase set k = ${a} where k = ${b}`),
  word.map((k) => `delete from nocase where k = ${k}`),
  fc.tuple(loose, loose, small).map(([k, l, v]) => `insert or replace into loose values (${k}, ${l}, ${v})`),
  fc.tuple(loose, loose).map(([a, b]) => `update loose set k = ${a} where k = ${b}`),
  fc.tuple(loose, loose).map(([a, b]) => `update or replace loose set l = ${a} where l = ${b}`),
  loose.map((k) => `delete from loose where k = ${k}`),
  fc
    .tuple(small, small, small)
    .map(
      ([i, u, w]) => `insert into uniq values (${i}, ${u}, ${w}) on conflict do update set w = -excluded.w`,
    ),
  small.map((n) => `update uniq set u = -u; update uniq set u = (abs(u) + ${n}) % 5 + 1`),
  small.map((id) => `delete from uniq where id = ${id}`),
  small.map((id) => `insert or ignore into parent values (${id})`),
  fc.tuple(small, small).map(([id, p]) => `insert or replace into child values (${id}, ${p})`),
  small.map((id) => `delete from parent where id = ${id}`),
  fc.tuple(small, small).map(([a, b]) => `update parent set id = ${a} where id = ${b}`),
  fc.constantFrom(
    'delete from log',
    'delete from sqlite_sequence',
    'delete from loose',
    'pragma user_version = 5',
  ),
)

const schemaChange = fc.constantFrom(
  'create table if not exists extra (id integer primary key autoincrement, v); insert into extra (v) values (1)',
  'drop table if exists extra',
  'drop table if exists uniq',
  'create table if not exists uniq (id integer primary key, u unique, w); insert into uniq values (1, 1, 1)',
  'alter table loose rename to loser',
  'alter table loser rename to loose',
  'alter table auto add column w default 7; update auto set w = 8 where id > 2',
  'drop trigger if exists t1',
  'create trigger if not exists t1 after delete on child begin insert into log (what) values (2); end',
  'create index if not exists i on auto (v)',
)

const write = fc.record({
  statements: fc.array(
    fc.oneof({ weight: 12, arbitrary: statement }, { weight: 1, arbitrary: schemaChange }),
    { maxLength: 5 },
  ),
  fails: fc.boolean(),
})

const TABLES_SQL = `select name from sqlite_schema where type = 'table' and name not like '\\_under%' escape '\\' order by name`

function dump(node: TestNode): unknown[] {
  return node.all(TABLES_SQL).map(([name]) => {
    const columns = node.all(
      `select group_concat('typeof("' || name || '"), quote("' || name || '")') from pragma_table_info('${String(name)}')`,
    )
    return [
      name,
      node
        .all(`select ${String(columns[0]?.[0])} from "${String(name)}"`)
        .map(String)
        .sort(),
    ]
  })
}

/** Runs a group. One that cannot be recorded is rolled back as a whole, as the storage does. */
function groupOf(leader: TestNode, writes: readonly Write[]): readonly Uint8Array[] {
  try {
    return leader.group(...writes).payloads
  } catch (error) {
    if (!isUnderstudyError(error, 'NOT_WRITTEN')) throw error
    leader.database.exec('rollback')
    leader.recorder?.abandonGroup()
    return []
  }
}

test.each(['group', 'write'] as const)('random writes end alike, boundaries: %s', (boundaries) => {
  let payloadCount = 0
  fc.assert(
    fc.property(fc.array(fc.array(write, { minLength: 1, maxLength: 4 }), { maxLength: 6 }), (groups) => {
      const leader = new TestNode(SETUP, rowFormat({ boundaries })).lead()
      const follower = new TestNode(SETUP).follow()
      for (const group of groups) {
        const payloads = groupOf(
          leader,
          group.map(({ statements, fails }) => (connection: TestNode['connection']) => {
            for (const sql of statements) {
              try {
                connection.exec(sql)
              } catch {
                // A constraint: the statement failed alone, as a user's callback may let it.
              }
            }
            if (fails) throw new Error('rolled back')
          }),
        )
        payloadCount += payloads.length
        follower.apply(...payloads)
        expect(dump(follower)).toEqual(dump(leader))
        expect(follower.all('pragma user_version')).toEqual(leader.all('pragma user_version'))
      }
      follower.transaction(() => follower.applier?.restore())
      const triggers = `select sql from sqlite_schema where type = 'trigger' order by rowid`
      expect(follower.all(triggers)).toEqual(leader.all(triggers))
    }),
    { numRuns: 150 },
  )
  expect(payloadCount).toBeGreaterThan(100)
})
