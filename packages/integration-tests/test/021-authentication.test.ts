/** Who gets in at a real node, for what, and what the node tells of those it turned away. */
import { once } from 'node:events'
import { connect as connectSocket, type Socket } from 'node:net'
import { connect, type Client } from '@understudy/client'
import { ORIGIN, isUnderstudyError, systemClock, systemRandom } from '@understudy/contracts'
import type { NodeOptions } from '@understudy/node'
import {
  dial,
  grants,
  ROLES,
  verifierOf,
  type Credential,
  type Grant,
  type Grants,
  type Hello,
  type Role,
} from '@understudy/protocol'
import { tcp } from '@understudy/transport-tcp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { refusal } from './support/live-nodes.ts'
import { caughtUp, countOf, fill, insertNote, TcpCluster } from './support/tcp-cluster.ts'

const SECRETS = new Map<string, Uint8Array>()

function credential(name: string): Credential & { readonly secret: Uint8Array } {
  const secret = SECRETS.get(name) ?? crypto.getRandomValues(new Uint8Array(32))
  SECRETS.set(name, secret)
  return { name, secret }
}

function grant(name: string, ...roles: Role[]): Grant {
  return { name, roles, verifier: verifierOf(credential(name).secret) }
}

/** A list that a test changes while nodes run. */
class ChangingList implements Grants {
  list: Grant[]
  constructor(...list: Grant[]) {
    this.list = list
  }

  find(name: string): Grant | undefined {
    return grants(this.list).find(name)
  }
}

const asFollower: Partial<NodeOptions> = { credential: credential('b') }
const EVERYBODY = grants([grant('b', 'replicate', 'snapshot'), ...ROLES.map((role) => grant(role, role))])

async function clientAs(address: string | undefined, as: Credential | undefined): Promise<Client> {
  const client = await connect({ transport: tcp(), address: address ?? '', ...(as && { credential: as }) })
  onTestFinished(() => client.close())
  return client
}

const STATEMENT = { sql: 'select count(*) as n from note', params: [] }

describe('021 authentication', () => {
  test.each([false, true])(
    'a follower with a credential bootstraps, streams and comes back; compression: %s',
    async (compression) => {
      const cluster = new TcpCluster()
      const leader = await cluster.leader({ credentials: EVERYBODY, compression })
      await fill(leader, 500)
      const follower = await cluster.follower('b', { ...asFollower, compression })
      await insertNote(leader, 'streamed')
      await caughtUp(leader, follower)
      expect(await countOf(follower)).toBe(501)
      await follower.close()
      await insertNote(leader, 'while it was away')
      const again = await cluster.follower('b', { ...asFollower, compression })
      await caughtUp(leader, again)
      expect(await countOf(again)).toBe(502)
      // The follower has no list of its own: on this machine everybody may read from it.
      expect((await (await clientAs(again.address, undefined)).read(STATEMENT.sql)).rows).toEqual([[502]])
    },
  )

  test('nobody gets in without a credential, with a wrong one, or with the name of another node', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ credentials: EVERYBODY })
    const wrong: Credential = { name: 'b', secret: new Uint8Array(32) }
    expect(await refusal(cluster.follower('b'))).toMatchObject({ code: 'AUTHENTICATION_REQUIRED' })
    expect(await refusal(cluster.follower('b', { credential: wrong }))).toMatchObject({
      code: 'AUTHENTICATION_FAILED',
    })
    expect(await refusal(cluster.follower('c', asFollower))).toMatchObject({ code: 'FORBIDDEN' })
    expect(await refusal(clientAs(leader.address, undefined))).toMatchObject({
      code: 'AUTHENTICATION_REQUIRED',
    })
    expect(await refusal(clientAs(leader.address, wrong))).toMatchObject({ code: 'AUTHENTICATION_FAILED' })
    expect(leader.slots().map(({ name }) => name)).toEqual(['local'])
    const told = cluster.events['a']!.of('refused').map(({ error }) => error)
    expect(told.map(({ code }) => code)).toEqual([
      'AUTHENTICATION_REQUIRED',
      'AUTHENTICATION_FAILED',
      'FORBIDDEN',
      'AUTHENTICATION_REQUIRED',
      'AUTHENTICATION_FAILED',
    ])
    expect(told[1]?.details).toMatchObject({ credential: 'b', reason: expect.stringContaining('proof') })
    // The secret is nowhere in what a node tells.
    const text = JSON.stringify(cluster.events['a']!.all) + JSON.stringify(leader.status())
    for (const secret of SECRETS.values())
      for (const encoding of ['hex', 'base64', 'base64url'] as const)
        expect(text).not.toContain(Buffer.from(secret).toString(encoding))
  })

  test('a node that authenticates nobody is no leader for a follower with a credential', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader()
    expect(await refusal(cluster.follower('b', asFollower))).toMatchObject({ code: 'AUTHENTICATION_FAILED' })
    expect(await refusal(clientAs(leader.address, credential('read')))).toMatchObject({
      code: 'AUTHENTICATION_FAILED',
    })
  })

  describe.each(ROLES)('the role %s alone', (role) => {
    test('opens its own door and no other', async () => {
      const cluster = new TcpCluster()
      const leader = await cluster.leader({ credentials: EVERYBODY })
      await fill(leader, 3)
      const opened: string[] = []
      const attempt = async (door: string, run: () => Promise<unknown>): Promise<void> => {
        try {
          await run()
          opened.push(door)
        } catch (error) {
          expect(error).toMatchObject({ code: 'FORBIDDEN' })
        }
      }
      for (const purpose of ['replicate', 'snapshot'] as const)
        await attempt(purpose, () => hello(leader.address ?? '', role, purpose))
      // A node that is no member says so, to whoever may ask.
      await attempt('member', () =>
        hello(leader.address ?? '', role, 'member').catch((error: unknown) => {
          if (!isUnderstudyError(error, 'INVALID_ARGUMENT')) throw error
        }),
      )
      const ask = async (run: (client: Client) => Promise<unknown>): Promise<void> => {
        await run(await clientAs(leader.address, credential(role)))
      }
      await attempt('read', () => ask((client) => client.read(STATEMENT.sql)))
      await attempt('write', () => ask((client) => client.write([{ sql: 'delete from note' }])))
      await attempt('admin', () => ask((client) => client.slots()))
      await attempt('admin', () => ask((client) => client.mark()))
      expect([...new Set(opened)]).toEqual([role])
      expect(await countOf(leader)).toBe(role === 'write' ? 0 : 3)
    })
  })

  test('a credential that is taken out opens nothing new; put back, its follower comes back by itself', async () => {
    const cluster = new TcpCluster()
    const list = new ChangingList(grant('b', 'replicate', 'snapshot'))
    const leader = await cluster.leader({ credentials: list })
    await fill(leader, 10)
    const follower = await cluster.follower('b', asFollower)
    await caughtUp(leader, follower)
    await leader.close()
    list.list = []
    const restarted = await cluster.leader({ credentials: list })
    // The second refusal comes after the follower has noted the first.
    const events = cluster.events['a']!
    await events.until('refused', () => events.of('refused').length >= 2)
    expect(follower.status().following?.lastError).toMatchObject({ code: 'AUTHENTICATION_FAILED' })
    // What it has can still be read.
    expect(await countOf(follower)).toBe(10)
    list.list = [grant('b', 'replicate', 'snapshot')]
    await insertNote(restarted, 'after')
    await caughtUp(restarted, follower)
    expect(await countOf(follower)).toBe(11)
  })

  test('before it is known who comes, a frame has 4 KiB and nothing but the handshake is read', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ credentials: EVERYBODY })
    const offenders = [
      // The length alone is enough.
      frameHead(4097),
      Buffer.concat([frameHead(2), Buffer.from([48, 0])]),
      Buffer.concat([frameHead(6), Buffer.from([8, 255, 255, 255, 255, 0])]),
    ]
    for (const bytes of offenders) await ended(await rawConnection(leader.address, bytes))
    const codes = cluster.events['a']!.of('refused').map(({ error }) => error.code)
    expect(codes).toEqual(['FRAME_TOO_LARGE', 'PROTOCOL_VIOLATION', 'PROTOCOL_VIOLATION'])
  })

  test('silent connections are few: the longest waiting gives way, and who has a credential gets in between', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ credentials: EVERYBODY, connections: { strangersMax: 8 } })
    await fill(leader, 1)
    const silent = await Promise.all(Array.from({ length: 40 }, () => rawConnection(leader.address)))
    await Promise.all(silent.slice(0, 32).map(ended))
    expect((await (await clientAs(leader.address, credential('read'))).read(STATEMENT.sql)).rows).toEqual([
      [1],
    ])
    expect(cluster.events['a']!.of('refused').every(({ error }) => error.code === 'OVERLOADED')).toBe(true)
    for (const socket of silent) socket.destroy()
  })
})

test('channels of one address have a limit of their own', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader({ connections: { perAddressMax: 3 } })
  const clients = await Promise.all([1, 2, 3].map(() => clientAs(leader.address, undefined)))
  expect(await refusal(clientAs(leader.address, undefined))).toMatchObject({ code: 'CONNECTION_LOST' })
  await clients[0]?.close()
  expect((await clientAs(leader.address, undefined)).node).toBe('a')
})

/** A hello for a purpose, as a credential that may not be a node: resolves when it is welcomed. */
async function hello(address: string, name: string, purpose: Hello['purpose']): Promise<void> {
  const connection = await dial({
    transport: tcp(),
    address,
    clock: systemClock(),
    timeoutMs: 5000,
    frameBytesMax: 1024 * 1024,
    as: { credential: credential(name), random: systemRandom() },
  })
  try {
    connection.send({
      type: 'hello',
      versionMin: 1,
      versionMax: 1,
      purpose,
      cluster: '',
      node: name,
      history: [],
      end: ORIGIN,
      formats: [{ id: 1, version: 1 }],
    })
    await connection.next({ timeoutMs: 5000 })
  } finally {
    connection.close()
  }
}

function frameHead(length: number): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt32LE(length)
  return head
}

async function rawConnection(address: string | undefined, bytes?: Uint8Array): Promise<Socket> {
  const socket = connectSocket({ host: '127.0.0.1', port: Number(new URL(address ?? '').port) })
  socket.on('error', () => {})
  socket.resume()
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  if (bytes !== undefined) socket.write(bytes)
  return socket
}

/** Until the node ended the connection. */
async function ended(socket: Socket): Promise<void> {
  if (!socket.closed) await once(socket, 'close')
}
