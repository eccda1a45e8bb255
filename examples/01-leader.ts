/** A leader: a SQLite database whose every commit is durable in a log that followers can read. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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
  listen: 'tcp://127.0.0.1:0', // port 0: any free one; leader.address says which
})
console.log(`node ${leader.name} leads cluster ${leader.cluster} at ${leader.address}`)

await leader.write((tx) =>
  tx.exec('create table note (id integer primary key autoincrement, body text not null)'),
)

// A callback is one transaction: synchronous, run once. It resolves when it is durable and visible.
const { value, receipt } = await leader.write((tx) => {
  tx.run('insert into note (body) values (?)', ['hello'])
  return tx.run('insert into note (body) values (?)', ['world']).lastInsertRowid
})
console.log(`wrote note ${value} at position ${receipt.position.epoch}/${receipt.position.lsn}`)

// A list of statements is data. `expect` rolls the write back when another number of rows changed.
await leader.write([{ sql: 'update note set body = ? where id = ?', params: ['there', 2], expect: 1 }])

// What throws leaves no trace, and takes nobody else's write down.
await leader
  .write((tx) => tx.run('insert into note (body) values (null)'))
  .catch((error: Error) => {
    console.log(`refused: ${error.message}`)
  })

// Concurrent writes share one transaction and one fsync.
const began = performance.now()
await Promise.all(
  Array.from({ length: 1000 }, (_, i) =>
    leader.write((tx) => tx.run('insert into note (body) values (?)', [`n${i}`])),
  ),
)
console.log(`1,000 durable commits in ${(performance.now() - began).toFixed(0)} ms`)

const rows = await leader.read((tx) => tx.all('select id, body from note order by id limit 2'))
console.log(rows.map(({ id, body }) => Object.values({ id, body }).join(': ')).join(', '))

await leader.close()
await rm(folder, { recursive: true })
