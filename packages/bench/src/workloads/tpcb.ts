/**
 * TPC-B as pgbench runs it ("tpcb-like", https://www.postgresql.org/docs/current/pgbench.html): one branch, ten tellers and 100,000 accounts
 * for each unit of scale, and a transaction of three updates, a select and an insert.
 *
 * Two things differ from pgbench: `pgbench_history` has a key of its own in SQLite, because a row can be replicated only where it has one;
 * and the five statements are sent together, since SQLite's writer does not wait for a client between them.
 */
import type { Random } from '@understudy/contracts'
import { between } from './random.ts'
import {
  batches,
  write,
  type Dialect,
  type Invariant,
  type Operation,
  type Statement,
  type Workload,
} from './workload.ts'

const ACCOUNTS_PER_BRANCH = 100_000
const TELLERS_PER_BRANCH = 10
const DELTA_MAX = 5000

export const tpcb: Workload = {
  name: 'tpcb',
  title: 'TPC-B as pgbench runs it; --rows counts accounts, 100,000 of them are a unit of scale',
  rowsDefault: ACCOUNTS_PER_BRANCH,
  rowsQuick: ACCOUNTS_PER_BRANCH,
  schema,
  rows: ({ rows }) => initialRows(scaleOf(rows)),
  start: ({ random, rows }) => {
    const scale = scaleOf(rows)
    return { next: () => transfer(random, scale) }
  },
  invariants: invariants(),
}

/** Units of scale; a part of one counts as a whole. */
export function scaleOf(rows: number): number {
  return Math.max(1, Math.ceil(rows / ACCOUNTS_PER_BRANCH))
}

function schema(dialect: Dialect): readonly string[] {
  const key = dialect === 'sqlite' ? 'id integer primary key, ' : ''
  const time = dialect === 'sqlite' ? 'text' : 'timestamp'
  const integer = dialect === 'sqlite' ? 'integer' : 'int'
  return [
    `create table pgbench_branches (bid ${integer} not null primary key, bbalance ${integer}, filler char(88))`,
    `create table pgbench_tellers (tid ${integer} not null primary key, bid ${integer}, tbalance ${integer}, filler char(84))`,
    `create table pgbench_accounts (aid ${integer} not null primary key, bid ${integer}, abalance ${integer}, filler char(84))`,
    `create table pgbench_history (${key}tid ${integer}, bid ${integer}, aid ${integer}, delta ${integer}, mtime ${time}, filler char(22))`,
  ]
}

function* initialRows(scale: number): Iterable<readonly Statement[]> {
  const branches = batches('insert into pgbench_branches (bid, bbalance) values (?, 0)', scale, (at) => [
    at + 1,
  ])
  const tellers = batches(
    'insert into pgbench_tellers (tid, bid, tbalance) values (?, ?, 0)',
    scale * TELLERS_PER_BRANCH,
    (at) => [at + 1, Math.floor(at / TELLERS_PER_BRANCH) + 1],
  )
  // pgbench leaves the filler of accounts to the padding of char(84): blanks, which SQLite does not add.
  const filler = ' '.repeat(84)
  const accounts = batches(
    'insert into pgbench_accounts (aid, bid, abalance, filler) values (?, ?, 0, ?)',
    scale * ACCOUNTS_PER_BRANCH,
    (at) => [at + 1, Math.floor(at / ACCOUNTS_PER_BRANCH) + 1, filler],
  )
  yield* branches
  yield* tellers
  yield* accounts
}

function transfer(random: Random, scale: number): Operation {
  const aid = between(random, 1, ACCOUNTS_PER_BRANCH * scale)
  const bid = between(random, 1, scale)
  const tid = between(random, 1, TELLERS_PER_BRANCH * scale)
  const delta = between(random, -DELTA_MAX, DELTA_MAX)
  return {
    name: 'transfer',
    steps: [
      write(
        { sql: 'update pgbench_accounts set abalance = abalance + ? where aid = ?', params: [delta, aid] },
        { sql: 'select abalance from pgbench_accounts where aid = ?', params: [aid], returns: true },
        { sql: 'update pgbench_tellers set tbalance = tbalance + ? where tid = ?', params: [delta, tid] },
        { sql: 'update pgbench_branches set bbalance = bbalance + ? where bid = ?', params: [delta, bid] },
        {
          sql: 'insert into pgbench_history (tid, bid, aid, delta, mtime) values (?, ?, ?, ?, current_timestamp)',
          params: [tid, bid, aid, delta],
        },
      ),
    ],
  }
}

/** Consistency conditions of TPC-B: what was moved is the same in every table. */
function invariants(): readonly Invariant[] {
  const history = '(select coalesce(sum(delta), 0) from pgbench_history)'
  return [
    { title: 'accounts and history', column: 'abalance', table: 'pgbench_accounts' },
    { title: 'tellers and history', column: 'tbalance', table: 'pgbench_tellers' },
    { title: 'branches and history', column: 'bbalance', table: 'pgbench_branches' },
  ].map(({ title, column, table }) => ({
    title,
    sql: `select case when (select sum(${column}) from ${table}) = ${history} then 1 else 0 end as holds`,
  }))
}
