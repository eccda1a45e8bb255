/** A node that follows, life after life: what `node` composes for a follower, bootstraps included, over the storage in memory. */
import {
  FLAG_CONTINUES,
  isUnderstudyError,
  LOCAL_SLOT,
  type ErrorCode,
  type UnderstudyError,
} from '@understudy/contracts'
import { receiveSnapshot } from '@understudy/bootstrap'
import { Connection, LIMITS } from '@understudy/protocol'
import { followLeader, redo, shownUpTo, type Following, type ReceiverState } from '@understudy/replication'
import type { MachineLife, MemoryConnection, MemoryTransaction } from '@understudy/testkit'
import { describe, Host, type NodeData } from './host.ts'
import { expectMarker } from './leader.ts'
import { CLUSTER, LEADER } from './world.ts'

/** Ends of a connection that a crash, a cut or a slot may cause. Any other says that one side found the other wrong. */
const ORDINARY: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CONNECT_FAILED',
  'CONNECTION_LOST',
  'TIMEOUT',
  'PEER_SILENT',
  'SNAPSHOT_REQUIRED',
  'SNAPSHOT_ENDED',
  'SLOT_LOST',
  'LOG_FAILED',
  'OVERLOADED',
  'CLOSED',
])

export class FollowerHost extends Host {
  following: Following | undefined
  phase: ReceiverState | 'bootstrapping' | 'down' = 'down'
  /** Why it needs a snapshot: a record of pages that its own are none for, not a log that no longer reaches back. */
  #isAtBase = false

  protected override ended(): void {
    if (this.phase === 'bootstrapping') this.world.tally.add('crash during bootstrap')
    this.following = undefined
    this.#isAtBase = false
    this.phase = 'down'
  }

  /** A bootstrap that found no leader for long enough gives up; its supervisor starts it again. */
  protected override isOrdinary(error: unknown): boolean {
    return this.phase === 'bootstrapping' && isUnderstudyError(error) && ORDINARY.has(error.code)
  }

  protected override async run(life: MachineLife): Promise<void> {
    while (this.isAlive(life)) {
      if (this.readGeneration() === 0) await this.#bootstrap(life)
      if (!this.isAlive(life)) return
      const reason = await this.#follow(life)
      if (reason !== 'snapshotRequired' || !this.isAlive(life)) return
      const isAtBase = this.#isAtBase
      this.#isAtBase = false
      this.world.tally.add(isAtBase ? 'follower at a base needs a snapshot' : 'slot lost')
      await this.#leave()
      if (!this.isAlive(life)) return
      await this.#bootstrap(life)
      this.world.tally.add(isAtBase ? 'bootstrap after a base' : 'bootstrap after a lost slot')
    }
  }

  async #bootstrap(life: MachineLife): Promise<void> {
    const { world } = this
    const { shape, tally } = world
    this.phase = 'bootstrapping'
    const current = this.readGeneration()
    const seed = current === 0 ? undefined : this.paths(current).database
    const paths = this.paths(current + 1)
    life.files.makeDirectory(paths.directory)
    let isResumed = false
    const { point, history, resumedBytes } = await receiveSnapshot({
      dial: (signal) => this.#dial(life, signal),
      node: this.name,
      cluster: current === 0 ? '' : CLUSTER,
      files: life.files,
      target: paths.database,
      ...(seed !== undefined && life.files.exists(seed) && { seed }),
      onProgress: ({ resumed, receivedBytes }) => {
        isResumed ||= resumed && receivedBytes > 0
      },
      onRetry: (error) => this.#ended(life, error),
      flushBytes: shape.snapshot.flushBytes,
      clock: life.clock,
      random: life.random,
    })
    if (!this.isAlive(life)) return
    if (isResumed || resumedBytes > 0) tally.add('snapshot resumed')
    const log = this.openLog(life, paths, 0)
    try {
      log.resetTo(point, history)
      log.slots.reserve(LOCAL_SLOT, point.lsn)
    } finally {
      await log.close()
    }
    if (!this.isAlive(life)) return
    this.syncNames(life, paths)
    this.writeGeneration(life, current + 1)
    world.acks.begunAnew(this.name)
    world.note(`bootstrapped ${this.name} at ${point.lsn}`)
  }

  async #follow(life: MachineLife): Promise<ReceiverState> {
    const { world } = this
    const { formats, shape } = world
    const generation = this.readGeneration()
    const data = this.openData(life, generation)
    const { log, storage } = data
    const defer = (run: () => void): void => void life.clock.schedule(0, run)
    await log.sync()
    try {
      const { batches } = await redo({
        log,
        storage,
        formats: formats.all,
        clock: life.clock,
        upTo: this.#shownUpTo(data),
        limits: shape.apply,
        defer,
      })
      if (batches > 0 && this.isAlive(life)) world.tally.add('follower restarted with redo')
    } catch (error) {
      if (!isUnderstudyError(error, 'SNAPSHOT_REQUIRED')) throw error
      this.#isAtBase = true
      return 'snapshotRequired'
    }
    if (!this.isAlive(life)) return 'stopped'
    const { promise, resolve } = Promise.withResolvers<ReceiverState>()
    this.following = followLeader<MemoryConnection, MemoryTransaction>({
      dial: (signal) => {
        this.#noteUnfinished(data)
        return this.#dial(life, signal)
      },
      log,
      storage,
      formats: formats.all,
      node: this.name,
      cluster: CLUSTER,
      clock: life.clock,
      random: life.random,
      link: shape.link,
      backoff: { firstMs: 20, lastMs: 1000 },
      applyLimits: shape.apply,
      defer,
      onMarker: (point) => {
        if (this.isAlive(life)) world.check(() => expectMarker(this, data, point))
      },
      onState: (state, error) => {
        if (!this.isAlive(life)) return
        this.phase = state
        world.note(`${this.name} ${state} ${error?.code ?? ''}`)
        if (state === 'streaming') this.removeOthers(generation)
        this.#entered(life, state, error)
        if (state === 'snapshotRequired') resolve(state)
      },
    })
    return promise
  }

  #entered(life: MachineLife, state: ReceiverState, error: UnderstudyError | undefined): void {
    const { world } = this
    if (state === 'diverged') world.broken('I10', `${this.name} diverged: ${describe(error)}`)
    if (state === 'stopped') this.failed(life, error)
    if (state === 'snapshotRequired' && error?.code !== 'SNAPSHOT_REQUIRED')
      world.broken('I3', `${this.name} was found ahead of its leader: ${describe(error)}`)
    // Only a record that could not be applied has a position.
    if (state === 'snapshotRequired') this.#isAtBase = error?.position !== undefined
    if (state === 'disconnected' && error !== undefined) this.#ended(life, error)
  }

  /** A connection ended. */
  #ended(life: MachineLife, error: UnderstudyError): void {
    if (!this.isAlive(life)) return
    this.world.note(`${this.name} lost its leader: ${error.code}`)
    if (error.code === 'PEER_SILENT') this.world.tally.add('peer found silent')
    if (!ORDINARY.has(error.code))
      this.world.broken('I3', `${this.name} and its leader disagree: ${describe(error)}`)
  }

  #noteUnfinished({ log }: NodeData): void {
    const { lsn } = log.end
    if (lsn < log.first) return
    for (const { flags } of log.records(lsn, lsn)) {
      if ((flags & FLAG_CONTINUES) !== 0) this.world.tally.add('reconnected inside a transaction')
    }
  }

  /** What may lack acks is shown only once the leader says so. */
  #shownUpTo({ log, storage }: NodeData): number {
    const shown = shownUpTo(log)
    if (shown < log.durable && shown > storage.applied.lsn - 1)
      this.world.tally.add('end of the log hidden on a follower')
    return shown
  }

  async #leave(): Promise<void> {
    const { following, data } = this
    this.noteEver()
    this.following = undefined
    this.data = undefined
    await following?.close()
    await data?.checkpointer.close()
    await data?.storage.close()
    await data?.log.close()
  }

  async #dial(life: MachineLife, signal: AbortSignal | undefined): Promise<Connection> {
    const channel = await life.transport.connect(`sim://${LEADER}`, {
      frameBytesMax: LIMITS.frameBytesMax,
      timeoutMs: 2000,
      ...(signal && { signal }),
    })
    return new Connection(channel, life.clock)
  }
}
