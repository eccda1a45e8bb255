/** Whole clusters over TLS, mutual TLS, wss and UNIX sockets: followers by secret and by certificate, renewal, a relay. */
import { once } from 'node:events'
import { join } from 'node:path'
import { connect as connectTls, createServer, type TLSSocket } from 'node:tls'
import type { Transport } from '@understudy/contracts'
import type { UnderstudyNode } from '@understudy/node'
import { grants, verifierOf, type Credential } from '@understudy/protocol'
import { combined, type TlsOptions } from '@understudy/sockets'
import { certificateFiles, certificateTexts, pem } from '@understudy/testkit/certificates'
import { tcp } from '@understudy/transport-tcp'
import { webSocket } from '@understudy/transport-ws'
import { describe, expect, onTestFinished, test } from 'vitest'
import { refusal } from './support/live-nodes.ts'
import { caughtUp, countOf, fill, insertNote, TcpCluster } from './support/tcp-cluster.ts'

const SECRET = crypto.getRandomValues(new Uint8Array(32))
const BY_SECRET: Credential = { name: 'b', secret: SECRET }
const BY_CERTIFICATE: Credential = { name: 'b', certificate: true }
const LIST = grants([
  {
    name: 'b',
    roles: ['replicate', 'snapshot'],
    verifier: verifierOf(SECRET),
    identities: ['URI:understudy://b'],
  },
  { name: 'c', roles: ['replicate', 'snapshot'], identities: ['URI:understudy://c'] },
])

function transportWith(tls: TlsOptions): Transport {
  return combined(tcp({ tls }), webSocket({ tls }))
}

const server = (more: TlsOptions = {}): Transport => transportWith({ ...certificateTexts('server'), ...more })
/** A follower that knows the authority and shows nothing. */
const plain = (): Transport => transportWith({ ca: pem('ca') })
const withCertificate = (): Transport => transportWith(certificateTexts('client'))

async function streams(leader: UnderstudyNode, follower: UnderstudyNode): Promise<void> {
  await insertNote(leader, 'streamed')
  await caughtUp(leader, follower)
  expect(await countOf(follower)).toBe(await countOf(leader))
}

describe.each(['tls://127.0.0.1:0', 'wss://127.0.0.1:0/replication'])('022 over %s', (listen) => {
  test('a follower proves its secret, bound to the session, and streams', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.start('a', {
      role: 'leader',
      transport: server(),
      listen,
      credentials: LIST,
    })
    await fill(leader, 200)
    const follower = await cluster.start('b', {
      role: 'follower',
      transport: plain(),
      leader: leader.address!,
      credential: BY_SECRET,
    })
    await streams(leader, follower)
    expect(leader.status().certificate).toMatchObject({
      identities: expect.arrayContaining(['URI:understudy://leader']),
      problem: undefined,
    })
  })

  test('a follower shows its certificate, under its own name alone', async () => {
    const cluster = new TcpCluster()
    const transport = server({ clientCertificates: 'require' })
    const leader = await cluster.start('a', { role: 'leader', transport, listen, credentials: LIST })
    await fill(leader, 20)
    const dial = { role: 'follower', leader: leader.address! } as const
    const follower = await cluster.start('b', {
      ...dial,
      transport: withCertificate(),
      credential: BY_CERTIFICATE,
    })
    await streams(leader, follower)
    const asAnother = cluster.start('c', {
      ...dial,
      transport: withCertificate(),
      credential: { name: 'c', certificate: true },
    })
    expect(await refusal(asAnother)).toMatchObject({ code: 'AUTHENTICATION_FAILED' })
    const without = cluster.start('d', { ...dial, transport: plain(), credential: BY_SECRET })
    // Over WebSocket the answer is the 401 of HTTP.
    const code = listen.startsWith('tls') ? 'TLS_FAILED' : 'AUTHENTICATION_REQUIRED'
    expect(await refusal(without)).toMatchObject({ code })
  })

  test('a leader that is not what the follower trusts gets nothing', async () => {
    const cluster = new TcpCluster()
    const transport = transportWith(certificateTexts('stranger'))
    const leader = await cluster.start('a', { role: 'leader', transport, listen, credentials: LIST })
    const dial = {
      role: 'follower',
      leader: leader.address!,
      transport: plain(),
      credential: BY_SECRET,
    } as const
    expect(await refusal(cluster.start('b', dial))).toMatchObject({ code: 'TLS_FAILED' })
  })
})

describe('022 over TLS', () => {
  test('a relay between two sessions gets a proof that is worth nothing, unless both ends say that there is one', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.start('a', {
      role: 'leader',
      transport: server(),
      listen: 'tls://127.0.0.1:0',
      credentials: LIST,
    })
    const relay = await relayTo(leader.address!)
    const dial = { role: 'follower', leader: relay, transport: plain(), credential: BY_SECRET } as const
    expect(await refusal(cluster.start('b', dial))).toMatchObject({ code: 'AUTHENTICATION_FAILED' })
    const { error } = await cluster.events['a']!.until('refused')
    expect(error.details['reason']).toContain('another TLS session')

    const trusting = await cluster.start('e', {
      role: 'leader',
      transport: server(),
      listen: 'tls://127.0.0.1:0',
      credentials: LIST,
      channelBinding: false,
    })
    await fill(trusting, 1)
    const through = await relayTo(trusting.address!)
    const follower = await cluster.start('b', { ...dial, leader: through, channelBinding: false })
    await streams(trusting, follower)
  })

  test('a renewed certificate is shown to whoever comes next, and who is connected stays', async () => {
    const cluster = new TcpCluster()
    const folder = join(cluster.folder, 'certificates')
    const tls = { ...certificateFiles(folder, 'server'), reloadMs: 1 }
    const leader = await cluster.start('a', {
      role: 'leader',
      transport: transportWith(tls),
      listen: 'tls://127.0.0.1:0',
      credentials: LIST,
    })
    await fill(leader, 1)
    const dial = { role: 'follower', leader: leader.address!, credential: BY_SECRET } as const
    const expecting = (serverName: string): Transport => transportWith({ ca: pem('ca'), serverName })
    const follower = await cluster.start('b', { ...dial, transport: expecting('URI:understudy://leader') })
    await cluster.events['b']!.untilState('streaming')
    const joined = (): number => cluster.events['a']!.of('followerJoined').length
    const before = joined()
    certificateFiles(folder, 'renewed')
    await until(() => leader.status().certificate?.identities.includes('URI:understudy://renewed') === true)
    await streams(leader, follower)
    expect(joined()).toBe(before)
    // It would not be let in again: the name is another one now.
    await follower.close()
    const again = await cluster.start('b', { ...dial, transport: expecting('URI:understudy://renewed') })
    await streams(leader, again)
  })

  test('an address that others can reach needs both encryption and authentication', async () => {
    const cluster = new TcpCluster()
    const attempts = [
      { listen: 'tcp://0.0.0.0:0', transport: tcp(), credentials: LIST },
      { listen: 'tls://0.0.0.0:0', transport: server() },
      { listen: 'ws://0.0.0.0:0/', transport: webSocket(), credentials: LIST },
      { listen: 'wss://0.0.0.0:0/', transport: server() },
    ]
    for (const attempt of attempts)
      expect(await refusal(cluster.start('a', { role: 'leader', ...attempt }))).toMatchObject({
        code: 'INSECURE_ADDRESS',
      })
    const both = { listen: 'tls://0.0.0.0:0', transport: server(), credentials: LIST }
    expect((await cluster.start('a', { role: 'leader', ...both })).address).toMatch(/^tls:/)
  })
})

test('022 over a UNIX socket', async () => {
  const cluster = new TcpCluster()
  const listen = `unix://${join(cluster.folder, 'leader.sock')}`
  const leader = await cluster.start('a', { role: 'leader', listen })
  await fill(leader, 10)
  const follower = await cluster.start('b', { role: 'follower', leader: leader.address! })
  await streams(leader, follower)
})

/** Something between the ends that ends TLS and begins it anew, with a certificate that followers trust. */
async function relayTo(address: string): Promise<string> {
  const { port } = new URL(address)
  const { cert, key, ca } = certificateTexts('server')
  const sockets = new Set<TLSSocket>()
  const relay = createServer({ cert, key }, (near) => {
    const far = connectTls({ host: '127.0.0.1', port: Number(port), ca })
    for (const socket of [near, far]) sockets.add(socket.on('error', () => {}))
    near.pipe(far).pipe(near)
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => relay.close(resolve))
  })
  const bound = relay.address()
  if (bound === null || typeof bound === 'string') throw new Error('no port')
  return `tls://127.0.0.1:${bound.port}`
}

/** Until it holds, asked at each turn of the event loop: files are looked at by a timer of the transport. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise<void>((resolve) => void setImmediate(resolve))
}
