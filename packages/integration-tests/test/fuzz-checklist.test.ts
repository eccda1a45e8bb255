/**
 * What a peer's bytes may cost and cause, one test for each promise that no package shows alone: limits before and after
 * a Hello, one deadline for a whole handshake, memory for strangers, floods, depth, and what a peer is told.
 */
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ORIGIN, type UnderstudyError } from '@understudy/contracts'
import { authenticateTo, decodeMessage, Connection, MESSAGE_TYPES, type Hello } from '@understudy/protocol'
import { SeededRandom } from '@understudy/testkit'
import { tcp } from '@understudy/transport-tcp'
import { webSocket } from '@understudy/transport-ws'
import { describe, expect, onTestFinished, test } from 'vitest'
import { LEADER, NodeWorld } from '../src/fuzz/node-world.ts'
import type { PipeEnd } from '../src/fuzz/pipe.ts'
import { frameOf } from '../src/fuzz/specimens.ts'
import { headOf } from '../src/fuzz/streams.ts'
import { StreamWorld, CLUSTER, LEADER as STREAM_LEADER } from '../src/fuzz/stream-world.ts'
import { Watch } from '../src/fuzz/watch.ts'

async function openNode(authenticated: boolean): Promise<NodeWorld> {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-checklist-'))
  const context = { random: new SeededRandom(1), watch: new Watch(), framesMax: 0, folder }
  const world = await NodeWorld.open(context, { authenticated })
  onTestFinished(async () => {
    await world.close()
    rmSync(folder, { recursive: true })
  })
  return world
}

/** Both ends of a new connection to the node; nothing was sent. */
function raw(
  world: { transport: NodeWorld['transport'] },
  address: string = LEADER,
): { near: PipeEnd; far: PipeEnd } {
  let far: PipeEnd | undefined
  world.transport.opened = (_, end) => void (far = end)
  const near = world.transport.dial(address)
  world.transport.opened = undefined
  return { near, far: far as PipeEnd }
}

/** What a raw dialler was told last. */
function refusals(near: PipeEnd): { code: string; message: string }[] {
  const told: { code: string; message: string }[] = []
  near.start({
    frame: (bytes) => {
      const message = decodeMessage(bytes)
      if (message.type === 'refuse') told.push(message)
    },
    drained: () => {},
    closed: () => {},
  })
  return told
}

function helloFor(purpose: Hello['purpose'], cluster: string = ''): Hello {
  return {
    type: 'hello',
    versionMin: 1,
    versionMax: 1,
    purpose,
    cluster,
    node: 'b',
    history: [],
    end: ORIGIN,
    formats: [{ id: 1, version: 1 }],
  }
}

describe('frames', () => {
  test('of a stranger have 4 KiB until its Hello was accepted, also after it has authenticated; then 16 MiB', async () => {
    const world = await openNode(true)
    const { near, far } = raw(world)
    const connection = new Connection(near, world.clock)
    expect(far.frameBytesMax).toBe(4096)
    const { clock, random } = world
    await authenticateTo(connection, { credential: world.credential!, random, clock, timeoutMs: 1000 })
    expect(far.frameBytesMax).toBe(4096)
    connection.send(helloFor('replicate'))
    await world.watch.settle(3)
    expect(far.frameBytesMax).toBe(16 * 1024 * 1024)
  })

  test.each([
    [4096, 'PROTOCOL_VIOLATION'],
    [4097, 'FRAME_TOO_LARGE'],
  ])('of a stranger, %i bytes long: %s', async (length, code) => {
    const world = await openNode(true)
    const { near } = raw(world)
    near.send([new Uint8Array(length).fill(0x12)])
    await world.watch.settle(3)
    expect(world.watch.outcomes.get(code)).toBe(1)
  })
})

describe('a handshake has 5 seconds in all', () => {
  test.each<[string, number]>([
    ['before AuthBegin', 0],
    ['before AuthProof', 1],
    ['before the Hello', 2],
  ])('a peer that falls silent %s, having been slow, is ended then', async (_, steps) => {
    const world = await openNode(true)
    const { near, far } = raw(world)
    // Each of its frames comes 2 seconds after it was sent.
    let left = steps
    near.tap = (frame) => {
      if (left-- > 0) world.clock.schedule(2000, () => far.push(frame))
      return []
    }
    const connection = new Connection(near, world.clock)
    const over = authenticateTo(connection, {
      credential: world.credential!,
      random: world.random,
      clock: world.clock,
      timeoutMs: 60_000,
    }).catch((error: UnderstudyError) => error)
    await world.clock.advance(4999)
    expect(far.isOver).toBe(false)
    await world.clock.advance(2)
    expect(far.isOver).toBe(true)
    // Both ends say so: the node, and the peer that it told.
    expect(world.watch.outcomes.get('PEER_SILENT')).toBe(2)
    connection.close()
    await over
  })
})

describe('128 strangers, each with most of a frame of 4 KiB sent byte by byte', () => {
  test.each([
    ['tcp', tcp(), 'tcp://127.0.0.1:0', Buffer.from([0, 16, 0, 0])],
    ['ws', webSocket(), 'ws://127.0.0.1:0', Buffer.from([0x82, 0xfe, 0x10, 0x00, 1, 2, 3, 4])],
  ] as const)('take less than 64 KiB each over %s', async (scheme, transport, address, head) => {
    const listener = await transport.listen(address, (channel) =>
      channel.start({ frame: () => {}, drained: () => {}, closed: () => {} }),
    )
    const sockets: Socket[] = []
    onTestFinished(async () => {
      for (const socket of sockets) socket.destroy()
      await listener.close()
    })
    const port = Number(new URL(listener.address).port)
    const before = process.memoryUsage()
    for (let n = 0; n < 128; n++) {
      const socket = connect(port, '127.0.0.1')
      sockets.push(socket)
      socket.on('error', () => {})
      await once(socket, 'connect')
      if (scheme === 'ws') {
        socket.write(headOf(listener.address))
        await once(socket, 'data')
      }
      socket.write(head)
    }
    for (let round = 0; round < 40; round++) {
      for (const socket of sockets) socket.write(Buffer.of(7))
      await new Watch().settle()
    }
    const after = process.memoryUsage()
    const taken = after.arrayBuffers - before.arrayBuffers
    expect(taken / sockets.length).toBeLessThan(64 * 1024)
  })
})

describe('a follower that floods', () => {
  async function stream(): Promise<{
    world: StreamWorld
    far: PipeEnd
    sent: Map<number | undefined, number>
  }> {
    const folder = tmpdir()
    const context = { random: new SeededRandom(2), watch: new Watch(), framesMax: 0, folder }
    const world = await StreamWorld.open(context)
    const { near, far } = raw(world, STREAM_LEADER)
    const sent = new Map<number | undefined, number>()
    far.tap = (frame) => {
      sent.set(frame[0], (sent.get(frame[0]) ?? 0) + 1)
      return []
    }
    const hello = { ...helloFor('replicate', CLUSTER), formats: [{ id: world.format.id, version: 1 }] }
    near.send([frameOf(hello)])
    await world.watch.settle(3)
    return { world, far, sent }
  }

  test('with 20,000 heartbeats and acks gets no more in return, and costs no memory', async () => {
    const { world, far, sent } = await stream()
    const answers = [...sent.values()].reduce((sum, count) => sum + count, 0)
    const heartbeat = {
      type: 'heartbeat',
      epoch: 1,
      lsn: 0,
      highWatermark: 0,
      sentAtMs: 1,
      echoMs: 1,
    } as const
    const frames = [
      frameOf({ ...heartbeat, slots: [] }),
      frameOf({ type: 'ack', epoch: 1, received: 0, durable: 0, applied: 0 }),
    ]
    const before = process.memoryUsage()
    for (let n = 0; n < 20_000; n++) {
      far.push(frames[n % 2]!)
      if (n % 500 === 0) await world.watch.settle()
    }
    await world.watch.settle()
    expect(far.isDeaf).toBe(false)
    expect([...sent.values()].reduce((sum, count) => sum + count, 0)).toBe(answers)
    expect(process.memoryUsage().arrayBuffers - before.arrayBuffers).toBeLessThan(1024 * 1024)
    await world.checkUntouched()
  })

  test.each([
    ['ahead of what was sent', { received: 1000, durable: 1000, applied: 1000 }],
    ['durable before it was received', { received: 1, durable: 2, applied: 0 }],
    ['applied before it was durable', { received: 2, durable: 1, applied: 2 }],
    ['at the end of all numbers', { received: 2 ** 53 - 1, durable: 2 ** 53 - 1, applied: 0 }],
  ])('with an ack %s is ended, and its slot stays where it was', async (_, ack) => {
    const { world, far } = await stream()
    const slot = world.leader.log.slots.get('b')?.lsn
    far.push(frameOf({ type: 'ack', epoch: 1, ...ack }))
    await world.watch.settle(2)
    expect(world.watch.outcomes.get('PROTOCOL_VIOLATION')).toBe(1)
    expect(world.leader.log.slots.get('b')?.lsn).toBe(slot)
  })

  test('with an ack that goes back does not take its slot back', async () => {
    const { world, far } = await stream()
    far.push(frameOf({ type: 'ack', epoch: 1, received: 3, durable: 3, applied: 3 }))
    far.push(frameOf({ type: 'ack', epoch: 1, received: 1, durable: 1, applied: 1 }))
    await world.watch.settle(2)
    expect(far.isDeaf).toBe(false)
    expect(world.leader.log.slots.get('b')?.lsn).toBe(3)
  })
})

describe('decoding', () => {
  test('a hundred thousand messages inside one another are no deeper than what the schema names', () => {
    // Field 15, which no message has, around itself; the lengths grow outwards.
    const heads: Buffer[] = []
    let length = 0
    for (let depth = 0; depth < 100_000; depth++) {
      const head = Buffer.from([0x7a, ...varint(length)])
      heads.push(head)
      length += head.length
    }
    const nested = Buffer.concat(heads.toReversed())
    const begun = performance.now()
    const alone = Buffer.concat([Buffer.of(MESSAGE_TYPES.request), nested])
    expect(() => decodeMessage(alone)).toThrow(expect.objectContaining({ code: 'PROTOCOL_VIOLATION' }))
    // The same inside a write, where the schema has messages of its own.
    const write = Buffer.concat([Buffer.of(MESSAGE_TYPES.request, 0x1a, ...varint(length)), nested])
    expect(decodeMessage(write)).toEqual({ type: 'request', id: 0, body: { kind: 'write', statements: [] } })
    expect(performance.now() - begun).toBeLessThan(500)
  })

  test('a peer whose bytes are no message is told so without any of them', async () => {
    const world = await openNode(false)
    const marker = 'c0ffee-secret-marker'
    const text = Buffer.from(marker)
    const frames = [
      // A Hello of text, a name that is no UTF-8 behind the marker, a length beyond the end, a wrong wire type.
      Buffer.concat([Buffer.of(MESSAGE_TYPES.hello), text]),
      Buffer.concat([Buffer.of(MESSAGE_TYPES.hello, 0x2a, text.length + 1), text, Buffer.of(0xff)]),
      Buffer.concat([Buffer.of(MESSAGE_TYPES.hello, 0x32, 0x7f), text]),
      Buffer.concat([Buffer.of(MESSAGE_TYPES.authBegin, 0x25), text]),
      Buffer.concat([Buffer.of(99), text]),
      Buffer.concat([Buffer.of(MESSAGE_TYPES.request), text]),
    ]
    for (const frame of frames) {
      const { near } = raw(world)
      const told = refusals(near)
      near.send([frame])
      await world.watch.settle(3)
      expect(told).toMatchObject([{ code: 'PROTOCOL_VIOLATION' }])
      expect(told[0]!.message).not.toContain(marker.slice(0, 6))
      expect(told[0]!.message.length).toBeLessThan(400)
    }
  })
})

describe('what decodes and frames is recent enough', () => {
  // The first releases without a known way to be stopped, slowed or made to run code by a peer.
  test.each([
    ['protocol', 'protobufjs', [8, 0, 2]],
    ['transport-ws', 'ws', [8, 21, 0]],
  ] as const)('%s uses %s of at least %j', (owner, name, least) => {
    const require = createRequire(join(import.meta.dirname, '..', '..', owner, 'package.json'))
    const { version } = JSON.parse(readFileSync(require.resolve(`${name}/package.json`), 'utf8')) as {
      version: string
    }
    const parts = version.split('.').map(Number)
    const at = least.findIndex((part, index) => part !== parts[index])
    expect(at === -1 || parts[at]! > least[at]!).toBe(true)
  })
})

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))]
}
