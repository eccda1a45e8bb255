/**
 * Nodes on a simulated clock, network and disks, over the real log and the real protocol, with memory storages: one seed
 * decides everything that happens. Each node has lives; a crash ends one, `startLeader` and `startFollower` begin the next.
 */
import {
  LOCAL_SLOT,
  type LogFormat,
  type LogPoint,
  type Log,
  type UnderstudyError,
} from '@understudy/contracts'
import { openLog } from '@understudy/log'
import { Connection } from '@understudy/protocol'
import {
  Followers,
  becomeLeader,
  followLeader,
  type CommitPipeline,
  type Following,
  type LeaderIds,
  type LinkLimits,
  type PipelineLimits,
} from '@understudy/replication'
import {
  MemoryStorage,
  SeededRandom,
  SimulatedClock,
  SimulatedDisk,
  SimulatedNetwork,
  memoryFormat,
  type ClockView,
  type MemoryConnection,
  type MemoryTransaction,
} from '@understudy/testkit'

const CLUSTER = 'c0ffee'

/** One life of a node. */
export interface NodeLife {
  readonly clock: ClockView
  readonly log: Log
  readonly storage: MemoryStorage
  readonly pipeline: CommitPipeline<MemoryTransaction, MemoryConnection> | undefined
  readonly followers: Followers | undefined
  readonly following: Following | undefined
  /** Why it may not go on in its role: a failed pipeline, a final state of following. */
  readonly errors: UnderstudyError[]
}

/** How a leader keeps ids from being given twice. */
export interface SimulatedIds extends LeaderIds {
  readonly link?: Partial<LinkLimits>
  /** Times as long as it keeps it, its word is said to stand. Default 1. */
  readonly promises?: number
}

export class SimulatedNode {
  readonly name: string
  readonly disk: SimulatedDisk
  readonly random: SeededRandom
  storage: MemoryStorage
  life: NodeLife | undefined
  lives = 0

  constructor(name: string, random: SeededRandom) {
    this.name = name
    this.random = random
    this.disk = new SimulatedDisk({ random: random.fork('disk') })
    this.storage = new MemoryStorage({ random: random.fork('storage') })
  }

  /** The life that runs; throws when there is none. */
  get alive(): NodeLife {
    if (this.life === undefined) throw new Error(`${this.name} is down`)
    return this.life
  }
}

export class SimulatedCluster {
  readonly seed: string
  readonly clock: SimulatedClock
  readonly random: SeededRandom
  readonly network: SimulatedNetwork
  readonly #format: LogFormat<MemoryConnection> = memoryFormat()
  readonly #limits: Partial<PipelineLimits>

  constructor(seed: string | number, limits: Partial<PipelineLimits> = {}) {
    this.random = new SeededRandom(seed)
    this.seed = this.random.seed
    this.clock = new SimulatedClock({ shuffle: this.random.fork('clock') })
    this.network = new SimulatedNetwork({ clock: this.clock, random: this.random.fork('network') })
    this.#limits = limits
  }

  node(name: string): SimulatedNode {
    return new SimulatedNode(name, this.random.fork(name))
  }

  async startLeader(node: SimulatedNode, ids?: SimulatedIds): Promise<NodeLife> {
    const { clock, log, random } = this.#begin(node)
    const { storage } = node
    const errors: UnderstudyError[] = []
    let followers: Followers | undefined
    const { pipeline } = await this.clock.complete(
      becomeLeader<MemoryConnection, MemoryTransaction>({
        log,
        storage,
        format: this.#format,
        formats: [this.#format],
        node: node.name,
        cluster: CLUSTER,
        clock,
        random,
        limits: this.#limits,
        defer: (run) => clock.schedule(0, run),
        onDurable: () => followers?.wake(),
        onFailed: (failure) => errors.push(failure),
        ...(ids && { ids }),
      }),
    )
    const serving = new Followers({
      log,
      cluster: CLUSTER,
      node: node.name,
      clock,
      formats: [{ id: this.#format.id, version: this.#format.version }],
      highWatermark: () => pipeline.highWatermark,
      onProgress: (name, progress) => pipeline.follower(name, progress),
      idsPromise: (name) => pipeline.idsPromise(name) * (ids?.promises ?? 1),
      onMustStopLeading: (error) => errors.push(error),
      ...(ids?.link && { limits: ids.link }),
    })
    followers = serving
    const transport = this.network.transport(node.name, { clock })
    await this.clock.complete(
      transport.listen(`sim://${node.name}`, (channel) => {
        const connection = new Connection(channel, clock)
        connection.next({ timeoutMs: 5000 }).then(
          (message) => {
            if (message.type === 'hello') serving.accept(connection, message)
            else connection.close()
          },
          () => connection.close(),
        )
      }),
    )
    return this.#alive(node, { clock, log, storage, pipeline, followers, following: undefined, errors })
  }

  startFollower(node: SimulatedNode, leader: string): NodeLife {
    const { clock, log, random } = this.#begin(node)
    const { storage } = node
    const transport = this.network.transport(node.name, { clock })
    const errors: UnderstudyError[] = []
    const following = followLeader<MemoryConnection, MemoryTransaction>({
      dial: async (signal) => new Connection(await transport.connect(`sim://${leader}`, { signal }), clock),
      log,
      storage,
      formats: [this.#format],
      node: node.name,
      cluster: CLUSTER,
      clock,
      random,
      defer: (run) => clock.schedule(0, run),
      onState: (state, error) => {
        const isFinal = state === 'stopped' || state === 'diverged' || state === 'snapshotRequired'
        if (isFinal && error !== undefined) errors.push(error)
      },
    })
    return this.#alive(node, {
      clock,
      log,
      storage,
      pipeline: undefined,
      followers: undefined,
      following,
      errors,
    })
  }

  /** `process`: the operating system keeps what was written. `machine`: what was not synced may be lost, commits too. */
  crash(node: SimulatedNode, of: 'process' | 'machine'): void {
    node.life?.clock.stop()
    node.life = undefined
    this.network.crash(node.name, { of })
    if (of === 'machine') node.disk.crash()
    else node.disk.kill()
    node.storage = node.storage.crash(of === 'process' ? { kept: Number.MAX_SAFE_INTEGER } : {})
  }

  /** A write of one key, acknowledged with its position. */
  async set(node: SimulatedNode, key: string, value: string): Promise<LogPoint> {
    const { pipeline } = node.alive
    if (pipeline === undefined) throw new Error(`${node.name} does not lead`)
    const { receipt } = await pipeline.write((tx) => tx.set(key, value))
    return { ...receipt.position, crc: receipt.crc }
  }

  /** Makes commits durable and drops what nobody needs any more. */
  async checkpoint(node: SimulatedNode): Promise<void> {
    const { storage, log } = node.alive
    const point = await this.clock.complete(storage.checkpoint())
    if (point === undefined) return
    log.slots.advance(LOCAL_SLOT, point.lsn)
    log.collect()
  }

  /** Until the follower shows everything that the leader has. */
  async converge(leader: SimulatedNode, follower: SimulatedNode, withinMs = 60_000): Promise<void> {
    const target = leader.alive.log.end.lsn
    await this.clock.runUntil(() => follower.alive.storage.applied.lsn >= target, {
      withinMs,
      what: `seed ${this.seed}: ${follower.name} at ${target}`,
    })
  }

  #begin(node: SimulatedNode): { clock: ClockView; log: Log; random: SeededRandom } {
    const clock = this.clock.view()
    const random = node.random.fork(`life ${node.lives++}`)
    const files = node.disk.mount({ clock })
    const knownDurable = node.storage.applied.lsn
    const log = openLog({ directory: '/log', files, clock, random, segmentBytes: 8192, knownDurable })
    if (log.slots.get(LOCAL_SLOT) === undefined) log.slots.reserve(LOCAL_SLOT, 0)
    return { clock, log, random }
  }

  #alive(node: SimulatedNode, life: NodeLife): NodeLife {
    node.life = life
    return life
  }
}
