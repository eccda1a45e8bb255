/** Writes of a follower's clients that are sent on to the leader. */
import { ORIGIN, systemClock, type Channel } from '@understudy/contracts'
import {
  Connection,
  grants,
  verifierOf,
  type Grant,
  type Hello,
  type Request,
  type Role,
} from '@understudy/protocol'
import { onTestFinished, expect, test } from 'vitest'
import { ForwardedWrites } from '../src/forwarded-writes.ts'
import { clientOf } from './client.ts'
import { Cluster, countNotes } from './helpers.ts'

const SECRET = (name: string): Uint8Array => new Uint8Array(32).fill(name.charCodeAt(0))
const credential = (name: string) => ({ kind: 'secret', name, secret: SECRET(name) }) as const

function grant(name: string, ...roles: Role[]): Grant {
  return { name, roles, nodes: [name], verifier: verifierOf(SECRET(name)) }
}

function insert(id: number, more: object = {}) {
  const statements = [{ sql: 'insert into note values (?, ?)', parameters: [id, `note ${id}`] }]
  return { kind: 'write', statements, ...more } as const
}

test('a write goes to the leader with its key, and its receipt comes back', async () => {
  const cluster = new Cluster()
  const leader = await cluster.leader()
  const follower = await cluster.start('b', 'follower', { forwardWrites: true })
  const ask = await clientOf(cluster, 'b')
  expect(await ask({ kind: 'whoLeads', waitMs: 0 })).toMatchObject({ forwardsWrites: true })
  const first = await ask(insert(1, { key: 'one', ack: 'local' }))
  expect(first).toMatchObject({
    kind: 'results',
    results: [{ changes: 1 }],
    receipt: { position: { epoch: 1 } },
  })
  expect(await ask(insert(1, { key: 'one', ack: 'local' }))).toMatchObject({
    replayed: true,
    receipt: (first as { receipt?: object }).receipt!,
  })
  expect(await ask(insert(2, { key: 'one' }))).toMatchObject({ code: 'KEY_REUSED' })
  expect(await ask(insert(1))).toMatchObject({ code: 'SQL_FAILED' })
  await follower.read(() => 0, { after: leader.applied })
  expect([await countNotes(leader), await countNotes(follower)]).toEqual([1, 1])
})

test('without the option a follower refuses, and so does one that is sent what was sent on before', async () => {
  const cluster = new Cluster()
  await cluster.leader()
  await cluster.start('b', 'follower')
  await cluster.start('c', 'follower', { forwardWrites: true })
  const refusal = { code: 'NOT_LEADER', leader: 'memory://a' }
  expect(await (await clientOf(cluster, 'b'))(insert(1))).toMatchObject(refusal)
  const again = insert(1, { forwarded: { by: 'b', author: '' } })
  expect(await (await clientOf(cluster, 'c'))(again)).toMatchObject(refusal)
  // The leader takes it.
  expect(await (await clientOf(cluster, 'a'))(again)).toMatchObject({ kind: 'results' })
})

test('the roles of the client are checked where it connects, and those of the node at the leader', async () => {
  const cluster = new Cluster()
  const own = { forwardWrites: true, credential: credential('b') }
  const clients = grants([grant('w', 'write'), grant('r', 'read')])
  const listed = (...roles: Role[]) => ({
    find: (name: string) => grants([grant('b', 'replicate', 'snapshot', ...roles)]).find(name),
  })
  let list = listed('write')
  const leader = await cluster.leader(0, { credentials: { find: (name) => list.find(name) } })
  const follower = await cluster.start('b', 'follower', { ...own, credentials: clients })
  const writer = await clientOf(cluster, 'b', credential('w'))
  expect(await (await clientOf(cluster, 'b', credential('r')))(insert(1))).toMatchObject({
    code: 'FORBIDDEN',
  })
  expect(await writer(insert(1))).toMatchObject({ kind: 'results' })
  expect(leader.status().forwarded).toEqual([{ by: 'b', author: 'w', writes: 1 }])
  await follower.close()
  list = listed('read')
  await cluster.start('b', 'follower', { ...own, credentials: clients })
  expect(await (await clientOf(cluster, 'b', credential('w')))(insert(2))).toMatchObject({
    code: 'FORBIDDEN',
    message: expect.stringContaining('give it the role write') as string,
  })
  expect(await countNotes(leader)).toBe(1)
})

test('a leader that is gone before the write was sent is NOT_LEADER; one that goes after it is OUTCOME_UNKNOWN', async () => {
  const cluster = new Cluster()
  const leader = await cluster.leader()
  await cluster.start('b', 'follower', { forwardWrites: true })
  const ask = await clientOf(cluster, 'b')
  expect(await ask(insert(1))).toMatchObject({ kind: 'results' })
  await leader.close()
  expect(await ask(insert(2))).toMatchObject({ code: 'NOT_LEADER' })
  // In its place stands one that takes writes and never answers.
  const seen: Request[] = []
  const serve = async (channel: Channel): Promise<void> => {
    const connection = new Connection(channel, systemClock())
    const { purpose, cluster: id } = (await connection.next({ timeoutMs: 1000 })) as Hello
    if (purpose !== 'client') return connection.close()
    connection.send({
      type: 'welcome',
      version: 1,
      cluster: id,
      node: 'a',
      history: [],
      end: ORIGIN,
      verdict: { kind: 'continue', from: 1 },
      heartbeatMs: 0,
      deadlineMs: 0,
    })
    seen.push((await connection.next({ timeoutMs: 1000 })) as Request)
    connection.close()
  }
  const listener = await cluster.transport.listen('memory://a', (channel) => void serve(channel))
  onTestFinished(() => listener.close())
  expect(await ask(insert(3, { key: 'three' }))).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  expect(seen).toMatchObject([{ body: { kind: 'write', key: 'three', forwarded: { by: 'b', author: '' } } }])
})

test('a leader counts by sender and author, of so many that wrote last', () => {
  const counts = new ForwardedWrites()
  for (let n = 0; n < 300; n++) counts.count({ by: 'b', author: `client ${n}` })
  counts.count({ by: 'b', author: 'client 100' })
  counts.count({ by: 'c', author: 'client 100' })
  const list = counts.list()
  expect(list).toHaveLength(256)
  expect(list.slice(-2)).toEqual([
    { by: 'b', author: 'client 100', writes: 2 },
    { by: 'c', author: 'client 100', writes: 1 },
  ])
  expect(list.some(({ author }) => author === 'client 0')).toBe(false)
})
