/** A client of a cluster that chooses its leader itself: the leader goes in the middle of the work, and the client notices nothing but time. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '@understudy/client'
import { sqliteCoordinator } from '@understudy/coordinator-sqlite'
import { rowFormat } from '@understudy/format-row'
import { createNode, type UnderstudyNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

const folder = await mkdtemp(join(tmpdir(), 'understudy-'))
const names = ['a', 'b', 'c']
const addressOf = (name: string): string => `unix://${join(folder, `${name}.socket`)}`
const members = names.map((name) => ({ name, address: addressOf(name) }))

const nodes = new Map<string, UnderstudyNode>()
for (const name of names) {
  const node = await createNode({
    name,
    directory: join(folder, name),
    role: name === 'a' ? 'leader' : 'follower',
    format: rowFormat(),
    transport: tcp(),
    listen: addressOf(name),
    // One follower has each write before it is acknowledged, so that a failover loses none.
    ...(name === 'a' && { profile: 'no-loss', members: ['b', 'c'] }),
    failover: { members, coordinator: await sqliteCoordinator({ path: join(folder, 'coordinator.db') }) },
  })
  nodes.set(name, node)
}

// One address is enough: the nodes name the others.
const client = await connect(addressOf('b'), { transports: [tcp()], timeoutMs: 60_000 })
await client.write([{ sql: 'create table note (id integer primary key, body text)' }])
const first = client.node
console.log(`connected to ${client.cluster.length === 16 ? 'a cluster' : 'nothing'} that ${first} leads`)

let failed = 0
let leaderIsGone: Promise<void> | undefined
for (let n = 1; n <= 200; n++) {
  // The one that leads goes; a write that it was in the middle of is sent again to the next one, under its key.
  if (n === 100) leaderIsGone = nodes.get(first)?.close()
  await client
    .write([{ sql: 'insert into note (body) values (?)', params: [`note ${n}`] }])
    .catch((error: unknown) => {
      failed++
      console.log(String(error))
    })
}
await leaderIsGone
console.log(`another one leads: ${client.node !== first && names.includes(client.node)}`)
console.log(`200 writes, ${failed} failed`)

// A token says what this client has seen. Another process goes on from it, on whatever node.
const other = await connect([addressOf('b'), addressOf('c')], {
  transports: [tcp()],
  prefer: 'follower',
  ...(client.token !== undefined && { token: client.token }),
})
const { rows } = await other.read('select count(*), count(distinct body) from note')
console.log(`notes, and different ones: ${String(rows[0])}`)

await other.close()
await client.close()
for (const node of nodes.values()) await node.close()
await rm(folder, { recursive: true })
