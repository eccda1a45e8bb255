/** Statements that a format which lacks an ability must refuse, leaving no trace. */
import type { Refusal } from './types.ts'
import { withNoise } from './writes.ts'

export const REFUSALS: readonly Refusal[] = [
  {
    name: 'CREATE TABLE without PRIMARY KEY',
    of: 'tables without PRIMARY KEY',
    lacks: 'keylessTables',
    run: (tx) => tx.exec('create table t (a, b)'),
    code: 'TABLE_WITHOUT_PRIMARY_KEY',
  },
  {
    name: 'CREATE TABLE AS SELECT',
    of: 'tables without PRIMARY KEY',
    lacks: 'keylessTables',
    given: 'create table s (id integer primary key); insert into s values (1)',
    run: (tx) => tx.exec('create table t as select * from s'),
    code: 'TABLE_WITHOUT_PRIMARY_KEY',
  },
  {
    name: 'CREATE TABLE without PRIMARY KEY also when the callback catches the error',
    of: 'tables without PRIMARY KEY',
    lacks: 'keylessTables',
    run: (tx) => {
      try {
        tx.exec('create table t (a, b)')
      } catch {
        // Goes on as if nothing had happened.
      }
    },
    code: 'TABLE_WITHOUT_PRIMARY_KEY',
  },
  {
    name: 'NULL in a PRIMARY KEY column on insert',
    of: 'NULL in PRIMARY KEY columns',
    lacks: 'nullKeys',
    given: 'create table t (k text primary key, v)',
    run: (tx) => tx.exec(`insert or ignore into t values (null, 1)`),
    code: 'NULL_IN_PRIMARY_KEY',
  },
  {
    name: 'NULL in a PRIMARY KEY column on update',
    of: 'NULL in PRIMARY KEY columns',
    lacks: 'nullKeys',
    given: `create table t (a text, b text, v, primary key (a, b)); insert into t values ('x', 'y', 1)`,
    run: (tx) => tx.exec('update t set b = null'),
    code: 'NULL_IN_PRIMARY_KEY',
  },
  {
    name: 'NULL in a PRIMARY KEY column by a foreign-key action',
    of: 'NULL in PRIMARY KEY columns',
    lacks: 'nullKeys',
    given: `create table p (id integer primary key);
      create table c (p integer references p on delete set null, n, primary key (p, n));
      insert into p values (1); insert into c values (1, 1)`,
    run: (tx) => tx.exec('delete from p'),
    code: 'NULL_IN_PRIMARY_KEY',
  },
  {
    name: 'NULL in a PRIMARY KEY column of a table made in the same write',
    of: 'NULL in PRIMARY KEY columns',
    lacks: 'nullKeys',
    run: (tx) => tx.exec('create table t (k text primary key); insert into t values (null)'),
    code: 'NULL_IN_PRIMARY_KEY',
  },
  {
    name: 'NULL in a PRIMARY KEY column of a table that was renamed',
    of: 'NULL in PRIMARY KEY columns',
    lacks: 'nullKeys',
    given:
      'create table t (k text primary key); alter table t rename to u; alter table u rename column k to l',
    run: (tx) => tx.exec('insert into u values (null)'),
    code: 'NULL_IN_PRIMARY_KEY',
  },
  {
    name: 'a function of the user in a value',
    of: 'functions of the user that the format was not told of',
    lacks: 'undeclaredFunctions',
    setup: withNoise,
    given: 'create table t (id integer primary key, v)',
    run: (tx) => tx.exec('insert into t (v) values (noise())'),
    code: 'STATEMENT_UNSAFE',
  },
  {
    name: 'a function of the user in a trigger',
    of: 'functions of the user that the format was not told of',
    lacks: 'undeclaredFunctions',
    setup: withNoise,
    given: `create table t (id integer primary key, v);
      create trigger tr after insert on t begin update t set v = noise() where id = new.id; end`,
    run: (tx) => tx.exec('insert into t (v) values (1)'),
    code: 'STATEMENT_UNSAFE',
  },
  {
    name: 'INSERT … SELECT … LIMIT without ORDER BY',
    of: 'effects that depend on the order in which rows are visited',
    lacks: 'unorderedEffects',
    given: 'create table s (id integer primary key, v); create table t (id integer primary key, v)',
    run: (tx) => tx.exec('insert into t (v) select v from s limit 2'),
    code: 'STATEMENT_UNSAFE',
  },
  {
    name: 'DELETE of what a LIMIT without ORDER BY chose',
    of: 'effects that depend on the order in which rows are visited',
    lacks: 'unorderedEffects',
    given: 'create table s (id integer primary key, v); insert into s values (1, 1), (2, 2)',
    run: (tx) => tx.exec('delete from s where id in (select id from s limit 1)'),
    code: 'STATEMENT_UNSAFE',
  },
  {
    name: 'UPDATE … FROM',
    of: 'effects that depend on the order in which rows are visited',
    lacks: 'unorderedEffects',
    given: `create table s (id integer primary key, v); create table t (id integer primary key, v);
      insert into s values (1, 1), (2, 2); insert into t values (1, 0)`,
    run: (tx) => tx.exec('update t set v = s.v from s where s.id > 0'),
    code: 'STATEMENT_UNSAFE',
  },
  {
    name: 'INSERT that names a hidden rowid',
    of: 'rowids that no column shows',
    lacks: 'namedRowids',
    given: 'create table t (k text primary key, v)',
    run: (tx) => tx.exec(`insert into t (rowid, k) values (100, 'a')`),
    code: 'STATEMENT_UNSAFE',
  },
  {
    name: 'INSERT without an id into a table that holds the largest one',
    of: 'ids that SQLite draws, after the largest one is taken',
    lacks: 'drawnIds',
    given: 'create table t (id integer primary key, v); insert into t values (9223372036854775807, 0)',
    run: (tx) => tx.exec('insert into t (v) values (1)'),
    code: 'STATEMENT_UNSAFE',
  },
]
