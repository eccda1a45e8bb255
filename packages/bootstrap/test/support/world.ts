/** A leader with a snapshot server and a follower's disk, on a simulated clock, network and disk. */
import {
  ORIGIN,
  UnderstudyError,
  type Channel,
  type EpochEntry,
  type LogPoint,
  type SnapshotSource,
} from '@understudy/contracts'
import { Connection, decodeMessage, encodeMessage, type Hello, type Message } from '@understudy/protocol'
import { SeededRandom, SimulatedClock, SimulatedDisk, SimulatedNetwork } from '@understudy/testkit'
import {
  createSnapshotServer,
  receiveSnapshot,
  type ReceivedSnapshot,
  type ReceiveSnapshotOptions,
  type ServedSnapshot,
  type SnapshotServer,
  type SnapshotServerOptions,
} from '../../src/index.ts'

export const PAGE = 512
export const CHUNK = 1024
export const CLUSTER = '00112233aabbccdd'
export const TARGET = '/new/database.sqlite'

export function entry(number: number, firstLsn: number, leader = 'a'): EpochEntry {
  return {
    number,
    runId: number.toString(16).padStart(16, '0'),
    leader,
    firstLsn,
    crcBefore: firstLsn === 1 ? 0 : 7,
  }
}

/** A frozen image that notes what is done with it. */
export class FakeSource implements SnapshotSource {
  readonly pageBytes: number = PAGE
  readonly reads: number[] = []
  closed: boolean = false
  /** Throws `SNAPSHOT_ENDED` from this offset on. */
  endsAt: number = Number.POSITIVE_INFINITY
  onRead: (offset: number) => void = () => undefined
  readonly point: LogPoint
  readonly bytes: Uint8Array

  constructor(bytes: Uint8Array, point: LogPoint) {
    this.bytes = bytes
    this.point = point
  }

  get totalBytes(): number {
    return this.bytes.length
  }

  async read(target: Uint8Array, offset: number): Promise<number> {
    if (this.closed) throw new Error('read after close')
    this.reads.push(offset)
    this.onRead(offset)
    if (offset + target.byteLength > this.endsAt) throw new UnderstudyError('SNAPSHOT_ENDED', 'over the cap')
    await Promise.resolve()
    const part = this.bytes.subarray(offset, offset + target.length)
    target.set(part)
    return part.length
  }

  async close(): Promise<void> {
    this.closed = true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** Sees each message that one side sends; returns what is sent in its place. */
export type Tap = (message: Message) => Message | undefined

/** The channel with every outgoing frame passed through `tap`. */
function tapped(channel: Channel, tap: Tap): Channel {
  return new Proxy(channel, {
    get(target, name) {
      if (name === 'send') {
        return (parts: readonly Uint8Array[]) => {
          const frame = Buffer.concat(parts)
          const message = tap(decodeMessage(frame))
          return message === undefined ? true : target.send(encodeMessage(message))
        }
      }
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
    set: (target, name, value) => Reflect.set(target, name, value, target),
  })
}

export class World {
  readonly clock: SimulatedClock = new SimulatedClock()
  readonly random: SeededRandom
  readonly network: SimulatedNetwork
  readonly disk: SimulatedDisk
  /** What happened at the leader, in order: slots and snapshots. */
  readonly events: string[] = []
  readonly sources: FakeSource[] = []
  readonly served: ServedSnapshot[] = []
  history: EpochEntry[] = [entry(1, 1)]
  point: LogPoint = { epoch: 1, lsn: 40, crc: 4040 }
  image: Uint8Array
  serverTap: Tap = (message) => message
  followerTap: Tap = (message) => message
  /** Lowest LSN that a slot can still be reserved at. */
  logFrom = 0
  heartbeatMs = 1000
  deadlineMs = 10_000
  cluster: string = CLUSTER
  onSource: (source: FakeSource) => void = () => undefined
  server: SnapshotServer
  #serverOptions: Partial<SnapshotServerOptions>
  /** Each life of the leader draws other ids. */
  #lives = 0

  constructor(
    options: {
      chunks?: number
      seed?: string
      server?: Partial<SnapshotServerOptions>
      highMarkBytes?: number
      /** Milliseconds that a sync takes. */
      syncMs?: { min: number; max: number }
    } = {},
  ) {
    this.random = new SeededRandom(options.seed ?? 'bootstrap')
    const { clock, random } = this
    this.network = new SimulatedNetwork({
      clock,
      random: random.fork('network'),
      latencyMs: 1,
      ...(options.highMarkBytes === undefined
        ? {}
        : { highMarkBytes: options.highMarkBytes, windowBytes: options.highMarkBytes }),
    })
    this.disk = new SimulatedDisk({
      random: random.fork('disk'),
      clock,
      directories: 'durable',
      syncMs: options.syncMs ?? { min: 0.1, max: 2 },
    })
    this.disk.makeDirectory('/new')
    this.image = this.newImage(options.chunks ?? 20)
    this.#serverOptions = options.server ?? {}
    this.server = this.#makeServer()
  }

  /** Random pages; the last chunk is half a chunk. */
  newImage(chunks: number): Uint8Array {
    return this.random.bytes(chunks * CHUNK - PAGE)
  }

  /** The image with these chunks changed. */
  changed(...chunks: number[]): Uint8Array {
    const image = Uint8Array.from(this.image)
    for (const chunk of chunks) image[chunk * CHUNK + 7] = (image[chunk * CHUNK + 7] ?? 0) ^ 0x40
    return image
  }

  async listen(): Promise<void> {
    await this.network.transport('leader').listen('sim://leader:1', (channel) => {
      channel.frameBytesMax = 16 * 1024 * 1024
      void this.#accept(channel)
    })
  }

  async restartServer(options: Partial<SnapshotServerOptions> = {}): Promise<void> {
    const old = this.server
    this.server = this.#makeServer(options)
    await old.close()
  }

  /** Starts a bootstrap; drive the clock to complete it. */
  receive(options: Partial<ReceiveSnapshotOptions> = {}): Promise<ReceivedSnapshot> {
    const node = options.node ?? 'follower'
    const transport = this.network.transport(node)
    return receiveSnapshot({
      dial: async () => {
        const channel = await transport.connect('sim://leader:1')
        return new Connection(
          tapped(channel, (message) => this.followerTap(message)),
          this.clock,
        )
      },
      node,
      cluster: CLUSTER,
      files: this.disk,
      target: TARGET,
      clock: this.clock,
      random: this.random.fork('backoff'),
      ...options,
    })
  }

  /** A bootstrap from start to end. */
  async bootstrap(options: Partial<ReceiveSnapshotOptions> = {}): Promise<ReceivedSnapshot> {
    return this.clock.complete(this.receive(options), { withinMs: 3_600_000 })
  }

  /** Bytes of a file on the follower's disk. */
  read(path: string = TARGET): Uint8Array {
    const handle = this.disk.open(path)
    const bytes = new Uint8Array(handle.size())
    handle.read(bytes, 0)
    handle.close()
    return bytes
  }

  write(path: string, bytes: Uint8Array): void {
    const handle = this.disk.open(path, { create: true, write: true })
    handle.truncate(0)
    handle.write([bytes], 0)
    handle.dataSyncNow()
    handle.close()
    this.disk.syncDirectory('/new')
  }

  reset(): void {
    this.network.reset('leader', 'follower')
  }

  async #accept(channel: Channel): Promise<void> {
    const connection = new Connection(
      tapped(channel, (message) => this.serverTap(message)),
      this.clock,
    )
    let hello: Message
    try {
      hello = await connection.next({ timeoutMs: 1000 })
    } catch {
      return
    }
    connection.send({
      type: 'welcome',
      version: 1,
      cluster: this.cluster,
      node: 'leader',
      history: this.history,
      end: this.point,
      verdict: { kind: 'continue', from: 1 },
      heartbeatMs: this.heartbeatMs,
      deadlineMs: this.deadlineMs,
    })
    this.served.push(await this.server.serve(connection, hello as Hello))
  }

  #makeServer(options: Partial<SnapshotServerOptions> = {}): SnapshotServer {
    return createSnapshotServer({
      openSnapshot: async () => {
        const source = new FakeSource(this.image, this.point)
        this.events.push(`open ${source.point.lsn}`)
        this.sources.push(source)
        this.onSource(source)
        return source
      },
      history: () => this.history,
      applied: () => (this.point.lsn === 0 ? ORIGIN : this.point),
      reserveSlot: (name, lsn) => {
        if (lsn < this.logFrom) throw new UnderstudyError('LOG_TRUNCATED', 'gone')
        this.events.push(`reserve ${name} ${lsn}`)
      },
      releaseSlot: (name, lsn) => this.events.push(`release ${name} ${lsn}`),
      clock: this.clock,
      random: this.random.fork(`ids ${this.#lives++}`),
      chunkBytes: CHUNK,
      deltaChunkBytes: CHUNK,
      windowBytes: 4 * CHUNK,
      ...this.#serverOptions,
      ...options,
    })
  }
}

/** A world whose leader listens. */
export async function world(options: ConstructorParameters<typeof World>[0] = {}): Promise<World> {
  const made = new World(options)
  await made.clock.complete(made.listen())
  return made
}

/** What the promise rejects with; at once a handler for it, so that the clock may be driven before it is awaited. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('It was expected to fail.')
}
