/** A leader and a follower in one process: the follower bootstraps from a snapshot, then follows the stream. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rowFormat } from '@understudy/format-row'
import { createNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

const folder = await mkdtemp(join(tmpdir(), 'understudy-'))
const parts = { format: rowFormat(), transport: tcp() }

const leader = await createNode({
  ...parts,
  name: 'a',
  directory: join(folder, 'a'),
  role: 'leader',
  listen: 'tcp://127.0.0.1:0',
})
await leader.write((tx) => {
  tx.exec('create table note (id integer primary key, body text)')
  for (let id = 1; id <= 100; id++)
    tx.run('insert into note values (?, ?)', [id, `before the follower ${id}`])
})

const streaming = Promise.withResolvers<void>()
const follower = await createNode({
  ...parts,
  name: 'b', // the leader keeps its log back for this name, also while the follower is away
  directory: join(folder, 'b'),
  role: 'follower',
  leader: leader.address ?? '',
  onEvent: (event) => {
    if (event.kind === 'bootstrapped')
      console.log(`snapshot of ${event.bytes} bytes at LSN ${event.point.lsn}`)
    if (event.kind === 'state') console.log(`follower is ${event.state}`)
    if (event.kind === 'state' && event.state === 'streaming') streaming.resolve()
    if (event.kind === 'failed') streaming.reject(event.error)
  },
})
await streaming.promise

const { receipt } = await leader.write((tx) => tx.run("insert into note values (101, 'streamed')"))
const count = await follower.read((tx) => tx.get('select count(*) as n from note')?.['n'], {
  after: receipt.position, // waits until the follower shows this write
})
console.log('notes on the follower:', count)

// Only the leader writes.
await follower
  .write((tx) => tx.exec('delete from note'))
  .catch((error: Error & { code?: string }) => {
    console.log(`${error.code}: a follower takes no writes`)
  })
for (const { name, state, lag } of leader.status().followers ?? [])
  console.log(`leader sees ${name}: ${state}, ${lag?.records ?? 'unknown'} records behind`)

await follower.close()
await leader.close()
await rm(folder, { recursive: true })
