/** A snapshot over a network that damages what it carries. */
import type { Channel, EpochHistory } from '@understudy/contracts'
import { createSnapshotServer, receiveSnapshot } from '@understudy/bootstrap'
import { Connection, decodeMessage, encodeMessage, negotiateVersion } from '@understudy/protocol'
import {
  memoryFormat,
  MemoryStorage,
  SeededRandom,
  SimulatedClock,
  SimulatedDisk,
  SimulatedNetwork,
} from '@understudy/testkit'
import { InvariantBreach } from '../simulation/breach.ts'

const CLUSTER = '0123456789abcdef'
const HISTORY: EpochHistory = [
  { number: 1, runId: '00000000000000aa', leader: 'a', firstLsn: 1, crcBefore: 0 },
]

/** A chunk that changed on its way is noticed, and asked for again. */
export async function damagedChunk(): Promise<void> {
  const random = new SeededRandom('chunk')
  const clock = new SimulatedClock()
  const network = new SimulatedNetwork({ clock, random: random.fork('network') })
  const disk = new SimulatedDisk({ random: random.fork('disk'), clock })
  const storage = filled(clock, random)
  await serve(storage, clock, random, network)
  disk.makeDirectory('/new')
  const transport = network.transport('b')
  const { bytes } = await clock.complete(
    receiveSnapshot({
      dial: async () => new Connection(await transport.connect('sim://a', { frameBytesMax: 1e6 }), clock),
      node: 'b',
      cluster: CLUSTER,
      files: disk,
      target: '/new/database',
      clock,
      random,
    }),
  )
  const image = new Uint8Array(bytes)
  disk.open('/new/database').read(image, 0)
  const expected = new Uint8Array(bytes)
  await (await clock.complete(storage.snapshot())).read(expected, 0)
  if (Buffer.compare(image, expected) !== 0)
    throw new InvariantBreach('I11', 'a damaged chunk became part of a snapshot that counts as verified')
}

function filled(clock: SimulatedClock, random: SeededRandom): MemoryStorage {
  const storage = new MemoryStorage({ clock, random })
  const recorder = memoryFormat().recorder(storage.connection)
  storage.begin()
  recorder.beginGroup()
  storage.write((tx) => {
    for (let i = 0; i < 200; i++) tx.set(`k${i}`, `${random.uint32()}`.repeat(5))
  }, recorder)
  recorder.finishGroup()
  storage.mark({ epoch: 1, lsn: 7, crc: 77 })
  storage.commit()
  return storage
}

async function serve(
  storage: MemoryStorage,
  clock: SimulatedClock,
  random: SeededRandom,
  network: SimulatedNetwork,
): Promise<void> {
  const server = createSnapshotServer({
    openSnapshot: () => storage.snapshot(),
    history: () => HISTORY,
    applied: () => storage.applied,
    reserveSlot: () => undefined,
    clock,
    random: random.fork('server'),
    chunkBytes: 1024,
  })
  const damaged = new Set<string>()
  await network.transport('a').listen('sim://a', (channel) => {
    const connection = new Connection(damaging(channel, damaged), clock)
    connection.next({ timeoutMs: 1000 }).then(
      (hello) => {
        if (hello.type !== 'hello') return connection.close()
        const silence = { heartbeatMs: 1000, deadlineMs: 5000 }
        connection.send({
          type: 'welcome',
          version: negotiateVersion(hello),
          cluster: CLUSTER,
          node: 'a',
          history: [],
          end: { epoch: 0, lsn: 0, crc: 0 },
          verdict: { kind: 'continue', from: 1 },
          ...silence,
        })
        void server.serve(connection, hello)
      },
      () => connection.close(),
    )
  })
}

/** Flips a bit in the sixth chunk, once. */
function damaging(channel: Channel, damaged: Set<string>): Channel {
  return new Proxy(channel, {
    get(target, name) {
      if (name === 'send')
        return (parts: readonly Uint8Array[]) => {
          const message = decodeMessage(Buffer.concat(parts))
          if (message.type !== 'snapshotChunk' || message.offset !== 5 * 1024 || damaged.has(target.remote))
            return target.send(parts)
          damaged.add(target.remote)
          const bytes = Uint8Array.from(message.bytes)
          bytes[100] = (bytes[100] ?? 0) ^ 4
          return target.send(encodeMessage({ ...message, bytes }))
        }
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
    set: (target, name, value) => Reflect.set(target, name, value, target),
  })
}
