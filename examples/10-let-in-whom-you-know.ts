/** Credentials and roles, over WebSocket on the HTTP server that an application has anyway. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '@understudy/client'
import { isUnderstudyError } from '@understudy/contracts'
import {
  addGrant,
  makeCredential,
  readCredential,
  readGrants,
  removeGrant,
  writeCredential,
} from '@understudy/credentials'
import { rowFormat } from '@understudy/format-row'
import { createNode } from '@understudy/node'
import { webSocket } from '@understudy/transport-ws'

const folder = await mkdtemp(join(tmpdir(), 'understudy-'))
const list = join(folder, 'all.json')

// What `understudy credential add` does: a secret for each end, and for the leader only what proves it.
for (const { name, roles } of [
  { name: 'b', roles: ['replicate', 'snapshot'] },
  { name: 'dashboard', roles: ['read'] },
] as const) {
  const { credential, entry } = makeCredential({ name, roles })
  writeCredential(join(folder, `${name}.json`), credential)
  addGrant(list, entry)
}

const http = createServer((_, response) => response.end('the application\n'))
http.listen(0, '127.0.0.1')
await once(http, 'listening')
const { port } = http.address() as { port: number }
const address = `ws://127.0.0.1:${port}/replication`

const leader = await createNode({
  name: 'a',
  directory: join(folder, 'a'),
  role: 'leader',
  format: rowFormat(),
  transport: webSocket({ server: http }),
  listen: address,
  credentials: readGrants(list),
  onEvent: (event) => {
    if (event.kind === 'refused') console.log(`the leader turned somebody away: ${event.error.code}`)
  },
})
await leader.write((tx) => tx.exec('create table note (id integer primary key, body text)'))
await leader.write((tx) => tx.run('insert into note (body) values (?)', ['hello']))

const follower = await createNode({
  name: 'b',
  directory: join(folder, 'b'),
  role: 'follower',
  format: rowFormat(),
  transport: webSocket(),
  leader: address,
  credential: readCredential(join(folder, 'b.json')),
})
const count = await follower.read((tx) => tx.get('select count(*) as notes from note'))
console.log(`the follower has ${String(count?.['notes'])} notes`)
console.log('the application answers', (await (await fetch(`http://127.0.0.1:${port}/`)).text()).trim())

const credential = readCredential(join(folder, 'dashboard.json'))
const dashboard = await connect({ transport: webSocket(), address, credential })
const { rows } = await dashboard.read('select body from note')
console.log('the dashboard reads', ...rows.flat())
try {
  await dashboard.write([{ sql: 'delete from note' }])
} catch (error) {
  if (!isUnderstudyError(error, 'FORBIDDEN')) throw error
  console.log('the dashboard may not write:', error.code)
}
await dashboard.close()

// Taken out of the list, it opens nothing new: no restart.
removeGrant(list, 'dashboard')
try {
  await connect({ transport: webSocket(), address, credential })
} catch (error) {
  if (!isUnderstudyError(error, 'AUTHENTICATION_FAILED')) throw error
  console.log('the dashboard is not known any more:', error.code)
}

await follower.close()
await leader.close()
http.close()
await rm(folder, { recursive: true })
