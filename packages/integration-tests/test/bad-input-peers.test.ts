/** Peers that do not belong, do not speak the protocol, or have what nobody else has: each is refused by name, and told. */
import { cpSync, rmSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ORIGIN, systemClock } from '@understudy/contracts'
import { Connection, PROTOCOL_VERSION, type Hello } from '@understudy/protocol'
import { tcp } from '@understudy/transport-tcp'
import {
  LiveNodes,
  countRows,
  eventually,
  failureOf,
  insertRows,
  refusal,
  type LiveNode,
} from './support/live-nodes.ts'

let nodes: LiveNodes
beforeEach(() => {
  nodes = new LiveNodes()
})
afterEach(async () => {
  await nodes[Symbol.asyncDispose]()
})

function portOf({ node }: LiveNode): number {
  return Number(new URL(node.address!).port)
}

describe('a follower of another cluster', () => {
  test('is refused with both names, keeps its data and goes on reading', async () => {
    const ours = await nodes.leader(3)
    const follower = await nodes.follower(ours)
    await follower.node.close()
    const theirs = await nodes.leader(9, { name: 'z' })
    const again = await nodes.start({ name: 'b', leader: theirs.node.address! })
    const failure = await failureOf(again)
    expect(failure.code).toBe('FOREIGN_CLUSTER')
    expect(failure.message).toContain(ours.node.cluster)
    expect(failure.message).toContain(theirs.node.cluster)
    expect(failure.message).toMatch(/kept|[Nn]othing/)
    expect(await countRows(again.node)).toBe(3)
    // The foreign leader is unharmed, and holds no slot for it.
    await insertRows(theirs.node, 1)
    expect(theirs.node.slots().map((slot) => slot.name)).toEqual(['local'])
    // Back at its own leader it goes on.
    await again.node.close()
    await insertRows(ours.node, 2)
    expect(await countRows((await nodes.follower(ours)).node)).toBe(5)
  })
})

describe('a follower that is ahead of its leader', () => {
  test('proves to a leader from an old backup that it lost records; the leader stops, both keep what they have', async () => {
    const first = await nodes.leader(3)
    await first.node.close()
    cpSync(nodes.directory('a'), nodes.directory('backup'), { recursive: true })
    const leader = await nodes.start({ name: 'a' })
    const follower = await nodes.follower(leader)
    await insertRows(leader.node, 5)
    await follower.node.read((tx) => tx.get('select 1'), { after: leader.node.applied })
    const address = leader.node.address!
    await leader.node.close()
    rmSync(nodes.directory('a'), { recursive: true })
    cpSync(nodes.directory('backup'), nodes.directory('a'), { recursive: true })

    const restored = await nodes.start({ name: 'a', listen: address })
    const failure = await failureOf(restored, 20_000)
    expect(failure.code).toBe('LEADER_LOST_RECORDS')
    expect(failure.message).toMatch(/backup|restore|disk/)
    const write = await refusal(restored.node.write((tx) => tx.run("insert into t (v) values ('x')")))
    expect(['LEADER_LOST_RECORDS', 'NOT_WRITTEN']).toContain(write.code)
    expect(await countRows(restored.node)).toBe(3)
    expect(await countRows(follower.node)).toBe(8)
    await follower.node.close()
    expect(await countRows((await nodes.start({ name: 'b', leader: address })).node)).toBe(8)
  })
})

/** A connection that says hello as it likes. */
async function dial(leader: LiveNode): Promise<Connection> {
  return new Connection(await tcp().connect(leader.node.address!), systemClock())
}

const HELLO: Hello = {
  type: 'hello',
  versionMin: PROTOCOL_VERSION,
  versionMax: PROTOCOL_VERSION,
  purpose: 'replicate',
  cluster: '',
  node: 'stranger',
  history: [],
  end: ORIGIN,
  formats: [],
}

describe('a peer of another protocol version', () => {
  test.each(['replicate', 'snapshot', 'client'] as const)(
    'is told which versions there are: %s',
    async (purpose) => {
      const leader = await nodes.leader(1)
      const connection = await dial(leader)
      connection.send({
        ...HELLO,
        purpose,
        versionMin: PROTOCOL_VERSION + 5,
        versionMax: PROTOCOL_VERSION + 9,
      })
      const error = await refusal(connection.next({ timeoutMs: 5000 }).then((message) => message.type))
      expect(error.code).toBe('PROTOCOL_VERSION')
      expect(error.message).toContain(String(PROTOCOL_VERSION + 5))
      await insertRows(leader.node, 1)
      expect(await countRows(leader.node)).toBe(2)
      expect(leader.node.slots().map((slot) => slot.name)).toEqual(['local'])
    },
  )
})

/** Sends bytes from a bare socket; resolves once the other side ended the connection, with how long that took. */
async function offend(leader: LiveNode, bytes: Uint8Array, timeoutMs: number = 10_000): Promise<number> {
  const started = performance.now()
  const socket = connect({ host: '127.0.0.1', port: portOf(leader) })
  const over = new Promise<void>((resolve, reject) => {
    socket.once('close', () => resolve())
    socket.on('error', () => {})
    socket.setTimeout(timeoutMs, () => reject(new Error(`still open after ${timeoutMs} ms`)))
  })
  socket.resume()
  socket.write(bytes)
  try {
    await over
    return performance.now() - started
  } finally {
    socket.destroy()
  }
}

function frame(length: number, body: string = ''): Uint8Array {
  const bytes = Buffer.alloc(4 + body.length)
  bytes.writeUInt32LE(length, 0)
  bytes.write(body, 4)
  return bytes
}

describe('a port that gets garbage', () => {
  const offences: readonly (readonly [string, Uint8Array])[] = [
    ['a frame of 4 GiB', frame(0xff_ff_ff_ff)],
    ['a frame over the limit by one', frame(4097)],
    ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
    ['a TLS hello', Buffer.from('16030100c8010000c40303', 'hex')],
    ['zeros', Buffer.alloc(10_000)],
    ['a frame that is no message', frame(5, 'hello')],
    ['an empty frame', frame(0)],
  ]
  test.each(offences)('ends the connection at once and serves others on: %s', async (_name, bytes) => {
    const leader = await nodes.leader(1)
    expect(await offend(leader, bytes)).toBeLessThan(4000)
    expect(await countRows((await nodes.follower(leader)).node)).toBe(1)
    expect(leader.node.failure).toBeUndefined()
  })

  test.each([
    ['bytes that are no message', Buffer.from('hello'), 'PROTOCOL_VIOLATION'],
    // Nothing is read of it, so nothing is answered.
    ['a frame over the limit', Buffer.alloc(5000), 'CONNECTION_LOST'],
  ])('ends the connection of a peer that sent %s', async (_name, bytes, code) => {
    const leader = await nodes.leader(1)
    const channel = await tcp().connect(leader.node.address!)
    const connection = new Connection(channel, systemClock())
    channel.send([bytes])
    const error = await refusal(connection.next({ timeoutMs: 5000 }))
    expect(error.code).toBe(code)
  })

  test.each([
    ['says nothing', new Uint8Array(0)],
    ['stops inside a frame', frame(100, 'half')],
  ])('does not wait for ever for a peer that %s', async (_name, bytes) => {
    const leader = await nodes.leader(1)
    expect(await offend(leader, bytes, 15_000)).toBeGreaterThan(1000)
  })

  test('takes no memory for a frame that is only announced', async () => {
    const leader = await nodes.leader(1)
    const before = process.memoryUsage()
    await Promise.all(Array.from({ length: 50 }, () => offend(leader, frame(0x7f_ff_ff_ff))))
    const after = process.memoryUsage()
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(16 * 1024 * 1024)
  })
})

/** A server that is no leader: answers a connection with bytes. */
async function impostor(bytes: Uint8Array): Promise<{ address: string; close: () => void }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.write(bytes)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

describe('a leader that is none', () => {
  test.each([
    ['announces a frame of 4 GiB', frame(0xff_ff_ff_ff), 'FRAME_TOO_LARGE'],
    ['speaks HTTP', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), 'FRAME_TOO_LARGE'],
    ['sends what is no message', frame(5, 'hello'), 'PROTOCOL_VIOLATION'],
    ['says nothing', new Uint8Array(0), 'PEER_SILENT'],
  ])('%s: the follower says so, keeps what it has and goes on trying', async (_name, bytes, code) => {
    const leader = await nodes.leader(3)
    const { node } = await nodes.follower(leader)
    await node.close()
    const wrong = await impostor(bytes)
    try {
      const follower = await nodes.start({
        name: 'b',
        leader: wrong.address,
        link: { heartbeatMs: 100, deadlineMs: 3000 },
      })
      const error = await eventually('the error', () => follower.node.status().following?.lastError)
      expect(error.code).toBe(code)
      expect(follower.node.failure).toBeUndefined()
      expect(await countRows(follower.node)).toBe(3)
    } finally {
      wrong.close()
    }
  })
})

/** Passes bytes on between a follower and its leader; flips one bit of what the leader sends, once. */
class FlippingProxy {
  readonly server: Server
  readonly #sockets = new Set<Socket>()
  #passed = 0
  flips = 0

  constructor(target: number, flipAt: number) {
    this.server = createServer((near) => {
      const far = connect({ host: '127.0.0.1', port: target })
      for (const socket of [near, far]) {
        this.#sockets.add(socket)
        socket.on('error', () => {})
        socket.once('close', () => {
          near.destroy()
          far.destroy()
        })
      }
      near.pipe(far)
      far.on('data', (bytes: Buffer) => {
        const at = flipAt - this.#passed
        this.#passed += bytes.length
        if (at >= 0 && at < bytes.length) {
          bytes[at]! ^= 0x10
          this.flips++
        }
        near.write(bytes)
      })
    })
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve))
    return `tcp://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  close(): void {
    this.server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}

describe('a snapshot that is damaged on its way', () => {
  test('is noticed before the data is used, and fetched again where it was', async () => {
    const leader = await nodes.leader(10)
    const padding = 'p'.repeat(20_000)
    for (let i = 0; i < 40; i++)
      await leader.node.write((tx) => tx.run('insert into t (v) values (?)', [padding]))
    const proxy = new FlippingProxy(portOf(leader), 300_000)
    try {
      const follower = await nodes.follower(leader, { leader: await proxy.listen() })
      expect(proxy.flips).toBe(1)
      const retries = follower.events.filter((event) => event.kind === 'snapshotRetry')
      expect(retries.map((event) => event.error.code)).toEqual(['SNAPSHOT_CORRUPT'])
      expect(retries[0]!.error.message).toMatch(/kept|again/)
      const point = await leader.node.mark()
      expect(await follower.node.digest(point)).toEqual(await leader.node.digest(point))
    } finally {
      proxy.close()
    }
  })

  test('so are records of the stream, which are asked for again', async () => {
    const leader = await nodes.leader(1)
    const proxy = new FlippingProxy(portOf(leader), 60_000)
    try {
      const follower = await nodes.follower(leader, { leader: await proxy.listen() })
      for (let i = 0; proxy.flips === 0 && i < 200; i++) {
        await leader.node.write((tx) => tx.run('insert into t (v) values (?)', ['q'.repeat(1000)]))
      }
      await eventually('the flipped bit', () => (proxy.flips === 1 ? true : undefined))
      const point = await leader.node.mark()
      expect(await follower.node.digest(point, { timeoutMs: 15_000 })).toEqual(
        await leader.node.digest(point),
      )
      expect(follower.node.failure).toBeUndefined()
    } finally {
      proxy.close()
    }
  })
})

describe('a write on a follower', () => {
  test('is refused with the address of the leader and changes nothing', async () => {
    const leader = await nodes.leader(2)
    const follower = await nodes.follower(leader)
    for (const write of [
      follower.node.write((tx) => tx.run("insert into t (v) values ('x')")),
      follower.node.write([{ sql: "insert into t (v) values ('x')" }]),
    ]) {
      const error = await refusal(write)
      expect(error.code).toBe('NOT_LEADER')
      expect(error.details['leader']).toBe(leader.node.address)
      expect(error.message).toContain('nothing was changed')
    }
    expect(await countRows(follower.node)).toBe(2)
    await insertRows(leader.node, 1)
    await follower.node.read((tx) => tx.get('select 1'), { after: leader.node.applied })
    expect(await countRows(follower.node)).toBe(3)
  })
})
