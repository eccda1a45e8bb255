/** A leader and followers over WebSocket: directly, on a server that serves pages too, and through nginx. */
import { once } from 'node:events'
import { createServer, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connect, verifyCluster } from '@understudy/client'
import type { Transport } from '@understudy/contracts'
import type { UnderstudyNode } from '@understudy/node'
import { certificateTexts, pem } from '@understudy/testkit/certificates'
import { webSocket } from '@understudy/transport-ws'
import { expect, onTestFinished, test } from 'vitest'
import { findNginx, startNginx } from './support/nginx.ts'
import { caughtUp, countOf, fill, insertNote, load, TcpCluster } from './support/tcp-cluster.ts'

const program = findNginx()
const LISTEN = 'ws://127.0.0.1:0/replication'

async function leaderOver(cluster: TcpCluster, transport: Transport = webSocket()): Promise<UnderstudyNode> {
  return cluster.start('a', { role: 'leader', listen: LISTEN, transport })
}

async function followerOver(
  cluster: TcpCluster,
  leader: string,
  transport: Transport = webSocket(),
): Promise<UnderstudyNode> {
  return cluster.start('b', { role: 'follower', leader, listen: 'ws://127.0.0.1:0', transport })
}

/** Compares every table of both at one position, which may pass while writes go on. */
async function expectEqual(leader: UnderstudyNode, follower: UnderstudyNode): Promise<void> {
  const clients = await Promise.all(
    [leader, follower].map((node) => connect({ transport: webSocket(), address: node.address ?? '' })),
  )
  try {
    const report = await verifyCluster({ leader: clients[0]!, nodes: clients, timeoutMs: 20_000 })
    expect(report).toMatchObject({ ok: true })
  } finally {
    for (const client of clients) await client.close()
  }
}

test('019 a follower bootstraps, streams and answers clients over WebSocket while the leader writes', async () => {
  const cluster = new TcpCluster()
  const leader = await leaderOver(cluster)
  expect(leader.address).toMatch(/^ws:\/\/127\.0\.0\.1:\d+\/replication$/)
  await fill(leader, 3000, 500)
  const writers = load(8, (n) => insertNote(leader, `n${n}`))
  const follower = await followerOver(cluster, leader.address ?? '')
  await cluster.events['b']?.untilState('streaming')
  await writers.more(300)
  await expectEqual(leader, follower)
  await writers.stop()
  await caughtUp(leader, follower)
  expect(await countOf(follower)).toBe(3000 + writers.writes)
  await expectEqual(leader, follower)
})

test('019 a transaction of 12 MB passes over WebSocket whole', async () => {
  const cluster = new TcpCluster()
  const leader = await leaderOver(cluster)
  await fill(leader, 1)
  const follower = await followerOver(cluster, leader.address ?? '')
  await cluster.events['b']?.untilState('streaming')
  await leader.write((tx) => {
    for (let i = 0; i < 12; i++) tx.run('insert into note (body) values (?)', [`${i}`.padEnd(1_000_000, 'x')])
  })
  await caughtUp(leader, follower)
  await expectEqual(leader, follower)
})

test('019 a leader on a server that serves pages too leaves the pages to it', async () => {
  const server = createServer((_request, response) => response.end('a page')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  onTestFinished(async () => {
    server.close()
    await once(server, 'close')
  })
  const cluster = new TcpCluster()
  const leader = await leaderOver(cluster, webSocket({ server }))
  expect(leader.address).toBe(`ws://127.0.0.1:${port}/replication`)
  await fill(leader, 100)
  const follower = await followerOver(cluster, leader.address ?? '')
  await caughtUp(leader, follower)
  await expectEqual(leader, follower)
  await leader.close()
  const [page] = await once(get({ port, host: '127.0.0.1', agent: false }), 'response')
  expect(page.statusCode).toBe(200)
  page.resume()
  await once(page, 'end')
})

test.for([
  ['ws', undefined],
  ['wss', certificateTexts('server')],
] as const)(
  '019 through nginx over %s: bootstrap, stream, a proxy that restarts',
  async ([scheme, tls], context) => {
    if (program === undefined) return context.skip('there is no nginx here')
    const cluster = new TcpCluster()
    const leader = await leaderOver(cluster)
    await fill(leader, 3000, 500)
    const nginx = await startNginx({
      program,
      folder: join(cluster.folder, 'nginx'),
      upstream: leader.address ?? '',
      ...(tls !== undefined && { tls }),
    })
    const through = `${scheme}://127.0.0.1:${nginx.port}/replication`
    const transport = webSocket(tls === undefined ? {} : { tls: { ca: pem('ca') } })
    const follower = await followerOver(cluster, through, transport)
    const events = cluster.events['b']!
    expect(events.of('bootstrapped')).toHaveLength(1)
    await events.untilState('streaming')
    const writers = load(4, (n) => insertNote(leader, `n${n}`))
    await writers.more(100)
    await expectEqual(leader, follower)

    await nginx.stop()
    const lost = await events.untilState('disconnected')
    expect(lost.error).toMatchObject({ code: 'CONNECTION_LOST' })
    await writers.more(100)
    const streamed = events.of('state').filter(({ state }) => state === 'streaming').length
    await nginx.start()
    await events.until(
      'state',
      () => events.of('state').filter(({ state }) => state === 'streaming').length > streamed,
    )
    await writers.stop()
    await caughtUp(leader, follower)
    expect(await countOf(follower)).toBe(3000 + writers.writes)
    await expectEqual(leader, follower)
    expect(events.of('bootstrapped')).toHaveLength(1)
  },
)
