/** The same application on three log formats, in one cluster that changes between them while it writes. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { rowFormat } from '@understudy/format-row'
import { explainSafety, statementFormat } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'
import { createNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

const folder = await mkdtemp(join(tmpdir(), 'understudy-'))
const row = rowFormat()
const formats = [row, statementFormat({ unsafe: 'row', row }), walFormat()]
const parts = { format: row, formats, transport: tcp() }
const leader = await createNode({
  ...parts,
  name: 'a',
  directory: join(folder, 'a'),
  role: 'leader',
  listen: 'tcp://127.0.0.1:0',
})
await leader.write((tx) => tx.exec('create table note (id integer primary key, body text, at text)'))
const follower = await createNode({
  ...parts,
  name: 'b',
  directory: join(folder, 'b'),
  role: 'follower',
  leader: leader.address ?? '',
})

let notes = 0
for (const format of ['row', 'statement', 'wal', 'row']) {
  await leader.switchFormat(format)
  // What datetime('now') gave on the leader is what every follower stores, in each format.
  for (let n = 0; n < 10; n++) {
    await leader.write((tx) =>
      tx.run(`insert into note (body, at) values (?, datetime('now', 'subsec'))`, [`note ${++notes}`]),
    )
  }
  await follower.read(() => 0, { after: leader.applied, timeoutMs: 10_000 })
  const all = 'select * from note order by id'
  const [here, there] = await Promise.all([leader, follower].map((node) => node.read((tx) => tx.all(all))))
  const equal = JSON.stringify(here) === JSON.stringify(there)
  console.log(`${format}: ${notes} notes, ${equal ? 'equal' : 'different'} on the follower`)
}

// What SQLite could do differently on another node is known before it runs.
const database = new DatabaseSync(':memory:')
database.exec('create table note (id integer primary key, body text, at text default current_timestamp)')
for (const sql of [
  'update note set body = upper(body) where id = 1',
  'insert into note (body) values (hex(randomblob(8)))',
  'delete from note where id in (select id from note order by body limit 1)',
]) {
  const { verdict, reasons } = explainSafety(database, sql)
  const codes = reasons.map(({ code }) => code).join(', ')
  console.log(`${verdict}${codes === '' ? '' : ` (${codes})`}: ${sql}`)
}
database.close()

await follower.close()
await leader.close()
await rm(folder, { recursive: true })
