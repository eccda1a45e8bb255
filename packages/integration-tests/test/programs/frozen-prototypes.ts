/** A cluster that works while nothing can be added to the prototypes that every object has: `node frozen-prototypes.ts <folder>`. */
import { join } from 'node:path'
import { connect } from '@understudy/client'
import { rowFormat } from '@understudy/format-row'
import { createNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

// Whoever adds to one of them throws from here on, because modules are strict.
for (const prototype of [Object.prototype, Array.prototype, Function.prototype, Map.prototype])
  Object.freeze(prototype)

const folder = process.argv[2] ?? ''
const transport = tcp()
const leader = await createNode({
  name: 'a',
  directory: join(folder, 'a'),
  role: 'leader',
  format: rowFormat(),
  transport,
  listen: 'tcp://127.0.0.1:0',
})
const follower = await createNode({
  name: '0__proto__',
  directory: join(folder, 'b'),
  role: 'follower',
  format: rowFormat(),
  transport,
  leader: leader.address ?? '',
})
const client = await connect({ transport, address: leader.address ?? '' })
const parameters = JSON.parse('{ "__proto__": "polluted", "constructor": "polluted" }') as Record<
  string,
  string
>
await leader.write((tx) => {
  tx.exec('create table "__proto__" (id integer primary key, "__proto__", "constructor")')
  tx.run('insert into "__proto__" values (1, $__proto__, $constructor)', parameters)
})
const { position } = await client.write([
  { sql: 'insert into "__proto__" values (2, ?, ?)', params: ['a', 'b'] },
])
const rows = await follower.read(
  (tx) => tx.all('select * from "__proto__" order by id'),
  position === undefined ? {} : { after: position },
)
const at = await leader.mark()
const [digest] = await leader.digest(at)
process.stdout.write(
  `${JSON.stringify({
    rows: rows.map((row) => Object.entries(row)),
    table: digest?.table,
    status: Object.keys(leader.status()).length > 5,
    inherited: [...Object.keys({}), ...Object.keys([])],
  })}\n`,
)
await client.close()
await follower.close()
await leader.close()
