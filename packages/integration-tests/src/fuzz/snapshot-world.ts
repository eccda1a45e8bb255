/** A server of snapshots, and followers that fetch one, on a simulated clock and disk. The image is bytes, no database. */
import {
  type EpochEntry,
  type LogPoint,
  type SnapshotSource,
  type UnderstudyError,
} from '@understudy/contracts'
import { createSnapshotServer, receiveSnapshot, type ReceivedSnapshot } from '@understudy/bootstrap'
import { Connection, type Hello, type Welcome } from '@understudy/protocol'
import { type SimulatedClock, SimulatedDisk, type SeededRandom } from '@understudy/testkit'
import { PipeTransport } from './pipe.ts'
import type { RunContext } from './position.ts'
import type { Watch } from './watch.ts'
import { WatchedClock } from './watched-clock.ts'

export const LEADER = 'pipe://leader'
export const CLUSTER = '00112233aabbccdd'
export const POINT: LogPoint = { epoch: 1, lsn: 40, crc: 4040 }
const HISTORY: EpochEntry[] = [
  { number: 1, runId: '0000000000000001', leader: 'leader', firstLsn: 1, crcBefore: 0 },
]
const PAGE_BYTES = 512
const CHUNK_BYTES = 1024
const TARGET = '/new/database.sqlite'
const SEED = '/new/old.sqlite'

class Image implements SnapshotSource {
  readonly pageBytes: number = PAGE_BYTES
  readonly point: LogPoint = POINT
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get totalBytes(): number {
    return this.#bytes.length
  }

  async read(target: Uint8Array, offset: number): Promise<number> {
    const part = this.#bytes.subarray(offset, offset + target.length)
    target.set(part)
    return part.length
  }

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}

export class SnapshotWorld {
  readonly clock: SimulatedClock
  readonly random: SeededRandom
  readonly watch: Watch
  readonly transport: PipeTransport
  readonly image: Uint8Array
  /** Transfers that the server has begun and not ended. */
  serving = 0
  readonly #server: ReturnType<typeof createSnapshotServer>

  private constructor({ random, watch }: RunContext) {
    this.random = random
    this.watch = watch
    this.clock = new WatchedClock(watch)
    this.transport = new PipeTransport(watch)
    this.image = random.bytes(12 * CHUNK_BYTES + PAGE_BYTES)
    this.#server = createSnapshotServer({
      openSnapshot: async () => new Image(this.image),
      history: () => HISTORY,
      applied: () => POINT,
      reserveSlot: () => undefined,
      clock: this.clock,
      random: random.fork('ids'),
      chunkBytes: CHUNK_BYTES,
      deltaChunkBytes: CHUNK_BYTES,
      windowBytes: 4 * CHUNK_BYTES,
      snapshotsMax: 4,
      heartbeatMs: 1000,
      deadlineMs: 10_000,
    })
  }

  static async open(context: RunContext): Promise<SnapshotWorld> {
    const world = new SnapshotWorld(context)
    await world.transport.listen(LEADER, (channel) => {
      channel.frameBytesMax = 16 * 1024 * 1024
      const connection = new Connection(channel, world.clock)
      connection.next({ timeoutMs: 5000 }).then(
        (hello) => (hello.type === 'hello' ? world.#serve(connection, hello) : connection.close()),
        () => connection.close(),
      )
    })
    return world
  }

  /** Fetches the image, onto a disk of its own; beside an old image that differs in some chunks, if told so. */
  receive(options: { readonly withOld: boolean; readonly signal?: AbortSignal }): {
    readonly result: Promise<ReceivedSnapshot>
    readonly fetched: () => Uint8Array
  } {
    const { clock, transport, random, image, watch } = this
    const disk = new SimulatedDisk({ random: random.fork('disk'), clock, directories: 'durable', syncMs: 0 })
    disk.makeDirectory('/new')
    if (options.withOld) {
      const old = Uint8Array.from(image)
      old[CHUNK_BYTES + 3] = (old[CHUNK_BYTES + 3] ?? 0) ^ 1
      const handle = disk.open(SEED, { create: true, write: true })
      handle.write([old], 0)
      handle.close()
    }
    const result = receiveSnapshot({
      dial: async () => new Connection(transport.dial(LEADER), clock),
      node: 'b',
      cluster: CLUSTER,
      files: disk,
      target: TARGET,
      ...(options.withOld && { seed: SEED }),
      clock,
      random: random.fork('backoff'),
      attemptsMax: 3,
      onRetry: (error: UnderstudyError) => watch.judge(error),
      ...(options.signal && { signal: options.signal }),
    })
    return { result, fetched: () => contentOf(disk, TARGET) }
  }

  async checkUntouched(): Promise<void> {
    const { transport, clock, watch, image } = this
    transport.opened = undefined
    const { result, fetched } = this.receive({ withOld: false })
    await clock.complete(result, { withinMs: 120_000 })
    if (Buffer.compare(fetched(), image) !== 0) watch.fail('a sound follower fetched another image')
    await clock.advance(200)
    if (this.serving > 0) watch.fail(`${this.serving} transfers go on though nobody is connected`)
    watch.check()
  }

  close(): Promise<void> {
    return this.#server.close()
  }

  #serve(connection: Connection, hello: Hello): void {
    const welcome: Welcome = {
      type: 'welcome',
      version: 1,
      cluster: CLUSTER,
      node: 'leader',
      history: [],
      end: POINT,
      verdict: { kind: 'continue', from: 1 },
      heartbeatMs: 1000,
      deadlineMs: 10_000,
    }
    connection.send(welcome)
    this.serving++
    void this.#server.serve(connection, hello).then(({ error }) => {
      this.serving--
      if (error !== undefined) this.watch.judge(error)
    })
  }
}

function contentOf(disk: SimulatedDisk, path: string): Uint8Array {
  const handle = disk.open(path)
  const bytes = new Uint8Array(handle.size())
  handle.read(bytes, 0)
  handle.close()
  return bytes
}
