/** The node that leads, life after life: what `node` composes for a leader, over the storage in memory. */
import {
  isUnderstudyError,
  UnderstudyError,
  type Log,
  type LogFormat,
  type LogPoint,
  type Receipt,
} from '@understudy/contracts'
import { createSnapshotServer, type SnapshotServer } from '@understudy/bootstrap'
import { Connection, LIMITS, negotiateVersion, type Hello } from '@understudy/protocol'
import {
  ackStateOf,
  becomeLeader,
  Followers,
  type AckPolicy,
  type AckRule,
  type CommitPipeline,
} from '@understudy/replication'
import {
  drawSpan,
  type MachineLife,
  type MemoryConnection,
  type MemoryTransaction,
} from '@understudy/testkit'
import { describe, Host, type NodeData } from './host.ts'
import { CLUSTER, LEADER } from './world.ts'

/** What a request may meet in the midst of faults: it was not done, or it is in the log and comes into force all the same. */
const ORDINARY = ['NOT_WRITTEN', 'OVERLOADED', 'WRITTEN_NOT_ACKED'] as const

type Format = LogFormat<MemoryConnection>
type Pipeline = CommitPipeline<MemoryTransaction, MemoryConnection>

export interface Leading {
  readonly data: NodeData
  readonly pipeline: Pipeline
  readonly followers: Followers
  readonly snapshots: SnapshotServer
}

export class LeaderHost extends Host {
  /** While it takes writes. */
  leading: Leading | undefined
  /** Ends that the format changes by turns. */
  keepsFormat = false
  readonly #watchers = new Set<() => void>()
  #crash: 'process' | 'machine' | undefined

  /** The next transaction that is committed before it is logged does not get into the log. */
  crashAfterCommit(how: 'process' | 'machine'): void {
    this.#crash = how
  }

  /** Calls once when the present life ends. */
  onEnd(run: () => void): void {
    this.#watchers.add(run)
  }

  offEnd(run: () => void): void {
    this.#watchers.delete(run)
  }

  protected override ended(): void {
    this.leading = undefined
    this.#crash = undefined
    const watchers = [...this.#watchers]
    this.#watchers.clear()
    for (const watcher of watchers) watcher()
  }

  /** What survived counts from now on, whether or not anyone was told of it. */
  protected override opened(log: Log): void {
    this.world.history.expectWhole(this.name, log)
    this.world.history.ingest(log)
  }

  protected override async run(life: MachineLife): Promise<void> {
    const { world } = this
    const { history, tally, shape } = world
    const data = this.openData(life, 1)
    const { log, storage } = data
    this.writeGeneration(life, 1)
    let followers: Followers | undefined
    const physical = world.formats.watched({ committed: () => this.#committed(life) })
    let begun: Pipeline | undefined
    let isLowered = false
    const leading = (): Pipeline | undefined => begun
    const own = [world.formats.logical, world.formats.mixed, physical]
    const format = this.#firstOf(own)
    const leadership = await becomeLeader<MemoryConnection, MemoryTransaction>({
      log,
      storage,
      format,
      formats: own,
      cluster: CLUSTER,
      node: LEADER,
      clock: life.clock,
      random: life.random,
      limits: shape.pipeline,
      ...this.#acksOfStart(log),
      applyLimits: shape.apply,
      defer: (run) => life.clock.schedule(0, run),
      onDurable: (point) => {
        if (!this.isAlive(life)) return
        this.#durable(data, point, leading()?.acks.pending === undefined)
        followers?.wake()
      },
      onAckRule: ({ effective, degraded }) => {
        if (!this.isAlive(life)) return
        if (degraded || isLowered) tally.add(degraded ? 'ack rule lowered' : 'ack rule raised')
        isLowered = degraded
        world.note(`ack rule ${effective}`)
      },
      onMarker: (point) => this.marker(life, data, point),
      onFailed: (error) => this.failed(life, error),
    })
    if (!this.isAlive(life)) return
    if (leadership.redone.batches > 0) tally.add('leader restarted with redo')
    if (leadership.cutRecords > 0) tally.add('unfinished chain cut')
    history.ingest(log)
    this.comparedTo = history.compare(this.name, log, log.first)
    history.expectState(`${this.name} leading`, storage)
    const { pipeline } = leadership
    begun = pipeline
    data.checkpointer.keepsFrom = (lsn) => pipeline.keepsFrom(lsn)
    if (pipeline.acks.recovering) tally.add('end of the log hidden at a restart')
    followers = this.#followers(life, data, pipeline)
    const snapshots = this.#snapshots(life, data, followers)
    await this.#listen(life, followers, snapshots)
    if (!this.isAlive(life)) return
    world.note(`leading ${leadership.epoch.number} from ${log.end.lsn}`)
    this.leading = { data, pipeline, followers, snapshots }
    if (shape.formats === 'switching') this.#switchLater(life, pipeline, own)
    this.#changeAcksLater(life, pipeline)
  }

  /** The format that a life of the leader begins with. */
  #firstOf([logical, mixed, physical]: readonly Format[]): Format {
    const { formats } = this.world.shape
    const chosen = { logical, mixed, physical, switching: this.random.pick([logical, mixed, physical]) }[
      formats
    ]
    return chosen as Format
  }

  /** A group of the physical format is committed, and nothing of it is logged. */
  #committed(life: MachineLife): void {
    const how = this.#crash
    if (how === undefined || !this.isAlive(life)) return
    this.world.tally.add('crash between COMMIT and append')
    this.end(how)
    throw new UnderstudyError('STORAGE_FAILED', 'The process died between COMMIT and append.')
  }

  /** The first policy, another one of the list, or none, so that the log's goes on. */
  #acksOfStart(log: Log): { readonly acks?: AckPolicy } {
    const { acks, ackChanges } = this.world.shape
    if (acks === undefined) return {}
    if (ackChanges === undefined || log.end.lsn === 0) return { acks }
    if (ackStateOf(log).to !== undefined) this.world.tally.add('started in the middle of a change')
    return { acks: { ...acks, of: undefined, ...this.random.pick([acks, ...ackChanges]) } as AckPolicy }
  }

  #changeAcksLater(life: MachineLife, pipeline: Pipeline): void {
    const { ackChanges, changeAcksMs, acks } = this.world.shape
    if (ackChanges === undefined || changeAcksMs === undefined) return
    life.clock.schedule(drawSpan(this.random, changeAcksMs), () => {
      if (!this.isAlive(life) || this.keepsFormat) return
      const next = { ...acks, of: undefined, ...this.random.pick(ackChanges) } as AckPolicy
      const again = (): void => this.#changeAcksLater(life, pipeline)
      pipeline.changeAcks(next).then(again, (error: unknown) => {
        if (!this.isAlive(life) || pipeline.failure !== undefined) return
        if (!ORDINARY.some((code) => isUnderstudyError(error, code)))
          return this.world.broken('I14', `the ack rule could not be changed: ${describe(error)}`)
        again()
      })
    })
  }

  #switchLater(life: MachineLife, pipeline: Pipeline, formats: readonly Format[]): void {
    life.clock.schedule(drawSpan(this.random, this.world.shape.switchMs), () => {
      if (!this.isAlive(life) || this.keepsFormat) return
      const next = this.random.pick(formats)
      pipeline.switchFormat(next).then(
        (point) => {
          if (!this.isAlive(life)) return
          this.world.tally.add('format switched')
          this.world.note(`switched to ${next.name} at ${point.lsn}`)
          this.#switchLater(life, pipeline, formats)
        },
        (error: unknown) => {
          if (!this.isAlive(life) || pipeline.failure !== undefined) return
          if (ORDINARY.some((code) => isUnderstudyError(error, code)))
            return this.#switchLater(life, pipeline, formats)
          this.world.broken('I14', `the format could not be switched: ${describe(error)}`)
        },
      )
    })
  }

  /** A marker: the node shows this position and nothing later. */
  marker(life: MachineLife, data: NodeData, point: LogPoint): void {
    if (!this.isAlive(life)) return
    const { world } = this
    world.check(() => {
      world.history.ingest(data.log)
      expectMarker(this, data, point)
    })
  }

  /** A receipt was handed out. */
  expectAnswered(data: NodeData, receipt: Receipt, key: string, value: string, own?: AckRule): void {
    const { world } = this
    const { lsn } = receipt.position
    if (data.log.durable < lsn)
      world.broken('W1', `a write was answered at LSN ${lsn}, durable is ${data.log.durable}`)
    if (data.log.failure !== undefined) world.broken('I14', `a write was answered by a log that failed`)
    if (data.storage.get(key) !== value)
      world.broken('I1', `an acknowledged write is not shown by its leader`)
    world.acks.answered(receipt, own)
    world.exposure.answered(receipt)
  }

  #durable({ log, storage }: NodeData, point: LogPoint, isShown: boolean): void {
    const { world } = this
    world.check(() => {
      if (log.durable < point.lsn)
        world.broken('W1', `LSN ${point.lsn} was called durable, the log says ${log.durable}`)
      world.history.ingest(log)
      if (isShown && storage.applied.lsn !== point.lsn)
        world.broken('I10', `the leader shows LSN ${storage.applied.lsn} after it committed ${point.lsn}`)
    })
  }

  #followers(life: MachineLife, { log }: NodeData, pipeline: Pipeline): Followers {
    const { formats, shape } = this.world
    return new Followers({
      log,
      cluster: CLUSTER,
      node: LEADER,
      clock: life.clock,
      formats: formats.all.map(({ id, version }) => ({ id, version })),
      highWatermark: () => pipeline.highWatermark,
      onProgress: (name, progress) => {
        if (this.isAlive(life)) pipeline.follower(name, progress)
      },
      isAwaited: (name) => pipeline.awaits(name),
      syncState: (name) => pipeline.syncState(name),
      limits: shape.link,
      onMustStopLeading: (error: UnderstudyError) => {
        if (this.isAlive(life))
          this.world.broken('I3', `the leader had to stop: ${error.code} ${error.message}`)
      },
      onFollower: (event) => {
        if (!this.isAlive(life)) return
        if (event.kind === 'changed') return
        this.world.note(
          `${event.kind} ${event.name} ${event.kind === 'joined' ? event.decision.kind : (event.error?.code ?? '')}`,
        )
        if (event.kind === 'left' && event.error?.code === 'PEER_SILENT')
          this.world.tally.add('peer found silent')
      },
    })
  }

  #snapshots(
    life: MachineLife,
    { log, storage, checkpointer }: NodeData,
    followers: Followers,
  ): SnapshotServer {
    const { keepMs, chunkBytes, windowBytes, bytesPerSecondMax } = this.world.shape.snapshot
    return createSnapshotServer({
      openSnapshot: async () => {
        await checkpointer.run()
        return storage.snapshot()
      },
      history: () => log.history,
      applied: () => storage.applied,
      reserveSlot: (follower, lsn) => void log.slots.reserve(follower, lsn),
      releaseSlot: (follower, lsn) => {
        const isConnected = followers.status().some(({ name }) => name === follower)
        if (!isConnected && log.slots.get(follower)?.lsn === lsn) log.slots.drop(follower)
      },
      clock: life.clock,
      random: life.random,
      heartbeatMs: this.world.shape.link.heartbeatMs,
      deadlineMs: this.world.shape.link.deadlineMs,
      keepMs,
      chunkBytes,
      windowBytes,
      bytesPerSecondMax,
    })
  }

  async #listen(life: MachineLife, followers: Followers, snapshots: SnapshotServer): Promise<void> {
    await life.transport.listen(`sim://${LEADER}`, (channel) => {
      const connection = new Connection(channel, life.clock)
      connection.next({ timeoutMs: 5000 }).then(
        (message) => {
          if (!this.isAlive(life)) return
          if (message.type !== 'hello')
            return this.world.broken('I3', `a ${message.type} came before the Hello`)
          connection.frameBytesMax = LIMITS.frameBytesMax
          if (message.purpose === 'snapshot') this.#serveSnapshot(connection, message, snapshots)
          else followers.accept(connection, message)
        },
        () => connection.close(),
      )
    })
  }

  #serveSnapshot(connection: Connection, hello: Hello, snapshots: SnapshotServer): void {
    const { heartbeatMs, deadlineMs } = this.world.shape.link
    connection.send({
      type: 'welcome',
      version: negotiateVersion(hello),
      cluster: CLUSTER,
      node: LEADER,
      history: [],
      end: { epoch: 0, lsn: 0, crc: 0 },
      verdict: { kind: 'continue', from: 1 },
      heartbeatMs,
      deadlineMs,
    })
    void snapshots.serve(connection, hello)
  }
}

export function expectMarker(host: Host, { storage }: NodeData, point: LogPoint): void {
  const { tally, history } = host.world
  tally.add('marker seen')
  if (storage.applied.lsn !== point.lsn)
    host.world.broken('I5', `${host.name} shows LSN ${storage.applied.lsn} at the marker ${point.lsn}`)
  history.expectState(`${host.name} at a marker`, storage)
}
