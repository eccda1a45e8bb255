/** A monitor beside each node: metrics, health and readiness over HTTP, lag in three numbers, events as a stream. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rowFormat } from '@understudy/format-row'
import { startMonitor } from '@understudy/monitor'
import { createNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

const folder = await mkdtemp(join(tmpdir(), 'understudy-'))
const parts = { format: rowFormat(), transport: tcp(), listen: 'tcp://127.0.0.1:0' }

// The monitor comes first, so that a start that takes long can be watched too.
const ofLeader = await startMonitor({ listen: 'http://127.0.0.1:0' })
const leader = await createNode({
  ...parts,
  name: 'a',
  directory: join(folder, 'a'),
  role: 'leader',
  observe: ofLeader.observe,
})
await leader.write((tx) => tx.exec('create table note (id integer primary key, body text)'))

const ofFollower = await startMonitor({ listen: 'http://127.0.0.1:0' })
console.log(`before it starts: ${(await fetch(`${ofFollower.address}/ready`)).status}`)
const follower = await createNode({
  ...parts,
  name: 'b',
  directory: join(folder, 'b'),
  role: 'follower',
  leader: leader.address!,
  observe: ofFollower.observe,
})

// The same as a stream in the program: it ends with the node, or when the loop is left.
const events = leader.events()
const { receipt } = await leader.write((tx) => tx.run("insert into note (body) values ('hello')"))
await follower.read(() => undefined, { after: receipt.position })

console.log(
  `follower, reads at most 5 s old: ${(await fetch(`${ofFollower.address}/ready?stalenessMsMax=5000`)).status}`,
)
console.log(`follower, writes: ${(await fetch(`${ofFollower.address}/ready?for=writes`)).status}`)
console.log(`leader, writes: ${(await fetch(`${ofLeader.address}/ready`)).status}`)
const lag = follower.status().following?.lag
console.log(
  lag === undefined ? 'lag unknown' : `lag: ${lag.records} records, ${lag.bytes} bytes, ${lag.ageMs} ms`,
)
const metrics = await (await fetch(`${ofLeader.address}/metrics`)).text()
for (const line of metrics.split('\n'))
  if (/^understudy_(commit_duration_seconds_count|follower_connected)/.test(line)) console.log(line)

await follower.close()
for await (const { event } of events) {
  if (event.kind !== 'followerLeft') continue
  console.log(`event: ${event.name} left`)
  break
}
for (const { name, slot } of leader.status().absentFollowers ?? [])
  console.log(`${name} is gone, its slot holds the log from ${slot.lsn + 1}`)
// It will not come back.
leader.forget('b')
console.log(
  `slots: ${leader
    .slots()
    .map(({ name }) => name)
    .join(', ')}`,
)

await leader.close()
console.log(`after it closed: ${(await fetch(`${ofLeader.address}/health`)).status}`)
await ofLeader.close()
await ofFollower.close()
await rm(folder, { recursive: true })
