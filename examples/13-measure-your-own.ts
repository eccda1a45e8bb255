/** A workload and a peer of one's own in the comparison: both in this file, which the benchmark's processes import by themselves. */
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rowsOf, runMatrix, write, type Step, type Subject, type Workload } from '@understudy/bench'

/** Stock that is sold: two tables, one transaction, and a sum that must stay. */
export const workload: Workload = {
  name: 'sales',
  title: 'an item leaves the stock and stands in an order, in one transaction',
  rowsDefault: 100,
  rowsQuick: 100,
  schema: () => [
    'create table item (id integer primary key, stock integer not null)',
    'create table sale (id integer primary key, item integer not null, count integer not null)',
  ],
  *rows({ rows }) {
    yield [
      {
        sql: 'insert into item (id, stock) values (?, 1000000)',
        many: Array.from({ length: rows }, (_, at) => [at]),
      },
    ]
  },
  start: ({ random, rows }) => ({
    next: () => {
      const item = random.uint32() % rows
      return {
        name: 'sale',
        steps: [
          write(
            { sql: 'update item set stock = stock - 1 where id = ?', params: [item] },
            { sql: 'insert into sale (item, count) values (?, 1)', params: [item] },
          ),
        ],
      }
    },
  }),
  invariants: [
    {
      title: 'nothing is sold that was not there',
      sql: 'select (select sum(stock) from item) + (select sum(count) from sale) = (select count(*) from item) * 1000000',
    },
  ],
}

/** SQLite with its older journal: what it writes is in the file at once, and is synced twice. */
export const subject: Subject = {
  name: 'journal',
  title: 'node:sqlite with a rollback journal, not replicated',
  variants: [{}],
  find: () => Promise.resolve({ version: process.versions['sqlite'] ?? 'unknown' }),
  async start({ directory, database }) {
    const file = join(directory, 'journal.db')
    await copyFile(await database(), file)
    return {
      endpoint: file,
      facts: {
        durability: 'fsync of the journal and of the database at each commit',
        settings: 'journal_mode=delete',
      },
      nodes: () => [],
      settled: () => Promise.resolve(),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }
  },
  // In the process of the load.
  connect(file) {
    const database = new DatabaseSync(String(file))
    database.exec('pragma journal_mode = delete; pragma synchronous = full')
    return Promise.resolve({
      run(step: Step): undefined {
        if (step.kind === 'read')
          return void database.prepare(step.statement.sql).all(...(step.statement.params ?? []))
        database.exec('begin immediate')
        for (const { sql, params = [] } of step.statements) database.prepare(sql).run(...params)
        database.exec('commit')
      },
      [Symbol.asyncDispose]: () => Promise.resolve(database.close()),
    })
  },
}

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'understudy-'))
  const nobody = { begin: () => {}, step: () => {}, note: () => {}, end: () => {} }
  // On the command line: understudy bench --workload ./13-measure-your-own.ts --peer ./13-measure-your-own.ts
  const results = await runMatrix(nobody, {
    directory: folder,
    workload: [import.meta.filename],
    peer: [import.meta.filename],
    peers: ['none'],
    format: ['row'],
    transport: ['tcp'],
    ack: ['async'],
    writers: [4],
    followers: 1,
    rounds: 1,
    seconds: 0.2,
  })
  for (const { name, operationsPerSecond, latency } of rowsOf(results))
    console.log(
      `${name}: ${Math.round(operationsPerSecond.median)} sales/s, ${latency.totalCount} of them timed`,
    )
  await rm(folder, { recursive: true })
}

// Nothing is awaited here: the benchmark imports this module, which would wait for its own end.
if (import.meta.main) void main()
