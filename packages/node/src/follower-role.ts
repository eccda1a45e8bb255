/**
 * A node that follows: bootstrap when there is nothing to go on with, redo, then the leader's stream; again from the
 * start when the leader's log no longer reaches back.
 *
 * Decides: when a snapshot is needed and when the data of a directory changes generations. While a snapshot is being
 * received there is no data to read; reads wait. The older generation is kept until the newer one streams.
 *
 * 1. The first snapshot of a start is given up when `receiveSnapshot` gives up, so that a start ends. A node that has
 *    served data goes on asking for a snapshot until it is closed: its leader may be away for long.
 * 2. A log that is damaged below what was synced is not guessed about: the generation is kept, with a note of what was
 *    found, and a snapshot of the leader takes its place. Only a leader has nobody to get it from.
 * 3. A former leader that rejoins is read from only once its leader said what they have in common, and what it alone had is kept
 *    and undone. Its data is replaced by a snapshot only if what it alone had was kept, or a person said so.
 * 4. `close` ends every phase: dialling, a snapshot, redo, streaming. What was received is kept for the next start.
 */
import {
  LOCAL_SLOT,
  ORIGIN,
  UnderstudyError,
  isUnderstudyError,
  type ErrorCode,
  type LogPoint,
} from '@understudy/contracts'
import {
  assertReplaceable,
  receiveSnapshot,
  type ReceivedSnapshot,
  type SnapshotProgress,
} from '@understudy/bootstrap'
import { dial, type Connection } from '@understudy/protocol'
import { followLeader, redo, shownUpTo, type Following, type ReceiverState } from '@understudy/replication'
import { checkReceived } from '@understudy/sqlite'
import type { FrozenViews } from './frozen-views.ts'
import { keepLostTail } from './lost-tails.ts'
import { generationPaths, noteDamage, removeOtherGenerations } from './layout.ts'
import { openNodeData, openNodeLog, type NodeData } from './node-data.ts'
import { DIAL_TIMEOUT_MS, FRAME_BYTES_MAX, type Settings } from './options.ts'
import { writeNodeState, type NodeState } from './state-file.ts'

/** What a follower is doing. */
export type FollowerPhase = ReceiverState | 'bootstrapping'

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
  readonly #abort = new AbortController()
  #state: NodeState
  #view: FollowerView | undefined
  #applied: LogPoint = ORIGIN
  #hasServed = false
  /** What this node alone had is in a file of its own. */
  #isTailKept = false
  #arrived: PromiseWithResolvers<FollowerView> = expected()
  #phase: FollowerPhase
  #snapshot: SnapshotReport = { progress: undefined, lastError: undefined }
  #running: Promise<void> | undefined

  constructor(
    state: NodeState,
    views: FrozenViews,
    settings: Settings,
    failed: (error: UnderstudyError) => void,
  ) {
    this.#state = state
    this.#views = views
    this.#settings = settings
    this.#failed = failed
    this.#phase = this.#needsSnapshot ? 'bootstrapping' : 'disconnected'
  }

  get cluster(): string {
    return this.#state.cluster
  }

  get phase(): FollowerPhase {
    return this.#phase
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
    return this.#state.led ? undefined : this.#view
  }

  /** Resolves once there is data to serve; rejects when following ended without. */
  get arrived(): Promise<FollowerView> {
    return this.#arrived.promise
  }

  /** Begins; resolves with the first data. */
  async start(): Promise<void> {
    this.#running = this.#run().catch((error: unknown) => this.#end(error))
    await this.#arrived.promise
  }

  async close(): Promise<void> {
    this.#abort.abort()
    this.#arrived.reject(closed())
    await this.#running
    await this.#leaveView()
  }

  /** A former leader's data is followed on only when it rejoins. */
  get #needsSnapshot(): boolean {
    return this.#state.generation === 0 || (this.#state.led && this.#settings.rejoin !== true)
  }

  async #run(): Promise<void> {
    while (!this.#abort.signal.aborted) {
      if (this.#needsSnapshot) await this.#bootstrap()
      const reason = await this.#follow().catch((error: unknown) => this.#setAside(error))
      if (reason !== 'snapshotRequired') return
      await this.#leaveView()
      await this.#bootstrap()
    }
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

  /** Opens the current generation and follows until that ends for good. */
  async #follow(): Promise<ReceiverState> {
    const { directory } = this.#settings
    const { signal } = this.#abort
    this.#phase = 'disconnected'
    const paths = generationPaths(directory, this.#state.generation)
    const data = await openNodeData(paths, this.#settings, this.#failed)
    const over = Promise.withResolvers<ReceiverState>()
    try {
      await data.log.sync()
      await this.#redo(data)
      signal.throwIfAborted()
      const following = this.#followLeader(data, over.resolve)
      this.#view = { data, following }
    } catch (error) {
      await data.close()
      throw error
    }
    if (!this.#state.led) this.#arrive(this.#view)
    signal.addEventListener('abort', () => over.resolve('stopped'), { once: true })
    return over.promise
  }

  #arrive(view: FollowerView): void {
    this.#hasServed = true
    this.#arrived.resolve(view)
  }

  /** The leader said what they have in common, and nothing above it is left: from now on this is a follower's directory. */
  #rejoined(): void {
    const { files, directory } = this.#settings
    this.#state = { ...this.#state, led: false }
    writeNodeState(files, directory, this.#state)
    if (this.#view !== undefined) this.#arrive(this.#view)
  }

  async #redo({ log, storage }: NodeData): Promise<void> {
    const { allFormats, clock, emit } = this.#settings
    await redo({
      log,
      storage,
      formats: allFormats,
      clock,
      // What may lack acks the leader says: it is shown once records flow.
      upTo: shownUpTo(log),
      onProgress: (applied, upTo) => {
        emit({ kind: 'redo', applied, upTo })
        // A throw between two batches ends redo; what was applied is kept.
        this.#abort.signal.throwIfAborted()
      },
    })
  }

  #followLeader({ log, storage }: NodeData, over: (state: ReceiverState) => void): Following {
    const { allFormats, clock, random, name, emit, link, measures } = this.#settings
    return followLeader({
      dial: (signal) => this.#dial(signal),
      log,
      storage,
      formats: allFormats,
      node: name,
      cluster: this.cluster,
      clock,
      random,
      measures,
      ...(link && { link }),
      onMarker: (point: LogPoint) => this.#views.keep(point, () => storage.freeze()),
      onLosing: (common, end) => {
        keepLostTail(this.#settings, this.cluster, log, common, end)
        this.#isTailKept = true
      },
      onState: (state, error) => {
        this.#phase = state
        emit({ kind: 'state', state, error })
        if (state === 'catchup' && this.#state.led) this.#rejoined()
        if (state === 'streaming') this.#removeOldGenerations()
        if (state === 'diverged' || state === 'stopped') {
          const reason = error ?? stoppedWithoutReason()
          this.#failed(reason)
          this.#arrived.reject(reason)
        }
        if (state === 'snapshotRequired' || state === 'diverged' || state === 'stopped') over(state)
      },
    })
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

  /** Builds the next generation from a snapshot, then switches to it in one step. */
  async #bootstrap(): Promise<void> {
    const { directory, files, name, emit, replaceLeader } = this.#settings
    this.#phase = 'bootstrapping'
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
    const received = await this.#receive(paths.database)
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
    this.#state = { cluster, node: name, generation: generation + 1, led: false }
    writeNodeState(files, directory, this.#state)
    emit({ kind: 'bootstrapped', point, bytes, transferredBytes })
  }

  #receive(target: string): Promise<ReceivedSnapshot> {
    const { directory, files, name, clock, random, emit, snapshotBytesPerSecondMax } = this.#settings
    const { generation } = this.#state
    const seed = generation === 0 ? undefined : generationPaths(directory, generation).database
    return receiveSnapshot({
      dial: (signal) => this.#dial(signal ?? this.#abort.signal),
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
      ...(this.#hasServed && { attemptsMax: Number.POSITIVE_INFINITY }),
      signal: this.#abort.signal,
      clock,
      random,
    })
  }

  #dial(signal: AbortSignal): Promise<Connection> {
    const { transport, clock, random, leader, credential, compression, channelBinding } = this.#settings
    return dial({
      transport,
      address: leader as string,
      clock,
      timeoutMs: DIAL_TIMEOUT_MS,
      signal: AbortSignal.any([signal, this.#abort.signal]),
      frameBytesMax: FRAME_BYTES_MAX,
      as: credential && { credential, compression, channelBinding, random },
    })
  }

  async #leaveView(): Promise<void> {
    const view = this.#view
    if (view === undefined) return
    this.#view = undefined
    // Nobody was given a view of a former leader's data: whoever waits goes on waiting.
    if (!this.#state.led) this.#arrived = expected()
    await view.following.close()
    this.#applied = view.data.storage.applied
    this.#views.close()
    await view.data.close()
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
