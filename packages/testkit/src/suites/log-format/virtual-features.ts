/** Features of the suite around virtual tables. */
import type { Feature } from './types.ts'
import { calls } from './writes.ts'

export const VIRTUAL_FEATURES: readonly Feature[] = [
  {
    name: 'FTS5',
    given: `create virtual table f using fts5 (title, body); insert into f values ('one', 'the quick brown fox'), ('two', 'the lazy dog')`,
    groups: [
      [
        `insert into f values ('three', 'quick quick')`,
        `update f set body = 'a lazy cat' where title = 'two'`,
        `delete from f where title = 'one'`,
      ],
      [`insert into f (f) values ('optimize')`],
    ],
    promoted: `insert into f values ('four', 'quick again'); insert into f (f) values ('integrity-check')`,
    check: {
      sql: `select title from f where f match 'quick OR cat' order by title`,
      rows: [['three'], ['two']],
    },
  },
  {
    name: 'FTS5 with external content, contentless, and contentless with delete',
    given: `create table doc (id integer primary key, body); create virtual table f using fts5 (body, content = 'doc', content_rowid = 'id');
      create trigger di after insert on doc begin insert into f (rowid, body) values (new.id, new.body); end;
      create trigger dd after delete on doc begin insert into f (f, rowid, body) values ('delete', old.id, old.body); end;
      create virtual table c using fts5 (body, content = ''); create virtual table d using fts5 (body, content = '', contentless_delete = 1)`,
    groups: [
      [
        `insert into doc values (1, 'apple pie'), (2, 'apple tart')`,
        'delete from doc where id = 1',
        `insert into c (rowid, body) values (5, 'apple')`,
        `insert into d (rowid, body) values (6, 'apple'), (7, 'pear')`,
        'delete from d where rowid = 7',
      ],
    ],
    promoted: `insert into doc values (3, 'apple cake'); insert into f (f) values ('integrity-check')`,
    check: {
      sql: `select 'f', rowid from f where f match 'apple' union all select 'c', rowid from c where c match 'apple' union all select 'd', rowid from d where d match 'apple OR pear'`,
      rows: [
        ['f', 2],
        ['c', 5],
        ['d', 6],
      ],
    },
  },
  {
    name: 'R-Tree',
    given:
      'create virtual table r using rtree (id, x0, x1, y0, y1, +label); insert into r values (1, 0, 1, 0, 1, null)',
    groups: [
      [
        calls((tx) => {
          for (let id = 2; id < 120; id += 1)
            tx.run('insert into r values (?, ?, ?, ?, ?, ?)', [id, id, id + 1, id, id + 1, `l${id}`])
        }),
        'delete from r where id % 3 = 0',
        'update r set x1 = 500 where id = 4',
      ],
    ],
    promoted: 'insert into r values (1000, 1, 2, 1, 2, null); delete from r where id = 5',
    check: {
      sql: `select count(*), (select label from r where x1 > 400), rtreecheck('r') from r`,
      rows: [[80, 'l4', 'ok']],
    },
  },
  {
    name: 'CREATE, ALTER and DROP of virtual tables',
    undo: 'pages',
    groups: [
      [
        `create virtual table f using fts5 (a); insert into f values ('hello world'); create virtual table r using rtree (id, a, b); insert into r values (1, 2, 3)`,
      ],
      [
        `alter table f rename to g; insert into g values ('hello again'); drop table r; create virtual table g2 using fts5vocab (g, row)`,
      ],
    ],
    promoted: `insert into g values ('hello promoted'); insert into g (g) values ('integrity-check')`,
    check: {
      sql: `select rowid, (select cnt from g2 where term = 'hello') from g where g match 'hello'`,
      rows: [
        [1, 2],
        [2, 2],
      ],
    },
  },
]
