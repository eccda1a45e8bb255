/** What a client does with SQL beyond single statements: lists with conditions, transactions, prepared statements, results of any size. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '@understudy/client'
import { rowFormat } from '@understudy/format-row'
import { createNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

const folder = await mkdtemp(join(tmpdir(), 'understudy-'))
const leader = await createNode({
  name: 'a',
  directory: join(folder, 'a'),
  role: 'leader',
  format: rowFormat(),
  transport: tcp(),
  listen: 'tcp://127.0.0.1:0',
})
const client = await connect(leader.address as string, { transports: [tcp()] })
await client.write([
  { sql: 'create table account (id integer primary key, balance integer not null)' },
  { sql: 'insert into account values (1, 100), (2, 0)' },
  { sql: 'create table many (id integer primary key, body blob)' },
  {
    sql: `with recursive n(i) as (select 1 union all select i + 1 from n where i < 150000)
      insert into many select i, randomblob(16) from n`,
  },
])

// One write, whose steps depend on each other: the cheapest way, because nobody waits for this client's round trips.
const transfer = async (amount: number): Promise<string> => {
  const { results } = await client.batch([
    {
      sql: 'update account set balance = balance - ? where id = 1 and balance >= ?',
      params: [amount, amount],
    },
    { sql: 'update account set balance = balance + ? where id = 2', params: [amount], when: { changed: 0 } },
  ])
  return results[1]?.skipped === true ? 'not enough' : 'done'
}
console.log(`transfer of 60: ${await transfer(60)}, and again: ${await transfer(60)}`)

// Where the program has to think in between: every other write waits so long, and after two idle seconds it is over.
const { value } = await client.transaction(
  async (tx) => {
    const row = await tx.get('select balance from account where id = 2')
    await tx.run('update account set balance = ? where id = 2', [Number(row?.['balance']) * 2])
    return (await tx.get('select sum(balance) as sum from account'))?.['sum']
  },
  { timeoutMs: 5000 },
)
console.log(`sum after the transaction: ${Number(value)}`)

// What a statement is, before it runs.
const statement = await client.prepare('select id, body from many where id > ? order by id')
console.log(
  `${statement.parameters} parameter; ${statement.columns.map(({ name, type }) => `${name} ${type}`).join(', ')}`,
)

// More than one answer may hold, a page at a time; leaving the loop ends it at the node.
let rows = 0
for await (const batch of statement.iterateArrays([0], { batchRows: 5000 }).batches())
  rows += batch.rows.length
for await (const { id } of statement.iterate([10])) if (id === 20) break
console.log(`${rows} rows`)

// Integers of 64 bits, and INTEGER told from REAL.
const exact = await client.read('select 9007199254740993, 1, 1.0', [], { bigint: 'bigint' })
console.log(
  exact.rows[0]
    ?.map((each) => (typeof each === 'bigint' ? `bigint ${each}` : `${typeof each} ${Number(each)}`))
    .join(', '),
)

await client.close()
await leader.close()
await rm(folder, { recursive: true })
