/** Leaders and followers on a simulated network and clock, over memory storages and memory logs. */
import type { Clock, LogFormat, LogPoint, UnderstudyError } from '@understudy/contracts'
import { Connection } from '@understudy/protocol'
import {
  MemoryStorage,
  SeededRandom,
  SimulatedClock,
  SimulatedNetwork,
  memoryFormat,
  type ClockView,
  type MemoryConnection,
  type MemoryTransaction,
} from '@understudy/testkit'
import {
  Followers,
  becomeLeader,
  followLeader,
  type AckPolicy,
  type FollowOptions,
  type FollowerEvent,
  type Following,
  type Leadership,
  type LinkLimits,
  type PipelineLimits,
  type ReceiverState,
} from '../../src/index.ts'
import { MemoryLog } from './memory-log.ts'

export const FORMAT: LogFormat<MemoryConnection> = memoryFormat()

export interface Disk {
  readonly log: MemoryLog
  readonly storage: MemoryStorage
}

export function emptyDisk(clock?: Clock): Disk {
  return { log: new MemoryLog(), storage: new MemoryStorage(clock === undefined ? {} : { clock }) }
}

export interface TestLeader extends Disk {
  readonly name: string
  readonly clock: ClockView
  readonly leadership: Leadership<MemoryTransaction, MemoryConnection>
  readonly followers: Followers
  readonly events: FollowerEvent[]
  readonly lost: UnderstudyError[]
  readonly set: (key: string, value: string) => Promise<LogPoint>
}

export interface TestFollower extends Disk {
  readonly name: string
  readonly clock: ClockView
  readonly following: Following
  /** States in order, with the code of the error. */
  readonly states: string[]
  readonly markers: string[]
}

export class World {
  readonly clock: SimulatedClock = new SimulatedClock()
  readonly random: SeededRandom
  readonly network: SimulatedNetwork

  constructor(seed: string | number = 1) {
    this.random = new SeededRandom(seed)
    this.network = new SimulatedNetwork({ clock: this.clock, random: this.random.fork('network') })
  }

  async leader(
    name: string,
    disk: Disk = emptyDisk(),
    limits: {
      readonly link?: Partial<LinkLimits>
      readonly pipeline?: Partial<PipelineLimits>
      readonly cluster?: string
      readonly acks?: AckPolicy
    } = {},
  ): Promise<TestLeader> {
    const clock = this.clock.view()
    const { log, storage } = disk
    const lost: UnderstudyError[] = []
    const events: FollowerEvent[] = []
    let followers: Followers | undefined
    const leadership = await this.clock.complete(
      becomeLeader<MemoryConnection, MemoryTransaction>({
        ...disk,
        format: FORMAT,
        formats: [FORMAT],
        cluster: limits.cluster ?? 'c',
        node: name,
        clock,
        random: this.random.fork(`${name} ${this.clock.monotonic()}`),
        defer: (run) => clock.schedule(0, run),
        onDurable: () => followers?.wake(),
        ...(limits.pipeline && { limits: limits.pipeline }),
        ...(limits.acks && { acks: limits.acks }),
      }),
    )
    followers = new Followers({
      log,
      cluster: limits.cluster ?? 'c',
      node: name,
      clock,
      formats: [{ id: FORMAT.id, version: FORMAT.version }],
      highWatermark: () => leadership.pipeline.highWatermark,
      onProgress: (follower, progress) => leadership.pipeline.follower(follower, progress),
      isAwaited: (follower) => leadership.pipeline.awaits(follower),
      syncState: (follower) => leadership.pipeline.syncState(follower),
      onMustStopLeading: (error) => lost.push(error),
      onFollower: (event) => events.push(event),
      ...(limits.link && { limits: limits.link }),
    })
    const accepting = followers
    await this.clock.complete(
      this.network.transport(name, { clock }).listen(`sim://${name}`, (channel) => {
        const connection = new Connection(channel, clock)
        connection.next({ timeoutMs: 1000 }).then(
          (hello) => {
            if (hello.type === 'hello') accepting.accept(connection, hello)
          },
          () => connection.close(),
        )
      }),
    )
    const set = async (key: string, value: string): Promise<LogPoint> => {
      const { receipt } = await leadership.pipeline.write((tx) => tx.set(key, value))
      return { ...receipt.position, crc: receipt.crc }
    }
    return { name, clock, log, storage, leadership, followers, events, lost, set }
  }

  follower(
    name: string,
    leader: string,
    disk: Disk = emptyDisk(),
    options: Partial<FollowOptions<MemoryConnection, MemoryTransaction>> = {},
  ): TestFollower {
    const clock = this.clock.view()
    const transport = this.network.transport(name, { clock })
    const states: string[] = []
    const markers: string[] = []
    const following = followLeader<MemoryConnection, MemoryTransaction>({
      ...disk,
      dial: async (signal) => new Connection(await transport.connect(`sim://${leader}`, { signal }), clock),
      formats: [FORMAT],
      node: name,
      cluster: 'c',
      clock,
      random: this.random.fork(name),
      defer: (run) => clock.schedule(0, run),
      onState: (state: ReceiverState, error) =>
        states.push(error === undefined ? state : `${state} ${error.code}`),
      onMarker: ({ lsn }) => markers.push(`${lsn} ${disk.storage.digest()}`),
      ...options,
    })
    return { name, clock, ...disk, following, states, markers }
  }

  /** Until the follower shows everything that the leader has. */
  async converge(leader: TestLeader, follower: TestFollower, withinMs = 30_000): Promise<void> {
    await this.clock.runUntil(() => follower.storage.applied.lsn === leader.log.end.lsn, {
      withinMs,
      what: `${follower.name} to catch up`,
    })
  }
}
