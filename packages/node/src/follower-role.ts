/**
 * A node that follows: bootstrap when there is nothing to go on with, redo, then the leader's stream; again from the
 * start when the leader's log no longer reaches back.
 *
 * Decides: when a snapshot is needed and when the data of a directory changes generations. While a snapshot is being
 * received there is no data to read; reads wait. The older generation is kept until the newer one streams. Leaves to others: whom it
 * follows, where the leader may change (host).
 *
 * 1. The first snapshot of a start is given up when `receiveSnapshot` gives up, so that a start ends. A node that has
 *    served data goes on asking for a snapshot until it is closed: its leader may be away for long.
 * 2. A log that is damaged below what was synced is not guessed about: the generation is kept, with a note of what was
 *    found, and a snapshot of the leader takes its place. Only a leader has nobody to get it from.
 * 3. A former leader that rejoins is read from only once its leader said what they have in common, and what it alone had is kept
 *    and undone. Its data is replaced by a snapshot only if what it alone had was kept, or a person said so.
 * 4. `close` ends every phase: dialling, a snapshot, redo, streaming. What was received is kept for the next start.
 * 5. Where the leader may change, the node is read from at any time that it has data, also as a former leader: what it shows may be old.
 * 6. Frozen, nothing enters its log. A snapshot goes on meanwhile, and is looked at only after.
 */
import {
  LOCAL_SLOT,
  ORIGIN,
  UnderstudyError,
  isUnderstudyError,
  comparePositions,
  type ErrorCode,
  type LogPoint,
  type Position,
} from '@understudy/contracts'
import {
  assertReplaceable,
  receiveSnapshot,
  type ReceivedSnapshot,
  type SnapshotProgress,
} from '@understudy/bootstrap'
import type { Connection } from '@understudy/protocol'
import {
  followLeader,
  redo,
  rewindUnlogged,
  shownUpTo,
  type FollowFence,
  type LeaderClaim,
  type Following,
  type ReceiverState,
} from '@understudy/replication'
import { checkReceived } from '@understudy/sqlite'
import type { FrozenViews } from './frozen-views.ts'
import { idleFollowing, type IdleFollowing } from './idle-following.ts'
import { keepLostRows, keepLostTail } from './lost-tails.ts'
import { generationPaths, noteDamage, removeOtherGenerations } from './layout.ts'
import { openNodeData, openNodeLog, type NodeData } from './node-data.ts'
import { dialNode } from './dial-node.ts'
import type { Settings } from './options.ts'
import { RuleKeeper } from './rule-keeper.ts'
import { writeNodeState, type NodeState } from './state-file.ts'
import { Turns } from './turns.ts'

/** What a follower is doing. `waiting`: it knows no leader. `frozen`: it takes nothing while another leader is chosen. */
export type FollowerPhase = ReceiverState | 'bootstrapping' | 'waiting' | 'frozen'

/** Whom it follows. */
export interface FollowedLeader {
  readonly address: string
  readonly name?: string
}

export interface FollowerStart {
  readonly state: NodeState
  /** What is open already, of this node as a leader. */
  readonly data?: NodeData
  /** Absent: it follows the leader of the settings, for good. */
  readonly fence?: FollowFence
}

/** A snapshot in progress. */
export interface SnapshotReport {
  /** `undefined` before the first bytes. */
  readonly progress: SnapshotProgress | undefined
  /** Why the last attempt ended, until another one gets on. */
  readonly lastError: UnderstudyError | undefined
}

/** What a follower can serve at the moment. */
export interface FollowerView {
  readonly data: NodeData
  readonly following: Following
}

export class FollowerRole {
  readonly #settings: Settings
  readonly #views: FrozenViews
  readonly #failed: (error: UnderstudyError) => void
  readonly #fence: FollowFence | undefined
  readonly #abort = new AbortController()
  readonly #turns = new Turns()
  #state: NodeState
  #leader: FollowedLeader | undefined
  #leaderEpoch = 0
  #leaderEnd: Position = { epoch: 0, lsn: 0 }
  #isFrozen = false
  #data: NodeData | undefined
  #view: FollowerView | undefined
  #applied: LogPoint = ORIGIN
  #hasServed = false
  /** What this node alone had is in a file of its own. */
  #isTailKept = false
  /** What there is cannot be gone on with. */
  #isSnapshotRequired = false
  /** A snapshot came, and was not opened yet. */
  #isFresh = false
  #damage: UnderstudyError | undefined
  /** The data is somebody else's now. */
  #isReleased = false
  #arrived: PromiseWithResolvers<FollowerView> = expected()
  #phase: FollowerPhase
  #snapshot: SnapshotReport = { progress: undefined, lastError: undefined }
  #running: Promise<void> | undefined

  constructor(
    { state, data, fence }: FollowerStart,
    views: FrozenViews,
    settings: Settings,
    failed: (error: UnderstudyError) => void,
  ) {
    this.#state = state
    this.#views = views
    this.#settings = settings
    this.#failed = failed
    this.#fence = fence
    if (fence === undefined) this.#leader = { address: settings.leader as string }
    this.#phase = this.#needsSnapshot ? 'bootstrapping' : this.#restingPhase
    if (data !== undefined) this.#opened(data)
  }

  get cluster(): string {
    return this.#state.cluster
  }

  get state(): NodeState {
    return this.#state
  }

  get phase(): FollowerPhase {
    return this.#phase
  }

  get isFrozen(): boolean {
    return this.#isFrozen
  }

  /** Address of the leader that it follows. */
  get leader(): string | undefined {
    return this.#leader?.address
  }

  /** Its name, where a member was told whom to follow. */
  get leaderName(): string | undefined {
    return this.#leader?.name
  }

  /** The furthest end of a leader's log that it heard of, in this process. */
  get leaderEnd(): Position {
    this.#noteLeaderEnd()
    return this.#leaderEnd
  }

  /** Its log is damaged, or lacks what the one before it may have acknowledged. */
  get mayLack(): boolean {
    return this.#damage !== undefined || this.#state.owes === true
  }

  /** How the snapshot in progress goes; `undefined` when none is needed. */
  get snapshot(): SnapshotReport | undefined {
    return this.#phase === 'bootstrapping' ? this.#snapshot : undefined
  }

  /** What readers saw last, while there is no view. */
  get applied(): LogPoint {
    return this.#applied
  }

  /** What can be served now, if anything. */
  get view(): FollowerView | undefined {
    return this.#isServed ? this.#view : undefined
  }

  /** Resolves once there is data to serve; rejects when following ended without. */
  get arrived(): Promise<FollowerView> {
    return this.#arrived.promise
  }

  /** Begins; resolves with the first data. */
  async start(): Promise<void> {
    void this.begin()
    await this.#arrived.promise
  }

  /** Begins; resolves once it knows what it has, which may be nothing. */
  async begin(): Promise<void> {
    const begun = this.#turns.change('stream')
    this.#running = this.#run().catch((error: unknown) => this.#end(error))
    void this.#running.finally(() => this.#turns.end())
    await begun
  }

  async close(): Promise<void> {
    this.#abort.abort()
    void this.#turns.change('all')
    this.#arrived.reject(closed())
    await this.#running
    if (!this.#isReleased) await this.#leaveData()
  }

  // Another leader

  /** Nothing enters the log from when it resolves on, and what is in it is durable. */
  async freeze(): Promise<void> {
    this.#isFrozen = true
    await this.#turns.change('stream')
    await this.#data?.log.sync()
  }

  /** It follows again whom it followed before. */
  thaw(): void {
    this.#isFrozen = false
    void this.#turns.change('stream')
  }

  /** Follows this leader from now on, or nobody. Resolves once it tries to. */
  async follow(leader: FollowedLeader | undefined): Promise<void> {
    const isOther = leader?.address !== this.#leader?.address
    this.#leader = leader
    this.#isFrozen = false
    await this.#turns.change(isOther ? 'all' : 'stream')
  }

  /** Its position moved by another hand. */
  tell(): void {
    const following = this.#view?.following
    if (following !== undefined && 'tell' in following) (following as IdleFollowing).tell()
  }

  /** The data holds from now on what no other node may have; durable when it returns. */
  willLead(): void {
    const { owes: _, ...state } = this.#state
    if (!state.led) this.#keepState({ ...state, led: true })
  }

  /** Following is over; the data stays open and is the caller's, as soon as readers find it there. Of a frozen role. */
  release(): NodeData {
    const data = this.#data as NodeData
    this.#isReleased = true
    this.#abort.abort()
    void this.#turns.change('all')
    return data
  }

  /** After a release: readers that wait go on elsewhere. */
  async letGo(): Promise<void> {
    await this.#running
    await this.#view?.following.close()
  }

  get #restingPhase(): FollowerPhase {
    if (this.#isFrozen) return 'frozen'
    return this.#leader === undefined ? 'waiting' : 'disconnected'
  }

  /** Where the leader may change, what there is can be read at any time. */
  get #isServed(): boolean {
    return this.#fence !== undefined || !this.#state.led
  }

  /** A former leader's data is followed on only when it rejoins. */
  get #needsSnapshot(): boolean {
    const { generation, led } = this.#state
    const mayRejoin = this.#fence !== undefined || this.#settings.rejoin === true
    return this.#isSnapshotRequired || generation === 0 || (led && !mayRejoin)
  }

  async #run(): Promise<void> {
    while (!this.#abort.signal.aborted) {
      const reason = await this.#next().catch((error: unknown) => this.#setAside(error))
      this.#turns.leave()
      if (reason === 'snapshotRequired') {
        this.#isSnapshotRequired = true
        await this.#leaveData()
      } else if (reason !== 'on') return
    }
  }

  /** One thing of all that a follower does. `on`: there is more to do. */
  async #next(): Promise<ReceiverState | 'on'> {
    const data = this.#data
    const leader = this.#isFrozen ? undefined : this.#leader
    if (this.#needsSnapshot) {
      this.#phase = 'bootstrapping'
      if (leader === undefined) await this.#turns.rest()
      else await this.#bootstrap(leader, this.#turns.enter('snapshot'))
    } else if (data === undefined) {
      // What a snapshot brought counts once the log may change.
      if (this.#isFresh && this.#isFrozen) await this.#turns.rest()
      else this.#opened(await this.#open())
    } else if (leader === undefined) {
      this.#phase = this.#restingPhase
      await this.#turns.rest()
    } else return this.#receive(data, leader, this.#turns.enter('other'))
    return 'on'
  }

  /**
   * Keeps a generation whose log is damaged, so that the next one comes from the leader; so does one whose file is not
   * the leader's page by page where it must be. Throws every other error on.
   */
  #setAside(error: unknown): ReceiverState {
    if (isUnderstudyError(error, 'SNAPSHOT_REQUIRED')) return 'snapshotRequired'
    if (!isUnderstudyError(error) || !DAMAGES.has(error.code)) throw error
    const { files, directory, emit } = this.#settings
    noteDamage(files, generationPaths(directory, this.#state.generation), `${error.code} ${error.message}`)
    this.#damage = error
    emit({ kind: 'damaged', error })
    return 'snapshotRequired'
  }

  #end(error: unknown): void {
    if (this.#abort.signal.aborted) return
    const known = isUnderstudyError(error)
      ? error
      : new UnderstudyError(
          'STORAGE_FAILED',
          'Following ended for a reason nobody foresaw; what was applied is kept. Restart the node.',
          { cause: error },
        )
    this.#arrived.reject(known)
    this.#failed(known)
  }

  /** Opens the current generation, with what its log proves applied. */
  async #open(): Promise<NodeData> {
    const { directory } = this.#settings
    const paths = generationPaths(directory, this.#state.generation)
    const data = await openNodeData(paths, this.#settings, this.#failed)
    try {
      await data.log.sync()
      await this.#redo(data)
      this.#abort.signal.throwIfAborted()
      return data
    } catch (error) {
      await data.close()
      throw error
    }
  }

  #opened(data: NodeData): void {
    this.#data = data
    this.#isFresh = false
    if (this.#fence === undefined) return
    data.checkpointer.keepsFrom = new RuleKeeper(data.log).keepsFrom
    this.#arrive(this.#rest(data))
  }

  /** Readers have what there is. */
  #rest({ log, storage }: NodeData): FollowerView {
    const before = this.#view?.following.report()
    const following = idleFollowing(log, storage, this.#settings.clock, before)
    return (this.#view = { data: this.#data as NodeData, following })
  }

  /** Receives from this leader until that ends for good, or something else is wanted. */
  async #receive(data: NodeData, leader: FollowedLeader, signal: AbortSignal): Promise<ReceiverState | 'on'> {
    this.#phase = 'disconnected'
    const over = Promise.withResolvers<ReceiverState | 'on'>()
    const resting = this.#view?.following
    const following = this.#followLeader(data, leader, over.resolve)
    this.#view = { data, following }
    if (this.#isServed) this.#arrive(this.#view)
    await resting?.close()
    signal.addEventListener('abort', () => over.resolve('on'), { once: true })
    if (signal.aborted) over.resolve('on')
    const reason = await over.promise
    if (reason !== 'on') return reason
    this.#noteLeaderEnd()
    if (this.#fence !== undefined) this.#rest(data)
    await following.close()
    return reason
  }

  #arrive(view: FollowerView): void {
    this.#hasServed = true
    this.#arrived.resolve(view)
  }

  /** The leader said what they have in common, and nothing above it is left: from now on this is a follower's directory. */
  #rejoined(): void {
    this.#keepState({ ...this.#state, led: false })
    if (this.#view !== undefined) this.#arrive(this.#view)
  }

  /** All that the leader had when the connection began is here. */
  #hasAll(): void {
    if (this.#state.owes === true) {
      const { owes: _, ...state } = this.#state
      this.#keepState(state)
    }
    this.#removeOldGenerations()
  }

  #keepState(state: NodeState): void {
    writeNodeState(this.#settings.files, this.#settings.directory, state)
    this.#state = state
  }

  async #redo({ log, storage }: NodeData): Promise<void> {
    const { allFormats, clock, emit } = this.#settings
    const options = {
      log,
      storage,
      formats: allFormats,
      clock,
      // What may lack acks the leader says: it is shown once records flow.
      upTo: shownUpTo(log),
      onProgress: (applied: LogPoint, upTo: number) => {
        emit({ kind: 'redo', applied, upTo })
        // A throw between two batches ends redo; what was applied is kept.
        this.#abort.signal.throwIfAborted()
      },
    }
    await redo(options)
    // A leader would log it now; a follower's log is what its leader has.
    if (rewindUnlogged(log, storage)) await redo(options)
  }

  #followLeader(
    { log, storage }: NodeData,
    { address, name: leader }: FollowedLeader,
    over: (state: ReceiverState) => void,
  ): Following {
    const { allFormats, clock, random, name, emit, link, measures } = this.#settings
    const fence = this.#watchedFence()
    return followLeader({
      dial: (signal) => this.#dial(address, signal),
      log,
      storage,
      formats: allFormats,
      node: name,
      cluster: this.cluster,
      clock,
      random,
      measures,
      ...(link && { link }),
      ...(leader !== undefined && { leader }),
      ...(fence && { fence }),
      onMarker: (point: LogPoint) => this.#views.keep(point, () => storage.freeze()),
      onLosing: (common, end) => {
        keepLostTail(this.#settings, this.cluster, log, common, end)
        this.#isTailKept = true
      },
      onLostRows: (common, end, rows) => keepLostRows(this.#settings, common, end, rows),
      onState: (state, error) => {
        this.#phase = state
        emit({ kind: 'state', state, error })
        if (state === 'catchup' && this.#state.led) this.#rejoined()
        if (state === 'streaming') this.#hasAll()
        if (state === 'diverged' || state === 'stopped') {
          const reason = error ?? stoppedWithoutReason()
          this.#failed(reason)
          this.#arrived.reject(reason)
        }
        if (state === 'snapshotRequired' || state === 'diverged' || state === 'stopped') over(state)
      },
    })
  }

  /** The fence, and which epoch it let in. */
  #watchedFence(): FollowFence | undefined {
    const fence = this.#fence
    if (fence === undefined) return undefined
    return {
      mayAck: (epoch, runId) => fence.mayAck(epoch, runId),
      admit: async (leader: LeaderClaim) => {
        await fence.admit(leader)
        this.#leaderEpoch = leader.epoch
      },
      heard: (leader) => fence.heard(leader),
      lost: (leader, how) => fence.lost(leader, how),
    }
  }

  #noteLeaderEnd(): void {
    const { leaderLsn = 0 } = this.#view?.following.report() ?? {}
    const heard = { epoch: this.#leaderEpoch, lsn: leaderLsn }
    if (comparePositions(heard, this.#leaderEnd) > 0) this.#leaderEnd = heard
  }

  /** What cannot be removed now is removed at a later start. */
  #removeOldGenerations(): void {
    const { files, directory } = this.#settings
    try {
      removeOtherGenerations(files, directory, [this.#state.generation])
    } catch (error) {
      process.emitWarning(error instanceof Error ? error : new Error(String(error)))
    }
  }

  /** Builds the next generation from a snapshot, then switches to it in one step; nothing is changed when something else is wanted. */
  async #bootstrap(leader: FollowedLeader, signal: AbortSignal): Promise<void> {
    const { directory, files, name, emit, replaceLeader } = this.#settings
    this.#snapshot = { progress: undefined, lastError: undefined }
    const { generation, led } = this.#state
    assertReplaceable({
      directory,
      node: name,
      led,
      history: [],
      replaceLeader: replaceLeader === true || this.#isTailKept,
    })
    const paths = generationPaths(directory, generation + 1)
    files.makeDirectory(paths.directory)
    const received = await this.#receiveSnapshot(paths.database, leader, signal).catch((error: unknown) => {
      if (signal.aborted && !this.#abort.signal.aborted) return undefined
      throw error
    })
    if (received === undefined) return
    const { point, history, cluster, bytes, transferredBytes } = received
    const log = openNodeLog(paths, this.#settings, 0)
    try {
      log.resetTo(point, history)
      log.slots.reserve(LOCAL_SLOT, point.lsn)
    } finally {
      await log.close()
    }
    files.syncDirectory(paths.directory)
    files.syncDirectory(directory)
    // A snapshot shows what is acknowledged to its leader's knowledge; the log before may have held, and acknowledged, more.
    const owes = generation > 0 && this.#fence !== undefined
    this.#keepState({ cluster, node: name, generation: generation + 1, led: false, ...(owes && { owes }) })
    this.#isSnapshotRequired = false
    this.#damage = undefined
    this.#isFresh = true
    emit({ kind: 'bootstrapped', point, bytes, transferredBytes })
  }

  #receiveSnapshot(target: string, leader: FollowedLeader, signal: AbortSignal): Promise<ReceivedSnapshot> {
    const { directory, files, name, clock, random, emit, snapshotBytesPerSecondMax } = this.#settings
    const { generation } = this.#state
    const seed = generation === 0 ? undefined : generationPaths(directory, generation).database
    const isPatient = this.#hasServed || this.#fence !== undefined
    return receiveSnapshot({
      dial: (dialled) => this.#dial(leader.address, dialled ?? this.#abort.signal),
      node: name,
      cluster: this.cluster,
      files,
      target,
      ...(seed !== undefined && files.exists(seed) && { seed }),
      check: checkReceived,
      onProgress: (progress) => {
        this.#snapshot = { progress, lastError: undefined }
        emit({ kind: 'snapshot', progress })
      },
      onRetry: (error, delayMs) => {
        this.#snapshot = { ...this.#snapshot, lastError: error }
        emit({ kind: 'snapshotRetry', error, delayMs })
      },
      ...(snapshotBytesPerSecondMax !== undefined && { bytesPerSecondMax: snapshotBytesPerSecondMax }),
      ...(isPatient && { attemptsMax: Number.POSITIVE_INFINITY }),
      signal: AbortSignal.any([this.#abort.signal, signal]),
      clock,
      random,
    })
  }

  #dial(address: string, signal: AbortSignal): Promise<Connection> {
    return dialNode(this.#settings, address, AbortSignal.any([signal, this.#abort.signal]))
  }

  async #leaveData(): Promise<void> {
    const view = this.#view
    const data = this.#data
    if (data === undefined) return
    this.#noteLeaderEnd()
    this.#data = undefined
    this.#view = undefined
    // Nobody was given a view of a former leader's data: whoever waits goes on waiting.
    if (this.#isServed) this.#arrived = expected()
    await view?.following.close()
    this.#applied = data.storage.applied
    this.#views.close()
    await data.close()
  }
}

/** Damage of a log or of its state file, as opposed to a disk that fails now. */
const DAMAGES: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['LOG_CORRUPT', 'STATE_CORRUPT'])

/** Nobody may be waiting when it is rejected. */
function expected(): PromiseWithResolvers<FollowerView> {
  const arrived = Promise.withResolvers<FollowerView>()
  arrived.promise.catch(() => {})
  return arrived
}

function closed(): UnderstudyError {
  return new UnderstudyError('CLOSED', 'The node is closed. What it holds is kept; start it again to read.')
}

function stoppedWithoutReason(): UnderstudyError {
  return new UnderstudyError('CLOSED', 'Following was stopped; what was applied is kept and can be read.')
}
