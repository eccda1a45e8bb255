/**
 * `createNode`: one object with a role, composed of what the user hands in.
 *
 * Decides: the order in which things start and stop, which role does what. Leaves to others: everything else. Started:
 * lock, state file, data, role, listener. Stopped: listener, role, data, lock.
 */
import {
  LOCAL_SLOT,
  ORIGIN,
  UnderstudyError,
  randomId,
  type Listener,
  type LogPoint,
  type Position,
  type ReadTransaction,
  type RunResult,
  type Slot,
  type WriteTransaction,
} from '@understudy/contracts'
import type { TableDigest } from '@understudy/protocol'
import type { PositionToken, Statement, WriteOptions, WriteResult } from '@understudy/replication'
import { serveClient } from '@understudy/server'
import { importDatabase, lockDirectory, type DirectoryLock } from '@understudy/sqlite'
import { clientHandlers } from './client-handlers.ts'
import { FollowerRole } from './follower-role.ts'
import { FrozenViews } from './frozen-views.ts'
import { generationPaths, removeOtherGenerations } from './layout.ts'
import { notLeader, startLeading, type LeaderRole } from './leader-role.ts'
import { acceptChannel, type Purposes } from './listener.ts'
import { openNodeData, type NodeData } from './node-data.ts'
import { resolveOptions, type NodeOptions, type Role, type Settings } from './options.ts'
import { followingStatus, logStatus, type NodeStatus } from './status.ts'
import { readNodeState, writeNodeState, type NodeState } from './state-file.ts'

export interface ReadOptions {
  /** Read only once this node shows this position: a receipt's, for reading one's own writes. */
  readonly after?: PositionToken
  /** How long to wait for `after`, or for a first snapshot. Default 10,000. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export interface UnderstudyNode extends AsyncDisposable {
  readonly name: string
  readonly role: Role
  /** 16 hexadecimal digits. */
  readonly cluster: string
  /** Where it listens, with the real port. */
  readonly address: string | undefined
  /** What readers of this node see. */
  readonly applied: LogPoint
  /** Why the node stopped writing or following for good, if it did. */
  readonly failure: UnderstudyError | undefined
  /** Leader: a synchronous callback, run once; or a list of statements. Durable and visible when it resolves. */
  write<R>(body: (tx: WriteTransaction) => R, options?: WriteOptions): Promise<WriteResult<R>>
  write(statements: readonly Statement[], options?: WriteOptions): Promise<WriteResult<RunResult[]>>
  /** One consistent view of this node; the callback may be asynchronous. Never waits for other nodes. */
  read<R>(body: (tx: ReadTransaction) => R | Promise<R>, options?: ReadOptions): Promise<Awaited<R>>
  /** Leader: writes a marker, at which every node freezes a view for `digest`. */
  mark(): Promise<LogPoint>
  /** Digest of every table as of a marker; waits until it is applied here. */
  digest(at: Position, options?: ReadOptions): Promise<TableDigest[]>
  slots(): Slot[]
  /** Lets go of the log for a follower that will not come back. Throws `SLOT_UNKNOWN`, `INVALID_ARGUMENT` for the node's own. */
  dropSlot(name: string): void
  /** Checkpoints now, apart from the schedule. */
  checkpoint(): Promise<void>
  status(): NodeStatus
  close(): Promise<void>
}

/**
 * Starts a node. A leader resolves once it takes writes; a follower once it has data to read, which for an empty
 * directory means a whole snapshot (`onEvent` tells its progress). Nothing stays open when it rejects.
 */
export async function createNode(options: NodeOptions): Promise<UnderstudyNode> {
  const settings = resolveOptions(options)
  const lock = lockDirectory(settings.directory)
  const node = new ComposedNode(settings, lock)
  try {
    await node.start()
    return node
  } catch (error) {
    await node.close()
    throw error
  }
}

class ComposedNode implements UnderstudyNode {
  readonly name: string
  readonly role: Role
  readonly #settings: Settings
  readonly #lock: DirectoryLock
  readonly #views: FrozenViews
  #cluster = ''
  #data: NodeData | undefined
  #leading: LeaderRole | undefined
  #following: FollowerRole | undefined
  #listener: Listener | undefined
  #failure: UnderstudyError | undefined
  #closing: Promise<void> | undefined

  constructor(settings: Settings, lock: DirectoryLock) {
    this.name = settings.name
    this.role = settings.role
    this.#settings = settings
    this.#lock = lock
    this.#views = new FrozenViews(settings.clock)
  }

  get cluster(): string {
    return this.#following?.cluster ?? this.#cluster
  }

  get address(): string | undefined {
    return this.#listener?.address
  }

  get applied(): LogPoint {
    return this.#currentData?.storage.applied ?? ORIGIN
  }

  get failure(): UnderstudyError | undefined {
    return this.#failure
  }

  async start(): Promise<void> {
    const { files, directory } = this.#settings
    const state = readNodeState(files, directory)
    if (state !== undefined) this.#checkState(state)
    if (this.role === 'leader') await this.#startLeader(state)
    else await this.#startFollower(state)
  }

  write(
    body: ((tx: WriteTransaction) => unknown) | readonly Statement[],
    options?: WriteOptions,
  ): Promise<never> {
    const { leader } = this.#settings
    if (this.#leading === undefined) return Promise.reject(notLeader(this.name, leader, this.applied))
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const { pipeline } = this.#leading
    // The overloads are the pipeline's; here both kinds pass through unchanged.
    return pipeline.write(body as (tx: WriteTransaction) => unknown, options) as Promise<never>
  }

  async read<R>(
    body: (tx: ReadTransaction) => R | Promise<R>,
    options: ReadOptions = {},
  ): Promise<Awaited<R>> {
    const { storage } = await this.#dataAt(options)
    return storage.read(body)
  }

  mark(): Promise<LogPoint> {
    const { leader } = this.#settings
    return this.#leading?.pipeline.mark() ?? Promise.reject(notLeader(this.name, leader, this.applied))
  }

  async digest(at: Position, options: ReadOptions = {}): Promise<TableDigest[]> {
    await this.#dataAt({ ...options, after: at })
    return this.#views.digest(at, options.signal)
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
    this.#currentData?.log.slots.drop(name)
  }

  async checkpoint(): Promise<void> {
    await this.#currentData?.checkpointer.run()
  }

  status(): NodeStatus {
    const data = this.#currentData
    const view = this.#following?.view
    const failure = this.#failure && { code: this.#failure.code, message: this.#failure.message }
    const nothing = { epoch: 0, position: '0/0', durable: 0, log: { first: 0, end: '0/0', slots: [] } }
    return {
      node: this.name,
      cluster: this.cluster,
      role: this.role,
      state: failure === undefined ? (this.#following?.phase ?? 'leading') : 'failed',
      address: this.address,
      ...(data === undefined ? nothing : logStatus(data.log, data.storage.applied)),
      following: view && followingStatus(view.following.report(), this.#settings.leader),
      ...(this.#leading && { followers: this.#leading.followers(), snapshots: this.#leading.snapshots() }),
      failure,
      uncheckpointedBytes: data?.storage.uncheckpointedBytes ?? 0,
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  get #currentData(): NodeData | undefined {
    return this.#data ?? this.#following?.view?.data
  }

  async #startLeader(stored: NodeState | undefined): Promise<void> {
    const { files, directory, importFrom, format, random } = this.#settings
    if (stored !== undefined && importFrom !== undefined) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `${directory} holds the data of node ${stored.node} already; nothing was imported. Start without the import, or give an empty directory.`,
      )
    }
    const state = stored ?? { cluster: randomId(random), node: this.name, generation: 1, led: true }
    const paths = generationPaths(directory, state.generation)
    if (stored === undefined) {
      // What an interrupted first start left: without a state file nothing was ever acknowledged from it.
      removeOtherGenerations(files, directory, [])
      files.makeDirectory(paths.directory)
      if (importFrom !== undefined) await importDatabase({ from: importFrom, to: paths.database })
    }
    this.#cluster = state.cluster
    this.#data = await openNodeData(paths, this.#settings, (error) => this.#fail(error))
    if (stored === undefined) format.inspect?.(this.#data.storage.connection)
    writeNodeState(files, directory, { ...state, led: true })
    this.#leading = await startLeading(this.#data, state.cluster, this.#views, this.#settings, (error) =>
      this.#fail(error),
    )
    await this.#listen()
  }

  async #startFollower(stored: NodeState | undefined): Promise<void> {
    if (stored?.led === true && this.#settings.replaceLeader !== true) {
      throw new UnderstudyError(
        'DIRECTORY_OF_LEADER',
        `${this.#settings.directory} was a leader's and may hold commits that no other node has; nothing in it was changed. Start it with role 'leader', or keep a copy and use an empty directory for a follower.`,
        { directory: this.#settings.directory },
      )
    }
    this.#following = new FollowerRole(stored, this.#views, this.#settings, (error) => this.#fail(error))
    await this.#listen()
    await this.#following.start()
  }

  #checkState(state: NodeState): void {
    const { directory, role } = this.#settings
    if (state.node !== this.name) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `${directory} belongs to node ${state.node}, not to ${this.name}; nothing was changed. Use its name, or another directory.`,
      )
    }
    if (role === 'leader' && !state.led) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `${directory} belongs to a follower of cluster ${state.cluster}; starting it as a leader would part it from its cluster. Nothing was changed. Start it with the address of its leader.`,
      )
    }
  }

  async #listen(): Promise<void> {
    const { listen, transport, emit } = this.#settings
    if (listen === undefined) return
    const purposes = this.#purposes()
    this.#listener = await transport.listen(
      listen,
      (channel) => void acceptChannel(channel, purposes, this.#settings),
    )
    emit({ kind: 'listening', address: this.#listener.address })
  }

  #purposes(): Purposes {
    const { clock, leader } = this.#settings
    const node = this.name
    const leading = (): LeaderRole => {
      if (this.#leading === undefined) throw notLeader(node, leader, this.applied)
      if (this.#failure !== undefined) throw this.#failure
      return this.#leading
    }
    return {
      replicate: (connection, hello) => leading().acceptFollower(connection, hello),
      snapshot: (connection, hello) => leading().serveSnapshot(connection, hello),
      client: (connection, hello) => {
        const log = this.#currentData?.log
        const identity = { cluster: this.cluster, node, history: log?.history ?? [], end: log?.end ?? ORIGIN }
        serveClient(connection, hello, clientHandlers(this), { clock, identity })
      },
    }
  }

  /** The data of this node once it shows `after`. */
  async #dataAt({ after, timeoutMs, signal }: ReadOptions): Promise<NodeData> {
    if (this.#data !== undefined) {
      // A leader shows everything it acknowledged; a later position cannot be waited for here.
      if (after !== undefined && after.lsn > this.applied.lsn) {
        throw new UnderstudyError(
          'POSITION_LOST',
          `LSN ${after.lsn} is above everything this leader has written.`,
          {
            position: after,
          },
        )
      }
      return this.#data
    }
    if (this.#following === undefined) throw new UnderstudyError('CLOSED', `Node ${this.name} is closed.`)
    const { data, following } =
      this.#following.view ?? (await this.#withTimeout(this.#following.arrived, timeoutMs))
    if (after !== undefined) {
      await following.waitForApplied(after, {
        ...(timeoutMs !== undefined && { timeoutMs }),
        ...(signal && { signal }),
      })
    }
    return data
  }

  async #withTimeout<R>(awaited: Promise<R>, timeoutMs: number = 10_000): Promise<R> {
    const expired = Promise.withResolvers<never>()
    const timer = this.#settings.clock.schedule(timeoutMs, () =>
      expired.reject(
        new UnderstudyError(
          'TIMEOUT',
          `Node ${this.name} has no data to read yet: its snapshot is still on the way. Try again later.`,
        ),
      ),
    )
    try {
      return await Promise.race([awaited, expired.promise])
    } finally {
      timer.cancel()
    }
  }

  #fail(error: UnderstudyError): void {
    if (this.#failure !== undefined || this.#closing !== undefined) return
    this.#failure = error
    this.#leading?.stop(error)
    this.#settings.emit({ kind: 'failed', error })
  }

  async #close(): Promise<void> {
    await this.#leading?.close()
    await this.#following?.close()
    await this.#listener?.close()
    this.#views.close()
    await this.#data?.close()
    this.#data = undefined
    this.#lock.release()
  }
}
