/**
 * `createNode`: one object with a role, composed of what the user hands in.
 *
 * Decides: the order in which things start and stop, which role does what. Leaves to others: everything else.
 *
 * 1. Started: lock, state file, data, role, listener; a follower listens first, so that it can say how its snapshot goes.
 *    Stopped: role (queued writes are answered first), clients, listener, data, lock; what fails on the way does not keep
 *    the rest from being stopped.
 * 2. A start that fails leaves nothing open. The first start of a leader leaves no data either: nothing can have been
 *    acknowledged before it listens, and it returns only after that.
 * 3. `status` never throws, whatever the node is doing.
 */
import {
  LOCAL_SLOT,
  ORIGIN,
  UnderstudyError,
  type Exposure,
  type LogFormat,
  type LogPoint,
  type Position,
  type ReadTransaction,
  type ReceiptReference,
  type ReceiptVerdict,
  type Slot,
  type SqliteConnection,
  type WriteTransaction,
} from '@understudy/contracts'
import { type TableDigest, type TableRows } from '@understudy/protocol'
import {
  snapshotOf,
  type CommitMeasuresSnapshot,
  type Statement,
  type WriteOptions,
  type AckPolicy,
} from '@understudy/replication'
import { lockDirectory, type DirectoryLock } from '@understudy/sqlite'
import type { DigestOptions, ReadOptions, SetAcksOptions, UnderstudyNode } from './api.ts'
import { checkState, followerState, forgetBeginning, leaderState, prepareLeader } from './beginnings.ts'
import { Entrance } from './entrance.ts'
import type { EventsOptions, EventStream } from './events.ts'
import { exposureOf, type NodeExposureOptions } from './exposure.ts'
import { FollowerRole } from './follower-role.ts'
import { FrozenViews } from './frozen-views.ts'
import { noMember, notLeader, startLeading, type LeaderRole } from './leader-role.ts'
import { openNodeData, type NodeData } from './node-data.ts'
import {
  resolveOptions,
  startAborted,
  throwIfAborted,
  type NodeOptions,
  type Role,
  type Settings,
} from './options.ts'
import { closedError, unlessAborted, withData, type ReadSource } from './reads.ts'
import {
  bootstrapStatus,
  errorStatus,
  followingStatus,
  leadingStatus,
  logStatus,
  type NodeStatus,
} from './status.ts'
import { verdictAt } from './receipts.ts'
import { ownedElsewhere } from './sidecar.ts'
import { readNodeState, writeNodeState, type NodeState } from './state-file.ts'

/**
 * Starts a node. A leader resolves once it takes writes; a follower once it has data to read, which for an empty
 * directory means a whole snapshot (`onEvent` tells its progress). Nothing stays open when it rejects.
 */
export async function createNode(options: NodeOptions): Promise<UnderstudyNode> {
  const settings = resolveOptions(options)
  throwIfAborted(settings)
  const node = new ComposedNode(settings, lockDirectory(settings.directory))
  try {
    settings.observe?.(node)
    await node.start()
    return node
  } catch (error) {
    // What went wrong first is what the caller can mend.
    await node.close().catch(() => {})
    throw error
  }
}

class ComposedNode implements UnderstudyNode {
  readonly name: string
  readonly role: Role
  readonly #settings: Settings
  readonly #lock: DirectoryLock
  readonly #views: FrozenViews
  readonly #entrance: Entrance
  readonly #source: ReadSource
  #cluster = ''
  #data: NodeData | undefined
  #leading: LeaderRole | undefined
  #following: FollowerRole | undefined
  #failure: UnderstudyError | undefined
  #closing: Promise<void> | undefined
  /** A leader's first start, not yet finished. */
  #isBeginning = false

  constructor(settings: Settings, lock: DirectoryLock) {
    this.name = settings.name
    this.role = settings.role
    this.#settings = settings
    this.#lock = lock
    this.#views = new FrozenViews(settings.clock)
    this.#entrance = new Entrance(settings, {
      node: this,
      isClosing: () => this.#closing !== undefined,
      leading: () => this.#leadingOrThrow(),
      member: () => {
        throw noMember(this.name)
      },
      log: () => this.#currentData?.log,
    })
    this.#source = {
      name: settings.name,
      clock: settings.clock,
      isClosing: () => this.#closing !== undefined,
      data: () => this.#data,
      waiters: () => this.#leading?.waiters,
      following: () => this.#following,
    }
  }

  get cluster(): string {
    return this.#following?.cluster ?? this.#cluster
  }

  get address(): string | undefined {
    return this.#entrance.address
  }

  get applied(): LogPoint {
    return (this.#data ?? this.#following?.view?.data)?.storage.applied ?? this.#following?.applied ?? ORIGIN
  }

  get failure(): UnderstudyError | undefined {
    return this.#failure
  }

  async start(): Promise<void> {
    const { files, directory } = this.#settings
    const state = readNodeState(files, directory)
    if (state !== undefined) checkState(this.#settings, state)
    if (this.role === 'leader') await this.#startLeader(state)
    else await this.#startFollower(state)
  }

  write(
    body: ((tx: WriteTransaction) => unknown) | readonly Statement[],
    options?: WriteOptions,
  ): Promise<never> {
    const leading = this.#leadingOrError()
    if ('code' in leading) return Promise.reject(leading)
    const { sidecar } = this.#settings
    if (sidecar !== undefined) return Promise.reject(ownedElsewhere(sidecar))
    // The overloads are the pipeline's; here both kinds pass through unchanged.
    return leading.pipeline.write(body as (tx: WriteTransaction) => unknown, options) as Promise<never>
  }

  read<R>(body: (tx: ReadTransaction) => R | Promise<R>, options: ReadOptions = {}): Promise<Awaited<R>> {
    return withData<Awaited<R>>(this.#source, options, ({ storage }, began) =>
      storage.read(
        (tx) => {
          began()
          return body(tx)
        },
        { foreign: options.foreign === true },
      ),
    )
  }

  verdict(receipt: ReceiptReference): ReceiptVerdict {
    return verdictAt(this.#source, this.cluster, this.#leading?.pipeline.acknowledged, receipt)
  }

  async reach(...asked: Parameters<UnderstudyNode['reach']>): ReturnType<UnderstudyNode['reach']> {
    const leading = this.#leadingOrError()
    if ('code' in leading) throw leading
    return leading.pipeline.reach(...asked)
  }

  async mark(): Promise<LogPoint> {
    return this.#leadingOrThrow().mark()
  }

  async switchFormat(format: LogFormat<SqliteConnection> | string): Promise<LogPoint> {
    return this.#leadingOrThrow().switchFormat(format)
  }

  async setAcks(policy: Partial<AckPolicy> | string, options: SetAcksOptions = {}): Promise<LogPoint> {
    return this.#leadingOrThrow().setAcks(policy, options)
  }

  digest(at: Position, options: DigestOptions = {}): Promise<TableDigest[]> {
    return withData(this.#source, { ...options, after: at }, (_, began) => {
      began()
      return this.#views.digest(at, options)
    })
  }

  rows(at: Position, table: string, offset: number): TableRows {
    return this.#views.rows(at, table, offset)
  }

  release(at: Position): void {
    this.#views.release(at)
  }

  exposure(options?: NodeExposureOptions): Promise<Exposure> {
    return exposureOf(this.#source, () => this.#leading, options)
  }

  slots(): Slot[] {
    return this.#currentData?.log.slots.list() ?? []
  }

  dropSlot(name: string): void {
    if (name === LOCAL_SLOT) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `'${LOCAL_SLOT}' is what this node's own database needs after a crash; it was kept. Drop the slots of followers only.`,
      )
    }
    const data = this.#currentData
    if (data === undefined) {
      throw new UnderstudyError(
        'SLOT_UNKNOWN',
        `Node ${this.name} has no log at the moment, so no slot ${name}.`,
      )
    }
    data.log.slots.drop(name)
  }

  forget(name: string): void {
    const leading = this.#leadingOrError()
    if ('code' in leading) throw leading
    leading.forget(name)
  }

  measures(): CommitMeasuresSnapshot {
    return snapshotOf(this.#settings.measures)
  }

  events(options?: EventsOptions): EventStream {
    return this.#settings.events.stream(options)
  }

  async checkpoint(): Promise<void> {
    await this.#currentData?.checkpointer.run()
  }

  status(): NodeStatus {
    const { leader, credentials } = this.#settings
    const data = this.#currentData
    const view = this.#following?.view
    const snapshot = this.#following?.snapshot
    const nothing = { epoch: 0, position: '0/0', durable: 0, log: { first: 0, end: '0/0', slots: [] } }
    return {
      node: this.name,
      cluster: this.cluster,
      role: this.role,
      state: this.#state(),
      ...this.#entrance.status(),
      ...(data === undefined ? nothing : logStatus(data.log, data.storage.applied)),
      following: view && followingStatus(view.following.report(), leader),
      bootstrap: snapshot && bootstrapStatus(snapshot, leader),
      ...(this.#leading && data && leadingStatus(this.#leading, this.#settings)),
      failure: errorStatus(this.#failure),
      credentialsProblem: errorStatus(credentials?.problem),
      uncheckpointedBytes: uncheckpointedBytes(data),
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** What can be asked at the moment: nothing once the node is closing. */
  get #currentData(): NodeData | undefined {
    return this.#closing === undefined ? (this.#data ?? this.#following?.view?.data) : undefined
  }

  #state(): string {
    if (this.#closing !== undefined) return 'closed'
    if (this.#failure !== undefined) return 'failed'
    if (this.#following !== undefined) return this.#following.phase
    if (this.#leading === undefined) return 'starting'
    return this.#leading.pipeline.acks.recovering ? 'recovering' : 'leading'
  }

  async #startLeader(stored: NodeState | undefined): Promise<void> {
    const { files, directory, format } = this.#settings
    const { state, isFirst } = leaderState(this.#settings, stored)
    this.#cluster = state.cluster
    this.#isBeginning = isFirst
    const paths = await prepareLeader(this.#settings, state, isFirst)
    this.#data = await openNodeData(paths, this.#settings, (error) => this.#fail(error))
    if (isFirst) format.inspect?.(this.#data.storage.connection)
    writeNodeState(files, directory, { ...state, led: true })
    this.#leading = await startLeading(this.#data, state.cluster, this.#views, this.#settings, (error) =>
      this.#fail(error),
    )
    throwIfAborted(this.#settings)
    await this.#entrance.open()
    this.#isBeginning = false
  }

  async #startFollower(stored: NodeState | undefined): Promise<void> {
    const { name, signal } = this.#settings
    const state = followerState(this.#settings, stored)
    const following = new FollowerRole(state, this.#views, this.#settings, (error) => this.#fail(error))
    this.#following = following
    await this.#entrance.open()
    await unlessAborted(following.start(), signal, () => startAborted(name, signal))
  }

  #leadingOrThrow(): LeaderRole {
    const leading = this.#leadingOrError()
    if ('code' in leading) throw leading
    return leading
  }

  /** The leading part, or why this node takes no writes. */
  #leadingOrError(): LeaderRole | UnderstudyError {
    if (this.#closing !== undefined) return closedError(this.name)
    if (this.#leading === undefined) return notLeader(this.name, this.#settings.leader, this.applied)
    return this.#failure ?? this.#leading
  }

  #fail(error: UnderstudyError): void {
    if (this.#failure !== undefined || this.#closing !== undefined) return
    this.#failure = error
    this.#leading?.stop(error)
    this.#settings.emit({ kind: 'failed', error })
  }

  async #close(): Promise<void> {
    // The first turn belongs to the caller: `#closing` is set before anything is asked of this node again.
    await Promise.resolve()
    const steps: (() => unknown)[] = [
      () => this.#leading?.close(),
      () => this.#following?.close(),
      () => this.#entrance.endClients(),
      () => this.#entrance.close(),
      () => this.#views.close(),
      () => this.#data?.close(),
      () => this.#isBeginning && forgetBeginning(this.#settings),
      () => this.#lock.release(),
      () => this.#settings.events.close(),
    ]
    const errors: unknown[] = []
    for (const step of steps) {
      try {
        await step()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw errors[0]
  }
}

function uncheckpointedBytes(data: NodeData | undefined): number | undefined {
  try {
    return data?.storage.uncheckpointedBytes
  } catch {
    return undefined
  }
}
