/** Clients of a cluster whose nodes choose their leader themselves: they notice nothing but time. */
import { connect, type ClusterClient } from '@understudy/client'
import { onTestFinished, expect, test } from 'vitest'
import { FailoverNodes } from './support/failover-nodes.ts'
import { load } from './support/tcp-cluster.ts'

async function clientOf(cluster: FailoverNodes): Promise<ClusterClient> {
  const addresses = cluster.names.map((name) => `memory://${name}`)
  const client = await connect(addresses, { transport: cluster.transport, timeoutMs: 60_000 })
  onTestFinished(() => client.close())
  return client
}

interface Seen {
  readonly acked: string[]
  readonly wrong: string[]
  readonly failed: unknown[]
  msMax: number
}

/** Writers that read back what they wrote, from whichever node answers. */
function writers(client: ClusterClient, seen: Seen) {
  return load(4, async (n) => {
    const body = `n${n}`
    const begunMs = performance.now()
    try {
      const { token } = await client.write([{ sql: 'insert into note (body) values (?)', params: [body] }])
      seen.acked.push(body)
      seen.msMax = Math.max(seen.msMax, performance.now() - begunMs)
      const sql = 'select count(*) from note where body = ?'
      const { rows, node } = await client.read(sql, [body], { prefer: 'any', after: token })
      if (rows[0]?.[0] !== 1) seen.wrong.push(`${body} on ${node}: ${JSON.stringify(rows)}`)
    } catch (error) {
      seen.failed.push(error)
      // One would go on for ever with a client that is closed.
      throw error
    }
  })
}

async function check(cluster: FailoverNodes, client: ClusterClient, seen: Seen): Promise<void> {
  expect(seen.failed).toEqual([])
  expect(seen.wrong).toEqual([])
  const { rows } = await client.read('select body from note', [], { prefer: 'leader' })
  expect(rows.map(([body]) => String(body)).toSorted()).toEqual(seen.acked.toSorted())
  expect(client.node).toBe(cluster.leader?.name)
}

test('051 the leader goes under load, and comes back as a follower: no call fails, nothing is lost or done twice', async () => {
  const cluster = new FailoverNodes()
  const leader = await cluster.startAll()
  await leader.write((tx) => tx.exec('create table note (id integer primary key, body text)'))
  const client = await clientOf(cluster)
  const seen: Seen = { acked: [], wrong: [], failed: [], msMax: 0 }
  const running = writers(client, seen)
  await running.more(40)
  for (let failover = 0; failover < 2; failover++) {
    const old = cluster.leader!.name
    await cluster.close(old)
    await running.more(40)
    expect(cluster.leader?.name).not.toBe(old)
    await cluster.start(old)
    await cluster.untilAllStream()
    await running.more(20)
  }
  await running.stop()
  await check(cluster, client, seen)
})

test('051 the leader hands over under load, again and again: no call fails', async () => {
  const cluster = new FailoverNodes()
  const leader = await cluster.startAll()
  await leader.write((tx) => tx.exec('create table note (id integer primary key, body text)'))
  const client = await clientOf(cluster)
  const seen: Seen = { acked: [], wrong: [], failed: [], msMax: 0 }
  const running = writers(client, seen)
  await running.more(20)
  for (let turn = 0; turn < 3; turn++) {
    const before = cluster.leader?.name
    const changed = await client.withNode('leader', (node) => node.switchover({ timeoutMs: 30_000 }))
    expect(changed.leader).not.toBe(before)
    await running.more(20)
    await cluster.untilAllStream()
  }
  await running.stop()
  await check(cluster, client, seen)
})

test('051 a client that is told of one node alone knows the others when that one goes', async () => {
  const cluster = new FailoverNodes()
  const leader = await cluster.startAll()
  await leader.write((tx) => tx.exec('create table note (id integer primary key, body text)'))
  const client = await connect(`memory://${leader.name}`, { transport: cluster.transport, timeoutMs: 60_000 })
  onTestFinished(() => client.close())
  const write = (body: string) =>
    client.write([{ sql: 'insert into note (body) values (?)', params: [body] }])
  expect((await write('before')).node).toBe(leader.name)
  await cluster.close(leader.name)
  const { node, receipt } = await write('after')
  expect(node).toBe(cluster.leader?.name)
  expect(receipt?.position.epoch).toBeGreaterThan(1)
  expect((await client.read('select count(*) from note')).rows).toEqual([[2]])
})
