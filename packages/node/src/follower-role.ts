/**
 * A node that follows: bootstrap when there is nothing to go on with, redo, then the leader's stream; again from the
 * start when the leader's log no longer reaches back.
 *
 * Decides: when a snapshot is needed and when the data of a directory changes generations. While a snapshot is being
 * received there is no data to read; reads wait. The older generation is kept until the newer one is open.
 */
import { LOCAL_SLOT, UnderstudyError, type LogPoint } from '@understudy/contracts'
import { assertReplaceable, receiveSnapshot } from '@understudy/bootstrap'
import { Connection } from '@understudy/protocol'
import { followLeader, redo, type Following, type ReceiverState } from '@understudy/replication'
import type { FrozenViews } from './frozen-views.ts'
import { generationPaths, removeOtherGenerations } from './layout.ts'
import { openNodeData, openNodeLog, type NodeData } from './node-data.ts'
import { FRAME_BYTES_MAX, type Settings } from './options.ts'
import { writeNodeState, type NodeState } from './state-file.ts'

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
  #state: NodeState | undefined
  #view: FollowerView | undefined
  #arrived = Promise.withResolvers<FollowerView>()
  #phase: ReceiverState | 'bootstrapping' = 'bootstrapping'
  #running: Promise<void> | undefined

  constructor(
    state: NodeState | undefined,
    views: FrozenViews,
    settings: Settings,
    failed: (error: UnderstudyError) => void,
  ) {
    this.#state = state
    this.#views = views
    this.#settings = settings
    this.#failed = failed
    this.#arrived.promise.catch(() => {})
  }

  get cluster(): string {
    return this.#state?.cluster ?? ''
  }

  get phase(): ReceiverState | 'bootstrapping' {
    return this.#phase
  }

  /** What can be served now, if anything. */
  get view(): FollowerView | undefined {
    return this.#view
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
    this.#arrived.reject(new UnderstudyError('CLOSED', 'The node is closed.'))
    await this.#running
    await this.#leaveView()
  }

  async #run(): Promise<void> {
    while (!this.#abort.signal.aborted) {
      // A former leader's data is never followed on: a snapshot replaces it.
      if ((this.#state?.generation ?? 0) === 0 || this.#state?.led === true) await this.#bootstrap()
      const reason = await this.#follow()
      if (reason !== 'snapshotRequired') return
      await this.#leaveView()
      await this.#bootstrap()
    }
  }

  #end(error: unknown): void {
    if (this.#abort.signal.aborted) return
    const known =
      error instanceof UnderstudyError
        ? error
        : new UnderstudyError(
            'STORAGE_FAILED',
            'Following ended for a reason nobody foresaw; what was applied is kept.',
            {
              cause: error,
            },
          )
    this.#arrived.reject(known)
    this.#failed(known)
  }

  /** Opens the current generation and follows until that ends for good. */
  async #follow(): Promise<ReceiverState> {
    const { directory, allFormats, clock, random, name, emit, files, link } = this.#settings
    const generation = this.#state?.generation ?? 0
    const data = await openNodeData(generationPaths(directory, generation), this.#settings, this.#failed)
    const onMarker = (point: LogPoint): void => this.#views.keep(point, () => data.storage.freeze())
    try {
      await data.log.sync()
      await redo({
        log: data.log,
        storage: data.storage,
        formats: allFormats,
        clock,
        onProgress: (applied, upTo) => emit({ kind: 'redo', applied, upTo }),
      })
    } catch (error) {
      await data.close()
      throw error
    }
    const over = Promise.withResolvers<ReceiverState>()
    const following = followLeader({
      dial: (signal) => this.#dial(signal),
      log: data.log,
      storage: data.storage,
      formats: allFormats,
      node: name,
      cluster: this.cluster,
      clock,
      random,
      ...(link && { link }),
      onMarker,
      onState: (state, error) => {
        this.#phase = state
        emit({ kind: 'state', state, error })
        if (state === 'streaming') removeOtherGenerations(files, directory, [generation])
        if (state === 'diverged' || state === 'stopped') this.#failed(error ?? stoppedWithoutReason())
        if (state === 'snapshotRequired' || state === 'diverged' || state === 'stopped') over.resolve(state)
      },
    })
    this.#view = { data, following }
    this.#arrived.resolve(this.#view)
    this.#abort.signal.addEventListener('abort', () => over.resolve('stopped'), { once: true })
    return over.promise
  }

  /** Builds the next generation from a snapshot, then switches to it in one step. */
  async #bootstrap(): Promise<void> {
    const { directory, files, name, clock, random, emit, replaceLeader } = this.#settings
    this.#phase = 'bootstrapping'
    const current = this.#state?.generation ?? 0
    const seed = current === 0 ? undefined : generationPaths(directory, current).database
    assertReplaceable({
      directory,
      node: name,
      led: this.#state?.led ?? false,
      history: [],
      ...(replaceLeader && { replaceLeader }),
    })
    const paths = generationPaths(directory, current + 1)
    files.makeDirectory(paths.directory)
    const limit = this.#settings.snapshotBytesPerSecondMax
    const { point, history, cluster, bytes, transferredBytes } = await receiveSnapshot({
      dial: (signal) => this.#dial(signal ?? this.#abort.signal),
      node: name,
      cluster: this.cluster,
      files,
      target: paths.database,
      ...(seed !== undefined && files.exists(seed) && { seed }),
      onProgress: (progress) => emit({ kind: 'snapshot', progress }),
      onRetry: (error, delayMs) => emit({ kind: 'snapshotRetry', error, delayMs }),
      ...(limit !== undefined && { bytesPerSecondMax: limit }),
      signal: this.#abort.signal,
      clock,
      random,
    })
    const log = openNodeLog(paths, this.#settings, 0)
    try {
      log.resetTo(point, history)
      log.slots.reserve(LOCAL_SLOT, point.lsn)
    } finally {
      await log.close()
    }
    files.syncDirectory(paths.directory)
    files.syncDirectory(directory)
    this.#state = { cluster, node: name, generation: current + 1, led: false }
    writeNodeState(files, directory, this.#state)
    emit({ kind: 'bootstrapped', point, bytes, transferredBytes })
  }

  async #dial(signal: AbortSignal): Promise<Connection> {
    const { transport, clock, leader } = this.#settings
    const channel = await transport.connect(leader as string, {
      signal: AbortSignal.any([signal, this.#abort.signal]),
      frameBytesMax: FRAME_BYTES_MAX,
    })
    return new Connection(channel, clock)
  }

  async #leaveView(): Promise<void> {
    const view = this.#view
    if (view === undefined) return
    this.#view = undefined
    this.#arrived = Promise.withResolvers<FollowerView>()
    this.#arrived.promise.catch(() => {})
    await view.following.close()
    this.#views.close()
    await view.data.close()
  }
}

function stoppedWithoutReason(): UnderstudyError {
  return new UnderstudyError('CLOSED', 'Following was stopped; what was applied is kept and can be read.')
}
