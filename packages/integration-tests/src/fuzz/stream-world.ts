/**
 * A leader and its followers over the real log and the real replication, with databases in memory and disks that are
 * simulated: cheap enough to throw a follower away after each record that it took.
 */
import { LOCAL_SLOT, type Log, type LogFormat, type UnderstudyError } from '@understudy/contracts'
import { openLog } from '@understudy/log'
import { Connection, type Hello } from '@understudy/protocol'
import { Followers, becomeLeader, followLeader, type Following } from '@understudy/replication'
import {
  MemoryStorage,
  type SimulatedClock,
  SimulatedDisk,
  memoryFormat,
  type MemoryConnection,
  type MemoryTransaction,
  type SeededRandom,
} from '@understudy/testkit'
import { PipeTransport } from './pipe.ts'
import type { RunContext } from './position.ts'
import type { Watch } from './watch.ts'
import { WatchedClock } from './watched-clock.ts'

export const LEADER = 'pipe://leader'
export const CLUSTER = 'c0ffee'
const SEGMENT_BYTES = 64 * 1024
/** Few records in a frame, so that the log takes several. */
const FRAME_BYTES = 400

export interface Disk {
  readonly log: Log
  readonly storage: MemoryStorage
}

export interface Follower extends Disk {
  readonly following: Following
  /** Why it follows no more. */
  readonly final: () => UnderstudyError | undefined
}

export class StreamWorld {
  readonly clock: SimulatedClock
  readonly transport: PipeTransport
  readonly watch: Watch
  readonly random: SeededRandom
  readonly format: LogFormat<MemoryConnection> = memoryFormat()
  leader!: Disk
  set!: (key: string, value: string) => Promise<unknown>

  private constructor({ watch, random }: RunContext) {
    this.watch = watch
    this.clock = new WatchedClock(watch)
    this.random = random
    this.transport = new PipeTransport(watch)
  }

  /** With a log of a dozen records, one of them larger than the others. */
  static async open(context: RunContext): Promise<StreamWorld> {
    const world = new StreamWorld(context)
    await world.#lead()
    for (let i = 0; i < 8; i++) await world.clock.complete(world.set(`key ${i % 5}`, `value ${i}`))
    await world.clock.complete(world.set('long', 'l'.repeat(2000)))
    await world.clock.complete(world.set('__proto__', 'constructor'))
    return world
  }

  emptyDisk(): Disk {
    const { clock, random } = this
    const disk = new SimulatedDisk({ random: random.fork('disk'), clock, syncMs: 0 })
    const files = disk.mount({ clock })
    const log = openLog({ directory: '/log', files, clock, random, segmentBytes: SEGMENT_BYTES })
    log.slots.reserve(LOCAL_SLOT, 0)
    return { log, storage: new MemoryStorage({ random: random.fork('storage') }) }
  }

  follow(disk: Disk, node: string = 'b'): Follower {
    const { clock, transport, watch } = this
    let final: UnderstudyError | undefined
    const following = followLeader<MemoryConnection, MemoryTransaction>({
      ...disk,
      dial: async () => new Connection(transport.dial(LEADER), clock),
      formats: [this.format],
      node,
      cluster: CLUSTER,
      clock,
      random: this.random.fork(node),
      backoff: { firstMs: 1, lastMs: 8 },
      defer: (run) => clock.schedule(0, run),
      onState: (state, error) => {
        if (error !== undefined) watch.judge(error)
        if (state === 'disconnected' || error === undefined) return
        watch.note(`follower ${state} ${error.code}`)
        final = error
      },
    })
    return { ...disk, following, final: () => final }
  }

  /** A follower that starts from nothing gets everything, and shows what the leader shows. */
  async checkUntouched(): Promise<void> {
    const { leader, clock, watch, transport } = this
    transport.opened = undefined
    await clock.complete(this.set('untouched', String(this.random.uint32())))
    const follower = this.follow(this.emptyDisk(), 'untouched')
    const reached = (): boolean =>
      follower.storage.applied.lsn >= leader.log.end.lsn || follower.final() !== undefined
    await clock.runUntil(reached, { withinMs: 60_000, what: 'a sound follower' })
    if (follower.final() !== undefined) watch.fail('a sound follower stopped', follower.final())
    if (follower.storage.digest() !== leader.storage.digest())
      watch.fail('a sound follower shows something else than its leader')
    await clock.complete(follower.following.close())
    watch.check()
  }

  async #lead(): Promise<void> {
    const { clock, random, watch } = this
    const disk = this.emptyDisk()
    const { log, storage } = disk
    let followers: Followers | undefined
    const { pipeline } = await clock.complete(
      becomeLeader<MemoryConnection, MemoryTransaction>({
        ...disk,
        format: this.format,
        formats: [this.format],
        node: 'leader',
        cluster: CLUSTER,
        clock,
        random: random.fork('leader'),
        defer: (run) => clock.schedule(0, run),
        onDurable: () => followers?.wake(),
        onFailed: (error) => watch.fail(`the leader's pipeline failed: ${error.code}`, error),
      }),
    )
    const serving = (followers = new Followers({
      log,
      cluster: CLUSTER,
      node: 'leader',
      clock,
      formats: [{ id: this.format.id, version: this.format.version }],
      highWatermark: () => pipeline.highWatermark,
      limits: { frameBytes: FRAME_BYTES },
      onMustStopLeading: (error) => watch.note(`must stop leading: ${error.code}`),
      onFollower: (event) => {
        if (event.kind === 'left' && event.error !== undefined) watch.judge(event.error)
      },
    }))
    await this.transport.listen(LEADER, (channel) => {
      const connection = new Connection(channel, clock, { stranger: true })
      const accept = (hello: Hello): void => {
        connection.trust()
        channel.frameBytesMax = 16 * 1024 * 1024
        serving.accept(connection, hello)
      }
      connection.next({ timeoutMs: 5000 }).then(
        (message) => (message.type === 'hello' ? accept(message) : connection.close()),
        () => connection.close(),
      )
    })
    this.leader = { log, storage }
    this.set = (key, value) => pipeline.write((tx) => tx.set(key, value))
  }
}
