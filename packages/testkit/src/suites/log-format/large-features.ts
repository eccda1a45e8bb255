/** Features of the suite that are large. */
import type { Feature } from './types.ts'

export const LARGE_FEATURES: readonly Feature[] = [
  {
    name: 'a transaction of 100,000 rows',
    given: 'create table t (id integer primary key, k text not null, n)',
    groups: [
      [
        `with recursive c (i) as (select 1 union all select i + 1 from c where i < 100000) insert into t select i, 'key' || i, i * 7 from c`,
        'update t set n = -n where id % 10 = 0',
        'delete from t where id % 100 = 0',
      ],
    ],
    check: { sql: 'select count(*), sum(n), max(id) from t', rows: [[99000, 28350000000, 99999]] },
  },
  {
    name: 'a blob of 50 MB',
    given: 'create table t (id integer primary key, b)',
    groups: [['insert into t values (1, randomblob(50000000))'], ['update t set b = randomblob(50000010)']],
    check: { sql: 'select length(b), typeof(b) from t', rows: [[50000010, 'blob']] },
  },
]
