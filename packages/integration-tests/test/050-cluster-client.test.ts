/**
 * A client of a whole cluster: it finds the leader, goes on after a failover, reads its own writes on whatever node, and learns of what was lost.
 */
import { cpSync } from 'node:fs'
import { connect, type ClusterClient, type ClusterOptions } from '@understudy/client'
import { UnderstudyError } from '@understudy/contracts'
import { nodeFiles } from '@understudy/log'
import {
  readNodeState,
  semiSync,
  writeNodeState,
  type NodeState,
  type UnderstudyNode,
} from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'
import { webSocket } from '@understudy/transport-ws'
import { describe, expect, onTestFinished, test } from 'vitest'
import { TcpCluster, caughtUp, countOf, fill, load } from './support/tcp-cluster.ts'

const transports = [tcp(), webSocket()]
const COUNT = 'select count(*) as n from note'

function insert(body: string) {
  return [{ sql: 'insert into note (body) values (?)', params: [body] }]
}

async function clientOf(
  nodes: readonly (UnderstudyNode | string)[],
  options: ClusterOptions = {},
): Promise<ClusterClient> {
  const addresses = nodes.map((node) => (typeof node === 'string' ? node : (node.address ?? '')))
  const client = await connect(addresses, { transports, ...options })
  onTestFinished(() => client.close())
  return client
}

/** A person decides that this follower leads: what a promotion does to its directory. */
function promote(cluster: TcpCluster, name: string, node: string = name): void {
  const files = nodeFiles()
  const directory = cluster.directory(name)
  writeNodeState(files, directory, { ...(readNodeState(files, directory) as NodeState), node, led: true })
}

async function bodies(node: UnderstudyNode): Promise<string[]> {
  const rows = await node.read((tx) => tx.all('select body from note order by id'))
  return rows.map(({ body }) => String(body))
}

describe('050 finding the leader', () => {
  test('writes go to the leader of whichever node is named, over its own transport; reads stay where they are wanted', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader()
    await fill(leader, 3)
    const b = await cluster.follower('b')
    const c = await cluster.follower('c', { transport: both(), listen: 'ws://127.0.0.1:0' })
    expect(c.address).toMatch(/^ws:/)
    const client = await clientOf([c])
    const { node, receipt, replayed } = await client.write(insert('through c'))
    expect([node, replayed, receipt?.position]).toEqual(['a', false, positionOf(leader)])
    const from = async (prefer: 'leader' | 'follower') => (await client.read(COUNT, [], { prefer })).node
    expect(await from('leader')).toBe('a')
    expect(await from('follower')).toBe('c')
    const wide = await clientOf([leader, b, c])
    const seen = new Set<string>()
    for (let n = 0; n < 6; n++) seen.add((await wide.read(COUNT, [], { prefer: 'any' })).node)
    expect(seen).toEqual(new Set(['a', 'b', 'c']))
    expect(await wide.read(COUNT, [], { prefer: 'nearest' })).toMatchObject({ rows: [[4]] })
    expect([wide.node, wide.cluster]).toEqual(['a', leader.cluster])
  })

  test('a session reads its own writes on every node, and goes on in another client', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader()
    await fill(leader, 0)
    const nodes = [leader, await cluster.follower('b'), await cluster.follower('c')]
    const client = await clientOf(nodes, { prefer: 'any' })
    for (let n = 1; n <= 50; n++) {
      await client.write(insert(`${n}`))
      expect((await client.read(COUNT, [], { prefer: 'follower' })).rows).toEqual([[n]])
    }
    const other = await clientOf(nodes, { prefer: 'follower', token: client.token! })
    expect((await other.read(COUNT)).rows).toEqual([[50]])
    const third = await clientOf(nodes, { prefer: 'follower', session: false })
    expect((await third.read(COUNT, [], { after: client.token })).rows).toEqual([[50]])
  })

  test('a read that allows no age goes to the leader when followers cannot prove theirs', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader()
    await fill(leader, 1)
    // Its leader is not there.
    const b = await cluster.follower('b')
    await b.close()
    const alone = await cluster.follower('b', { leader: 'tcp://127.0.0.1:1' })
    const client = await clientOf([alone, leader], { prefer: 'follower' })
    expect((await client.read(COUNT)).node).toBe('b')
    expect((await client.read(COUNT, [], { maxStalenessMs: 60_000 })).node).toBe('a')
    const only = await clientOf([alone], { prefer: 'follower', timeoutMs: 1500 })
    await expect(only.read(COUNT, [], { maxStalenessMs: 60_000 })).rejects.toMatchObject({
      code: 'TOO_STALE',
    })
  })
})

test('050 streams and transactions that read begin on the next node when one is behind', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await fill(leader, 1)
  await (await cluster.follower('b')).close()
  const behind = await cluster.follower('b', { leader: 'tcp://127.0.0.1:1' })
  const client = await clientOf([behind, leader], { prefer: 'follower', hedgeAfterMs: 100 })
  expect((await client.read(COUNT)).node).toBe('b')
  await client.write(insert('b does not have it'))
  const seen = []
  for await (const row of client.iterateArrays(COUNT)) seen.push(row)
  let begun = 0
  const { node, value } = await client.transaction(
    async (tx) => {
      begun += 1
      return (await tx.all(COUNT))[0]?.['n']
    },
    { readOnly: true },
  )
  expect([seen, node, value, begun]).toEqual([[[2]], 'a', 2, 1])
  // What has begun is not begun anew, whatever it fails with.
  const failing = client.transaction(
    () => {
      begun += 1
      return Promise.reject(new UnderstudyError('CONNECTION_LOST', 'mine'))
    },
    { readOnly: true },
  )
  await expect(failing).rejects.toThrow('mine')
  expect(begun).toBe(2)
})

describe('050 a failover', () => {
  test('under load: every write is answered, done once, and read back, while the leader goes and another takes its place', async () => {
    const cluster = new TcpCluster()
    const acks = semiSync(['c'])
    let leader = await cluster.leader()
    await fill(leader, 0)
    const b = await cluster.follower('b')
    const c = await cluster.follower('c')
    await caughtUp(leader, b, c)
    await leader.close()
    leader = await cluster.leader({ acks })
    await caughtUp(leader, b, c)
    const client = await clientOf([leader, b, c], { timeoutMs: 60_000 })
    const acked: string[] = []
    const stale: unknown[] = []
    const writers = load(6, async (n) => {
      const { token } = await client.write(insert(`n${n}`))
      acked.push(`n${n}`)
      const { rows } = await client.read('select count(*) from note where body = ?', [`n${n}`], {
        prefer: n % 2 === 0 ? 'any' : 'follower',
        after: token,
      })
      if (rows[0]?.[0] !== 1) stale.push([n, rows])
    })
    await writers.more(200)
    const listen = b.address ?? ''
    await leader.close()
    await Promise.all([b.close(), c.close()])
    // Who is promoted has all that c acknowledged, and has another name: the rule that the log has goes on.
    cpSync(cluster.directory('c'), cluster.directory('d'), { recursive: true })
    promote(cluster, 'd', 'd')
    const next = await cluster.start('d', { role: 'leader', listen })
    const follower = await cluster.follower('c', { leader: listen, listen: c.address ?? '' })
    await writers.more(200)
    await writers.stop()
    expect(stale).toEqual([])
    await caughtUp(next, follower)
    expect((await bodies(next)).toSorted()).toEqual(acked.toSorted())
    expect(await countOf(follower)).toBe(acked.length)
    expect(client.node).toBe('d')
  })

  test('a former leader that leads on is not written to, and not read from, by who has seen the next one', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader()
    await fill(leader, 1)
    const b = await cluster.follower('b')
    await caughtUp(leader, b)
    const listen = b.address ?? ''
    const client = await clientOf([leader, b])
    await client.write(insert('before'))
    await caughtUp(leader, b)
    await b.close()
    promote(cluster, 'b')
    const next = await cluster.start('b', { role: 'leader', listen })
    // Both lead now. A client of both never writes to the old one, and hears of the new one by itself.
    const informed = await clientOf([leader, next])
    expect(informed.node).toBe('a')
    for (let n = 0; n < 4; n++) {
      expect((await informed.write(insert(`after ${n}`))).node).toBe('b')
      expect((await informed.read(COUNT, [], { prefer: 'any' })).node).toBe('b')
    }
    expect(await countOf(leader)).toBe(2)
    // Whoever knows a position of the new epoch tells the old leader so.
    const told = await clientOf([leader], { token: informed.token!, timeoutMs: 1500 })
    await expect(told.write(insert('lost'))).rejects.toMatchObject({ code: 'NOT_WRITTEN' })
    await expect(told.read(COUNT)).rejects.toMatchObject({ code: 'EPOCH_STALE' })
    expect(await countOf(leader)).toBe(2)
    expect(await countOf(next)).toBe(6)
  })
})

describe('050 what a failover lost', () => {
  /** `a` led and has a write that `b`, which leads now, and its follower `c` lack. */
  async function lossy(): Promise<{
    a: UnderstudyNode
    client: ClusterClient
    nodes: string[]
    token: string
    key: string
  }> {
    const cluster = new TcpCluster()
    const a = await cluster.leader()
    await fill(a, 1)
    const [b, c] = [await cluster.follower('b'), await cluster.follower('c')]
    await caughtUp(a, b, c)
    const nodes = [a, b, c].map(({ address }) => address ?? '')
    const client = await clientOf(nodes)
    await client.write(insert('kept'))
    await caughtUp(a, b, c)
    await Promise.all([b.close(), c.close()])
    const { token, node } = await client.write(insert('lost'), { key: 'payment 17' })
    expect(node).toBe('a')
    await a.close()
    promote(cluster, 'b')
    await cluster.start('b', { role: 'leader', listen: nodes[1]! })
    await cluster.follower('c', { leader: nodes[1]!, listen: nodes[2]! })
    return { a, client, nodes, token: token!, key: 'payment 17' }
  }

  test('is told to whoever saw it, by leader and follower alike, also after it has written on', async () => {
    const { client, nodes, token } = await lossy()
    const lost = { code: 'POSITION_LOST' }
    const lostLsn = Number(token.split('.')[3])
    await expect(client.read(COUNT)).rejects.toMatchObject({ code: 'POSITION_LOST' })
    for (const prefer of ['leader', 'follower'] as const) {
      const other = await clientOf(nodes.slice(1), { token })
      await expect(other.read(COUNT, [], { prefer, timeoutMs: 5000 })).rejects.toMatchObject(lost)
    }
    // A write does not make it forget; nor do many, which the new history goes past that position with.
    for (let n = 0; n < 5; n++) expect((await client.write(insert(`on ${n}`))).node).toBe('b')
    // Nor does a transaction; streams and transactions that read are told like reads.
    await client.transaction((tx) => tx.run('insert into note (body) values (?)', ['in a transaction']))
    const stream = async () => {
      for await (const row of client.iterateArrays('select * from note')) throw new Error(String(row))
    }
    for (const prefer of ['leader', 'follower', 'any'] as const) {
      const told = { code: 'POSITION_LOST', position: { epoch: 1, lsn: lostLsn } }
      await expect(client.read(COUNT, [], { prefer })).rejects.toMatchObject(told)
      await expect(stream()).rejects.toMatchObject(told)
      const body = () => Promise.reject(new Error('it was begun'))
      await expect(client.transaction(body, { readOnly: true, prefer })).rejects.toMatchObject(told)
    }
    client.resetToken()
    expect((await client.read(COUNT)).rows).toEqual([[8]])
    for await (const row of client.iterateArrays(COUNT)) expect(row).toEqual([8])
    // What was not lost is not.
    await client.write(insert('and on'))
    expect((await client.read(COUNT, [], { prefer: 'follower' })).rows).toEqual([[9]])
  })

  test('and a write of the same key is done anew, with a receipt of now', async () => {
    const { client, key } = await lossy()
    const again = await client.write(insert('lost'), { key })
    expect([again.node, again.replayed, again.receipt?.position.epoch]).toEqual(['b', false, 2])
    expect(await client.write(insert('lost'), { key })).toMatchObject({
      replayed: true,
      receipt: again.receipt!,
    })
    client.resetToken()
    expect((await client.read('select count(*) from note where body = ?', ['lost'])).rows).toEqual([[1]])
  })
})

test('050 two nodes that were promoted with one number are told apart', async () => {
  const cluster = new TcpCluster()
  const first = await cluster.leader()
  await fill(first, 1)
  await first.close()
  cpSync(cluster.directory('a'), cluster.directory('copy'), { recursive: true })
  const a = await cluster.leader()
  const copy = await cluster.start('a', {
    role: 'leader',
    directory: cluster.directory('copy'),
    listen: 'tcp://127.0.0.1:0',
  })
  expect(a.leadership().epoch?.number).toBe(copy.leadership().epoch?.number)
  const client = await clientOf([a])
  await client.write(insert('in one history'))
  const other = await clientOf([copy], { token: client.token!, timeoutMs: 1500 })
  await expect(other.read(COUNT)).rejects.toMatchObject({ code: 'EPOCH_FORK' })
  await expect(other.write(insert('x'))).rejects.toMatchObject({
    code: 'NOT_WRITTEN',
    details: { attempts: {} },
  })
  expect(await countOf(copy)).toBe(1)
})

test('050 what nobody answers ends in time, with what happened at each node', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await fill(leader, 1)
  const client = await clientOf([leader], { timeoutMs: 1500 })
  const address = leader.address ?? ''
  await expect(client.write([{ sql: 'insert into nothing values (1)' }])).rejects.toMatchObject({
    code: 'SQL_FAILED',
  })
  await expect(client.read('select')).rejects.toMatchObject({ code: 'SQL_FAILED' })
  await leader.close()
  await expect(client.write(insert('x'))).rejects.toMatchObject({
    code: 'NOT_WRITTEN',
    message: expect.stringMatching(
      /No leader took the write within 1500 ms: .*CONNECT_FAILED.*Nothing was written/,
    ) as string,
    details: { attempts: { [address]: 'CONNECT_FAILED' } },
  })
  await expect(client.read(COUNT)).rejects.toMatchObject({ code: 'CONNECT_FAILED' })
  await expect(clientOf([address])).rejects.toMatchObject({ code: 'CONNECT_FAILED' })
  await expect(connect([], { transports })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  await expect(connect('udp://x', { transports })).rejects.toMatchObject({ code: 'ADDRESS_INVALID' })
})

function both() {
  const [overTcp, overWs] = transports as [ReturnType<typeof tcp>, ReturnType<typeof webSocket>]
  return {
    schemes: [...overTcp.schemes, ...overWs.schemes],
    connect: (address: string, options?: object) =>
      (address.startsWith('ws') ? overWs : overTcp).connect(address, options),
    listen: (address: string, accept: Parameters<typeof overTcp.listen>[1], options?: object) =>
      (address.startsWith('ws') ? overWs : overTcp).listen(address, accept, options),
  }
}

function positionOf({ applied: { epoch, lsn } }: UnderstudyNode) {
  return { epoch, lsn }
}
