/**
 * Following a leader: the thin driver of the receiver's state machine.
 *
 * Decides: how appending, syncing and applying are interleaved on one thread. Leaves to others: what to do when (the
 * machine), how records are applied (apply-loop), how to bootstrap when the leader's log does not reach back.
 *
 * 1. Frames are appended as they come; one sync is under way at a time; a batch is applied per turn of the event loop, so
 *    that batch N is applied while the fdatasync of N+1 runs, and heartbeats are never far behind.
 *    Records whose acks the leader waits for come before everything else: they may be synced on this thread, and their
 *    ack is out before the next batch is applied.
 * 2. Records wait for applying in memory up to a limit; beyond it they are read back from this node's own log. So a slow
 *    apply neither grows memory nor keeps records from becoming durable here.
 */
import {
  FLAG_ASKS_RECEIVED,
  FLAG_AWAITS_ACKS,
  type Clock,
  type Log,
  type LogFormat,
  type LogPoint,
  type LogRecord,
  type Lsn,
  type Random,
  type Storage,
  type Timer,
  type UnderstudyError,
} from '@understudy/contracts'
import { type Message, type Records, type Welcome } from '@understudy/protocol'
import { ApplyLoop } from './apply-loop.ts'
import { AwaitedSync } from './awaited-sync.ts'
import type { Defer } from './pipeline-api.ts'
import { asFailure, isRefusedByMachine, notTheLeader } from './failures.ts'
import type { FollowFence, LeaderClaim } from './follow-fence.ts'
import { findHistoryFault } from './handshake.ts'
import {
  APPLY_LIMITS,
  BACKOFF_LIMITS,
  LINK_LIMITS,
  withDefaults,
  type ApplyLimits,
  type BackoffLimits,
  type LinkLimits,
} from './limits.ts'
import type { CommitMeasures } from './measures.ts'
import { holdForOthers } from './held-slots.ts'
import { NONE, type Lag } from './lag.ts'
import {
  ReceiverMachine,
  type ReceiverAction,
  type ReceiverEvent,
  type ReceiverProgress,
  type ReceiverState,
} from './receiver-machine.ts'
import { aheadOfLog } from './physical.ts'
import { checkLogMatchesStorage } from './redo.ts'
import type { Link } from './sender.ts'
import { Ticker } from './ticker.ts'
import { planOrReason, tailAfter, undoByRewind, undoTail } from './undo.ts'
import { helloForRecords } from './hello.ts'
import { AppliedWaiters, type PositionToken, type WaitOptions } from './waiters.ts'

export interface FollowOptions<C, T> {
  /** Makes a connection on which nothing was said yet. */
  readonly dial: (signal: AbortSignal) => Promise<Link>
  readonly log: Log
  readonly storage: Storage<C, T>
  readonly formats: readonly LogFormat<C>[]
  /** Name of this node: the leader keeps a retention slot of this name. */
  readonly node: string
  readonly cluster: string
  readonly clock: Clock
  readonly random: Random
  readonly link?: Partial<LinkLimits>
  readonly backoff?: Partial<BackoffLimits>
  readonly applyLimits?: Partial<ApplyLimits>
  /** Counts syncs. Default: nothing is counted. */
  readonly measures?: Pick<CommitMeasures, 'syncMs'>
  /** Default `setImmediate`. */
  readonly defer?: Defer
  /** `snapshotRequired`, `diverged` and `stopped` are final and come with the error; so does `disconnected` when there is one. */
  readonly onState?: (state: ReceiverState, error: UnderstudyError | undefined) => void
  /**
   * Records of this node above `common`, through `end`, are about to go, because the leader's history does not have them: applied
   * ones are undone, or the node must bootstrap. Whatever is to be kept of them must be durable when it returns; what it
   * throws stops the node, with everything as it was. It may come again for the same records after a crash. With `common` at the end
   * nothing is lost: the log as a whole is to be replaced, and holds nothing that the leader's history does not have.
   */
  readonly onLosing?: (common: LogPoint, end: LogPoint) => void
  /** Of the same records, when they hold statements and were undone: what a format of rows says of each, by LSN, as far as that can be told. Likewise. */
  readonly onLostRows?: (common: LogPoint, end: LogPoint, rows: ReadonlyMap<Lsn, unknown>) => void
  /** Asked about leaders, when something decides whom this node follows. Default: whoever answers, unless its epoch is lower. */
  readonly fence?: FollowFence
  /** Name of the leader that `dial` reaches, for `fence.lost`. */
  readonly leader?: string
  /** After each batch. */
  readonly onApplied?: (point: LogPoint) => void
  readonly onMarker?: (point: LogPoint) => void
}

export interface FollowerReport extends Omit<ReceiverProgress, 'applied' | 'heardAtMs'> {
  readonly applied: LogPoint
  /** How far it is behind by the leader's messages; `undefined` when the link is down, or the leader silent for two heartbeats. */
  readonly lag: Lag | undefined
  /** Milliseconds since the leader's last message; `undefined` without a connection. */
  readonly heardMs: number | undefined
}

export interface Following extends AsyncDisposable {
  report(): FollowerReport
  /** Resolves once this node shows the position: see `AppliedWaiters.wait`. */
  waitForApplied(position: PositionToken, options?: WaitOptions): Promise<void>
  /** Stops following; what was received stays. Resolves when log and storage are not used any more. */
  close(): Promise<void>
}

/** Throws what `checkLogMatchesStorage` throws. The storage is redone, so that it is not `ahead` of a log that holds its record. */
export function followLeader<C, T>(options: FollowOptions<C, T>): Following {
  if (options.storage.ahead) throw aheadOfLog(options.storage.applied)
  checkLogMatchesStorage(options.log, options.storage.applied)
  return new ReceiverDriver(options)
}

class ReceiverDriver<C, T> implements Following {
  readonly #options: FollowOptions<C, T>
  readonly #defer: Defer
  readonly #machine: ReceiverMachine
  readonly #applyLimits: ApplyLimits
  readonly #loop: ApplyLoop<C, T>
  readonly #waiters: AppliedWaiters
  readonly #awaitedSync: AwaitedSync
  /** Events that came while one is being worked on. */
  readonly #events: ReceiverEvent[] = []
  #isStepping = false
  readonly #abort = new AbortController()
  #link: Link | undefined
  /** The leader of the connection, once it may be followed. */
  #leader: LeaderClaim | undefined
  #ticker: Ticker | undefined
  #dialTimer: Timer | undefined
  #ackTimer: Timer | undefined
  #applyUpTo: Lsn = 0
  #isApplyWanted = false
  #isApplyDue = false
  #isOpen = true
  /** Work on the log and storage that is under way. */
  #pending: Promise<unknown> = Promise.resolve()

  constructor(options: FollowOptions<C, T>) {
    const { log, storage, clock, formats } = options
    this.#options = options
    this.#defer = options.defer ?? setImmediate
    const link = withDefaults(LINK_LIMITS, options.link)
    this.#machine = new ReceiverMachine({
      cluster: options.cluster,
      durable: log.durable,
      applied: storage.applied.lsn,
      epoch: log.end.epoch,
      link,
      backoff: withDefaults(BACKOFF_LIMITS, options.backoff),
      unsyncedBytesMax: 4 * link.windowBytes,
      random: options.random,
      isLed: options.fence !== undefined,
    })
    this.#applyLimits = withDefaults(APPLY_LIMITS, options.applyLimits)
    this.#loop = new ApplyLoop({
      storage,
      formats,
      clock,
      limits: this.#applyLimits,
      ...(options.onMarker && { onMarker: options.onMarker }),
    })
    this.#waiters = new AppliedWaiters(log, clock, () => storage.applied)
    const { syncHereMsMax } = withDefaults(APPLY_LIMITS, options.applyLimits)
    this.#awaitedSync = new AwaitedSync(log, clock, syncHereMsMax)
    this.#step({ kind: 'start' })
  }

  report(): FollowerReport {
    const { storage, clock } = this.#options
    const { heardAtMs, ...progress } = this.#machine.progress()
    const nowMs = clock.monotonic()
    return {
      ...progress,
      applied: storage.applied,
      lag: this.#lag(progress, nowMs),
      heardMs: heardAtMs === undefined ? undefined : nowMs - heardAtMs,
    }
  }

  /** What was not received has no bytes yet that this node could count. */
  #lag(
    { received, leaderLsn, applied }: Pick<ReceiverProgress, 'received' | 'leaderLsn' | 'applied'>,
    nowMs: number,
  ): Lag | undefined {
    const known = this.#machine.lag(nowMs)
    if (known === undefined) return undefined
    if (known.records === 0) return NONE
    return { ...known, bytes: received < leaderLsn ? undefined : this.#options.log.bytesAfter(applied) }
  }

  async waitForApplied(position: PositionToken, options?: WaitOptions): Promise<void> {
    return this.#waiters.wait(position, options)
  }

  async close(): Promise<void> {
    if (this.#isOpen) {
      this.#isOpen = false
      this.#abort.abort()
      this.#dialTimer?.cancel()
      this.#ackTimer?.cancel()
      this.#endLink(undefined)
      this.#waiters.close()
      this.#loop.close()
    }
    await this.#pending
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** What an action causes in the same turn comes after all actions of its own event. */
  #step(event: ReceiverEvent): void {
    this.#events.push(event)
    if (this.#isStepping) return
    this.#isStepping = true
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        if (!this.#isOpen) continue
        for (const action of this.#machine.step(next, this.#options.clock.monotonic())) this.#act(action)
      }
    } finally {
      this.#isStepping = false
    }
    // Only now, so that what was sent in this turn leaves first.
    if (this.#isApplyWanted) this.#scheduleApply()
  }

  #act(action: ReceiverAction): void {
    if (!this.#isOpen) return
    switch (action.kind) {
      case 'dial':
        this.#dialTimer = this.#options.clock.schedule(action.delayMs, () => this.#track(this.#dial()))
        return
      case 'truncate':
        return this.#truncate(action.after)
      case 'lose':
        return this.#lose(action.after, action.reason)
      case 'undo':
        return this.#track(this.#undo(action.after))
      case 'sync':
        return action.isAwaited === true ? this.#syncAwaited() : this.#track(this.#sync())
      case 'apply':
        this.#applyUpTo = action.upTo
        this.#isApplyWanted = true
        return
      case 'send':
        if (!this.#maySend(action.message)) return
        this.#link?.send(action.message)
        if (action.isAwaited === true) this.#link?.flush?.()
        return
      case 'wait':
        this.#ackTimer = this.#options.clock.schedule(action.delayMs, () => this.#step({ kind: 'due' }))
        return
      case 'hold':
        return this.#hold(action)
      case 'pause':
        return this.#link?.pause()
      case 'resume':
        return this.#link?.resume()
      case 'close':
        return this.#endLink(action.error)
      case 'startTicks':
        this.#ticker?.stop()
        this.#ticker = new Ticker(this.#options.clock, action.intervalMs, () => this.#step({ kind: 'tick' }))
        return
      case 'state':
        this.#waiters.notify()
        if (isFinal(action.state) && action.error !== undefined) this.#waiters.fail(action.error)
        this.#options.onState?.(action.state, action.error)
        return
    }
  }

  #maySend(message: Message): boolean {
    const { fence } = this.#options
    if (fence === undefined || message.type !== 'ack') return true
    return this.#leader !== undefined && fence.mayAck(this.#leader.epoch, this.#leader.runId)
  }

  // The connection

  async #dial(): Promise<void> {
    const { log, dial } = this.#options
    let link: Link
    try {
      // The Hello names the end of the log, and the leader may drop everything below it: it must be durable.
      await log.sync()
    } catch (error) {
      return this.#step({
        kind: 'failed',
        error: asFailure(error, 'LOG_FAILED', 'The log could not be made durable'),
      })
    }
    try {
      link = await dial(this.#abort.signal)
    } catch (error) {
      const { leader, fence } = this.#options
      if (this.#isOpen && leader !== undefined && isRefusedByMachine(error))
        fence?.lost(leader, 'connection-refused')
      return this.#step({
        kind: 'dialFailed',
        error: asFailure(error, 'CONNECT_FAILED', 'No connection to the leader'),
      })
    }
    if (!this.#isOpen) return link.close()
    try {
      link.send(helloForRecords(this.#options, this.#options.storage.connection))
    } catch (error) {
      link.close()
      return this.#step({
        kind: 'failed',
        error: asFailure(error, 'INVALID_ARGUMENT', 'The Hello cannot be sent'),
      })
    }
    this.#link = link
    this.#step({ kind: 'greeted', history: log.history, end: log.end.lsn })
    link.start({
      message: (message) => {
        if (this.#link === link) this.#onMessage(message)
      },
      drained: () => undefined,
      closed: (error) => {
        if (this.#link !== link) return
        const leader = this.#leader
        this.#endLink(undefined)
        if (leader !== undefined) this.#options.fence?.lost(leader.candidate, 'connection-lost')
        this.#step({ kind: 'closed', error })
      },
    })
  }

  #endLink(error: UnderstudyError | undefined): void {
    const link = this.#link
    this.#link = undefined
    this.#leader = undefined
    this.#ticker?.stop()
    this.#ticker = undefined
    link?.close(error)
  }

  #onMessage(message: Message): void {
    const { fence } = this.#options
    if (fence !== undefined && message.type === 'welcome') return this.#track(this.#admit(message, fence))
    if (this.#leader !== undefined) fence?.heard(this.#leader.candidate)
    if (message.type === 'records') return this.#onRecords(message)
    this.#step({ kind: 'message', message })
  }

  /** Nothing of a leader is taken, and nothing that it sends is looked at, before it may be followed. */
  async #admit(welcome: Welcome, fence: FollowFence): Promise<void> {
    const { cluster, log } = this.#options
    const link = this.#link
    const epoch = welcome.history.at(-1)
    const isForeign = cluster !== '' && welcome.cluster !== cluster
    // The machine says no to these.
    if (isForeign || findHistoryFault(log.history, welcome.history, welcome.node) !== undefined)
      return this.#step({ kind: 'message', message: welcome })
    link?.pause()
    const isHere = (): boolean => this.#isOpen && link !== undefined && this.#link === link
    try {
      if (epoch === undefined || epoch.leader !== welcome.node) throw notTheLeader(welcome.node)
      const leader = { epoch: epoch.number, runId: epoch.runId, candidate: epoch.leader }
      await fence.admit(leader)
      if (!isHere()) return
      this.#leader = leader
    } catch (error) {
      if (!isHere()) return
      return this.#step({
        kind: 'refused',
        error: asFailure(error, 'EPOCH_STALE', 'The leader is not to be followed'),
      })
    }
    fence.heard(epoch.leader)
    this.#step({ kind: 'message', message: welcome })
    if (isHere()) link?.resume()
  }

  // Records

  #onRecords({ bytes, highWatermark }: Records): void {
    const { log } = this.#options
    let records: LogRecord[]
    try {
      records = log.appendEncoded(bytes)
    } catch (error) {
      const known = asFailure(error, 'LOG_FAILED', 'Records could not be appended')
      return this.#step({ kind: log.failure === undefined ? 'appendFailed' : 'failed', error: known })
    }
    if (this.#leader !== undefined && log.end.epoch > this.#leader.epoch) {
      const error = notTheLeader(this.#leader.candidate)
      return this.#step({ kind: 'refused', error })
    }
    if (records[0]?.lsn === this.#loop.nextLsn && this.#loop.hasRoom) {
      for (const record of records) {
        // A broken chain of parts keeps the rest out; applying reports it when its turn comes.
        if (record.lsn === this.#loop.nextLsn) this.#loop.push(record)
      }
    }
    const { lsn, epoch } = log.end
    // Only the last group of a log can be one that waits.
    const flags = records.at(-1)?.flags ?? 0
    const asksReceived = (flags & FLAG_ASKS_RECEIVED) !== 0
    const awaitsAcks = (flags & FLAG_AWAITS_ACKS) !== 0
    this.#step({
      kind: 'appended',
      last: lsn,
      epoch,
      bytes: bytes.length,
      highWatermark,
      asksReceived,
      awaitsAcks,
    })
  }

  #syncAwaited(): void {
    let durable: Lsn | undefined
    try {
      durable = this.#awaitedSync.syncHere()
    } catch (error) {
      return this.#syncFailed(error)
    }
    if (durable === undefined) return this.#track(this.#sync())
    this.#step({ kind: 'synced', durable })
  }

  async #sync(): Promise<void> {
    const { log, clock, measures } = this.#options
    const beganMs = clock.monotonic()
    try {
      const durable = await log.sync()
      measures?.syncMs.observe(clock.monotonic() - beganMs)
      this.#step({ kind: 'synced', durable })
    } catch (error) {
      this.#syncFailed(error)
    }
  }

  #syncFailed(error: unknown): void {
    this.#step({
      kind: 'failed',
      error: asFailure(error, 'LOG_FAILED', 'The log could not be made durable'),
    })
  }

  #hold({ slots, leader }: Extract<ReceiverAction, { kind: 'hold' }>): void {
    const { log, node } = this.#options
    try {
      holdForOthers(log, slots, { node, leader })
    } catch (error) {
      this.#step({ kind: 'failed', error: asFailure(error, 'LOG_FAILED', 'A slot could not be kept') })
    }
  }

  async #undo(after: Lsn): Promise<void> {
    const { log, storage } = this.#options
    const { onLostRows } = this.#options
    const { transactionBytesMax } = this.#applyLimits
    const { common, end } = tailAfter(log, after)
    const onRows = onLostRows && ((rows: ReadonlyMap<Lsn, unknown>): void => onLostRows(common, end, rows))
    const context = { ...this.#options, transactionBytesMax, ...(onRows && { onRows }) }
    try {
      this.#losing(after)
      this.#applyUpTo = Math.min(this.#applyUpTo, after)
      const plan = planOrReason(context, after)
      if ('spans' in plan) await undoTail(context, this.#loop, plan, after)
      else if (!(await undoByRewind(context, this.#loop, after))) throw plan
    } catch (error) {
      const known = asFailure(error, 'STORAGE_FAILED', 'What was applied could not be undone')
      return this.#step({ kind: log.failure === undefined ? 'undoFailed' : 'failed', error: known })
    }
    this.#waiters.notify()
    this.#step({ kind: 'undone', applied: storage.applied.lsn })
  }

  #lose(after: Lsn, reason: string): void {
    try {
      this.#losing(after, true)
    } catch (error) {
      return this.#step({
        kind: 'failed',
        error: asFailure(error, 'LOG_FAILED', 'A lost tail could not be kept'),
      })
    }
    this.#step({ kind: 'lost', reason })
  }

  #losing(after: Lsn, isAlways: boolean = false): void {
    const { log, onLosing } = this.#options
    if (onLosing === undefined || (log.end.lsn <= after && !isAlways)) return
    const { common, end } = tailAfter(log, after)
    onLosing(common, end)
  }

  #truncate(after: Lsn): void {
    try {
      this.#losing(after)
      this.#options.log.truncateAfter(after)
      this.#applyUpTo = Math.min(this.#applyUpTo, after)
      this.#loop.reset()
      this.#waiters.notify()
    } catch (error) {
      this.#step({ kind: 'failed', error: asFailure(error, 'LOG_FAILED', 'The log could not be truncated') })
    }
  }

  #scheduleApply(): void {
    this.#isApplyWanted = false
    if (this.#isApplyDue) return
    this.#isApplyDue = true
    this.#defer(this.#applyBatch)
  }

  readonly #applyBatch = (): void => {
    this.#isApplyDue = false
    if (!this.#isOpen) return
    const { log, onApplied } = this.#options
    let point: LogPoint | undefined
    try {
      if (this.#loop.idle) this.#loop.fill(log, this.#applyUpTo)
      point = this.#loop.step(this.#applyUpTo)
    } catch (error) {
      return this.#step({
        kind: 'applyFailed',
        error: asFailure(error, 'STORAGE_FAILED', 'Records could not be applied'),
      })
    }
    if (point === undefined) return
    this.#step({ kind: 'applied', applied: point.lsn })
    this.#waiters.notify()
    onApplied?.(point)
    if (point.lsn < this.#applyUpTo) this.#scheduleApply()
  }

  /** Keeps `close` waiting for work on the log that cannot be called back. */
  #track(work: Promise<void>): void {
    this.#pending = Promise.allSettled([this.#pending, work])
  }
}

/** The node applies nothing more; one that must bootstrap goes on with other data. */
function isFinal(state: ReceiverState): boolean {
  return state === 'diverged' || state === 'stopped'
}
