/**
 * What a follower does with its leader and when: a state machine without input or output of its own.
 *
 * Decides: when to dial, sync, apply, ack, pause, give up; which state the follower is in. Leaves to others: the
 * connection, appending and syncing the log, applying, time.
 *
 * Validity conditions:
 * 1. Nothing is applied that is not durable here and at or below the leader's high watermark.
 * 2. What an ack says happened before: durable after the sync, applied after the COMMIT.
 * 3. At most one sync is under way; records that come meanwhile share the next one.
 * 4. A leader of another cluster, of a lower epoch or of a forked history is left before anything of it is taken.
 * 5. A follower streams once it has all that the leader had when the connection began, and shows all of it that is acked.
 * 6. What it is behind is known only while the leader speaks: after two heartbeats without a word it is unknown.
 * 7. What is applied is told within `appliedAckMs`, with other acks where there are any; at once when the leader waits for it.
 * 8. What the leader promised of ids counts from before it was sent, and ends with its epoch (ids-promise).
 * 9. Once stopped or diverged nothing is dialled, received or applied any more; log and database are kept.
 */
import {
  UnderstudyError,
  type EpochHistory,
  type ErrorCode,
  type Lsn,
  type Random,
} from '@understudy/contracts'
import type { Heartbeat, Message, SlotPosition, Welcome } from '@understudy/protocol'
import { Backoff } from './backoff.ts'
import { CommitAges } from './commit-ages.ts'
import { DIVERGENCES } from './failures.ts'
import { commonEnd, findHistoryFault } from './handshake.ts'
import { ageFields, type Lag } from './lag.ts'
import { IdsPromise } from './ids-promise.ts'
import type { BackoffLimits, LinkLimits } from './limits.ts'
import { Silence } from './silence.ts'

/** `catchup` and `streaming` have a connection; `stopped` and `diverged` are final. */
export type ReceiverState =
  | 'disconnected'
  | 'catchup'
  | 'streaming'
  | 'diverged'
  | 'snapshotRequired'
  | 'stopped'

export type ReceiverEvent =
  | { readonly kind: 'start' }
  | { readonly kind: 'dialFailed'; readonly error: UnderstudyError }
  /** The log was synced up to `end`, the connection stands, the Hello was sent. `history`: of this node's log. */
  | { readonly kind: 'greeted'; readonly history: EpochHistory; readonly end: Lsn }
  /** Any message but records. */
  | { readonly kind: 'message'; readonly message: Message }
  /** Records were appended to the log. */
  | {
      readonly kind: 'appended'
      readonly last: Lsn
      readonly epoch: number
      readonly bytes: number
      readonly highWatermark: Lsn
      /** The leader waits for what is received here, durable or not. */
      readonly asksReceived?: boolean
      /** The leader waits for acks of its last record, maybe not for this follower's. */
      readonly awaitsAcks?: boolean
    }
  | { readonly kind: 'synced'; readonly durable: Lsn }
  | { readonly kind: 'applied'; readonly applied: Lsn }
  /** The time of a `wait` has passed. */
  | { readonly kind: 'due' }
  | { readonly kind: 'tick' }
  | { readonly kind: 'closed'; readonly error: UnderstudyError | undefined }
  /** Nothing of this leader may be taken; nothing was. */
  | { readonly kind: 'refused'; readonly error: UnderstudyError }
  /** The log refused records of the leader; the log is unchanged. */
  | { readonly kind: 'appendFailed'; readonly error: UnderstudyError }
  | { readonly kind: 'applyFailed'; readonly error: UnderstudyError }
  | { readonly kind: 'undone'; readonly applied: Lsn }
  /** What was to be kept before a snapshot replaces the log is. */
  | { readonly kind: 'lost'; readonly reason: string }
  /** `SNAPSHOT_REQUIRED`: it needs pages. */
  | { readonly kind: 'undoFailed'; readonly error: UnderstudyError }
  /** The log or the storage can take no more. */
  | { readonly kind: 'failed'; readonly error: UnderstudyError }

export type ReceiverAction =
  | { readonly kind: 'dial'; readonly delayMs: number }
  /** Cuts off what is not applied. */
  | { readonly kind: 'truncate'; readonly after: Lsn }
  /** What is above, if anything, goes with the log, see `onLosing`; ends in `lost` or `failed`. */
  | { readonly kind: 'lose'; readonly after: Lsn; readonly reason: string }
  /** Undoes what is applied above, and cuts it off; ends in `undone` or `undoFailed`. */
  | { readonly kind: 'undo'; readonly after: Lsn }
  /** `isAwaited`: the leader does nothing else until it is told of it. */
  | { readonly kind: 'sync'; readonly isAwaited?: boolean }
  | { readonly kind: 'apply'; readonly upTo: Lsn }
  /** `isAwaited`: the leader waits for it. */
  | { readonly kind: 'send'; readonly message: Message; readonly isAwaited?: boolean }
  /** Report `due` after so many milliseconds. At most one is under way. */
  | { readonly kind: 'wait'; readonly delayMs: number }
  /** What the leader keeps its log for, `leader` by name. */
  | { readonly kind: 'hold'; readonly slots: readonly SlotPosition[]; readonly leader: string }
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' }
  | { readonly kind: 'close'; readonly error: UnderstudyError | undefined }
  /** Heartbeats and deadlines begin, in the leader's interval. */
  | { readonly kind: 'startTicks'; readonly intervalMs: number }
  | { readonly kind: 'state'; readonly state: ReceiverState; readonly error: UnderstudyError | undefined }

export interface ReceiverMachineOptions {
  readonly cluster: string
  readonly durable: Lsn
  readonly applied: Lsn
  readonly epoch: number
  readonly link: LinkLimits
  readonly backoff: BackoffLimits
  /** Bytes appended and not yet durable above which the connection rests. */
  readonly unsyncedBytesMax: number
  readonly random: Random
  /** Somebody else decides whom to follow: a leader of a forked history may be replaced by another one. Default false. */
  readonly isLed?: boolean
}

/** Refusals that no further attempt can change. */
const FINAL_REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['FOREIGN_CLUSTER', 'EPOCH_FORK'])

/** Heartbeats that may be missing before what the leader said last is too old to tell how far this node is behind. */
const HEARTBEATS_MAX = 2

export interface ReceiverProgress {
  readonly state: ReceiverState
  readonly received: Lsn
  readonly durable: Lsn
  readonly applied: Lsn
  readonly highWatermark: Lsn
  /** End of the leader's durable log, by its last message. */
  readonly leaderLsn: Lsn
  readonly rttMs: number | undefined
  /** Until when this node has every ceiling of ids that is in force; `undefined` when it cannot tell. */
  readonly idsUntilMs: number | undefined
  /** Monotonic time of the leader's last message; `undefined` without a connection. */
  readonly heardAtMs: number | undefined
  readonly lastError: UnderstudyError | undefined
}

/** How far this node is behind, in what the machine knows of it. */
export type KnownLag = Omit<Lag, 'bytes'>

export class ReceiverMachine {
  readonly #options: ReceiverMachineOptions
  readonly #backoff: Backoff
  /** Name of the leader that welcomed this node last. */
  #leader = ''
  #phase: 'idle' | 'dialling' | 'undoing' | 'greeting' | 'flowing' | 'over' = 'idle'
  #state: ReceiverState = 'disconnected'
  #lastError: UnderstudyError | undefined
  #history: EpochHistory = []
  /** End of the leader's log when the connection began: beyond it the follower streams. */
  #catchupTo: Lsn = 0
  #silence: Silence
  #epoch: number
  #received: Lsn
  #durable: Lsn
  #applied: Lsn
  #highWatermark: Lsn = 0
  #leaderLsn: Lsn = 0
  #isSyncing = false
  /** Last record whose acks the leader waits for, and the last that it waits for to be shown here. */
  #awaited: Lsn = 0
  #awaitedShown: Lsn = 0
  /** What the leader was told of as applied, on this connection. */
  #appliedTold: Lsn = 0
  #durableTold: Lsn = 0
  #isWaiting = false
  #isPaused = false
  #unsynced: { readonly last: Lsn; readonly bytes: number }[] = []
  #unsyncedBytes = 0
  #heartbeat: { readonly sentAtMs: number; readonly atMs: number } | undefined
  #rttMs: number | undefined
  readonly #idsPromise = new IdsPromise()
  #heartbeatMs: number
  #heardAtMs: number | undefined
  /** Since when this node knows of what the leader has. */
  #ages: CommitAges

  constructor(options: ReceiverMachineOptions) {
    this.#options = options
    this.#backoff = new Backoff(options.backoff, options.random)
    this.#silence = new Silence(options.link.deadlineMs, options.link.heartbeatMs, 0)
    this.#heartbeatMs = options.link.heartbeatMs
    this.#ages = new CommitAges(0, 0)
    this.#epoch = options.epoch
    this.#received = options.durable
    this.#durable = options.durable
    this.#applied = options.applied
  }

  progress(): ReceiverProgress {
    return {
      state: this.#state,
      received: this.#received,
      durable: this.#durable,
      applied: this.#applied,
      highWatermark: this.#highWatermark,
      leaderLsn: this.#leaderLsn,
      rttMs: this.#rttMs,
      idsUntilMs: this.#idsPromise.untilMs,
      heardAtMs: this.#phase === 'flowing' ? this.#heardAtMs : undefined,
      lastError: this.#lastError,
    }
  }

  /** `undefined` while the leader is silent: what it has done since nobody here knows. */
  lag(nowMs: number): KnownLag | undefined {
    if (this.#phase !== 'flowing' || this.#heardAtMs === undefined) return undefined
    if (nowMs - this.#heardAtMs > HEARTBEATS_MAX * this.#heartbeatMs) return undefined
    const age = this.#ages.of(this.#applied, nowMs)
    return { records: Math.max(0, this.#leaderLsn - this.#applied), ...ageFields(age) }
  }

  step(event: ReceiverEvent, nowMs: number): ReceiverAction[] {
    if (this.#phase === 'over') return []
    switch (event.kind) {
      case 'start':
        this.#phase = 'dialling'
        return [{ kind: 'dial', delayMs: 0 }]
      case 'dialFailed':
        return this.#disconnected(event.error)
      case 'greeted':
        return this.#onGreeted(event.history, event.end, nowMs)
      case 'message':
        this.#heard(nowMs)
        return this.#onMessage(event.message, nowMs)
      case 'appended':
        return this.#onAppended(event, nowMs)
      case 'synced':
        return [...this.#onSynced(event.durable), ...this.#enterStreaming()]
      case 'applied':
        this.#applied = event.applied
        return [...this.#enterStreaming(), ...this.#tellApplied()]
      case 'due':
        this.#isWaiting = false
        return this.#appliedTold < this.#applied || this.#durableTold < this.#durable ? this.#ack() : []
      case 'tick':
        return this.#onTick(nowMs)
      case 'closed':
        return this.#onClosed(event.error)
      case 'refused':
      case 'appendFailed':
        return [{ kind: 'close', error: event.error }, ...this.#disconnected(event.error)]
      case 'undone':
        this.#phase = 'dialling'
        this.#applied = event.applied
        return [{ kind: 'dial', delayMs: 0 }]
      case 'lost':
        return this.#requireSnapshot(event.reason)
      case 'undoFailed':
        if (event.error.code === 'SNAPSHOT_REQUIRED')
          return this.#requireSnapshot(event.error.message, 'FOLLOWER_AHEAD')
        return this.#stop(afterFailedApply(event.error), event.error)
      case 'applyFailed':
        return this.#stop(afterFailedApply(event.error), event.error)
      case 'failed':
        break
    }
    return this.#stop('stopped', event.error)
  }

  // The handshake

  #onGreeted(history: EpochHistory, end: Lsn, nowMs: number): ReceiverAction[] {
    const { deadlineMs, heartbeatMs } = this.#options.link
    this.#phase = 'greeting'
    this.#history = history
    this.#received = end
    this.#durable = end
    this.#silence = new Silence(deadlineMs, heartbeatMs, nowMs)
    return [{ kind: 'startTicks', intervalMs: heartbeatMs }]
  }

  #onMessage(message: Message, nowMs: number): ReceiverAction[] {
    if (message.type === 'welcome' && this.#phase === 'greeting') return this.#onWelcome(message, nowMs)
    if (message.type === 'heartbeat' && this.#phase === 'flowing') return this.#onHeartbeat(message, nowMs)
    const error = new UnderstudyError('PROTOCOL_VIOLATION', `The leader sent a ${message.type} out of turn.`)
    return [{ kind: 'close', error }, ...this.#disconnected(error)]
  }

  #onWelcome(welcome: Welcome, nowMs: number): ReceiverAction[] {
    const { cluster } = this.#options
    if (cluster !== '' && welcome.cluster !== cluster) {
      const message = `${welcome.node} belongs to cluster ${welcome.cluster}, this node to ${cluster}. Nothing was taken from it; check the address of the leader.`
      return this.#stop('stopped', new UnderstudyError('FOREIGN_CLUSTER', message))
    }
    const fault = findHistoryFault(this.#history, welcome.history, welcome.node)
    if (fault !== undefined) {
      const error = new UnderstudyError(fault.code, fault.message)
      if (this.#isFinal(fault.code)) return this.#stop('stopped', error)
      return [{ kind: 'close', error }, ...this.#disconnected(error)]
    }
    this.#leader = welcome.node
    const { verdict } = welcome
    if (verdict.kind === 'snapshot') return this.#onSnapshot(verdict.reason, welcome)
    if (verdict.kind === 'truncate') return this.#onTruncate(verdict.after)
    return this.#onContinue(verdict.from, welcome, nowMs)
  }

  #onTruncate(after: Lsn): ReceiverAction[] {
    this.#received = after
    this.#durable = Math.min(this.#durable, after)
    this.#awaited = 0
    this.#awaitedShown = 0
    this.#durableTold = 0
    this.#highWatermark = 0
    if (this.#applied > after) {
      this.#phase = 'undoing'
      return [
        { kind: 'close', error: undefined },
        { kind: 'undo', after },
      ]
    }
    this.#phase = 'dialling'
    return [
      { kind: 'close', error: undefined },
      { kind: 'truncate', after },
      { kind: 'dial', delayMs: 0 },
    ]
  }

  #onContinue(from: Lsn, welcome: Welcome, nowMs: number): ReceiverAction[] {
    const { heartbeatMs, deadlineMs } = welcome
    if (from !== this.#received + 1 || heartbeatMs < 1 || deadlineMs <= heartbeatMs) {
      const error = new UnderstudyError(
        'PROTOCOL_VIOLATION',
        `The leader goes on from LSN ${from} with heartbeats of ${heartbeatMs} ms and a deadline of ${deadlineMs} ms; this node ends at LSN ${this.#received}.`,
      )
      return [{ kind: 'close', error }, ...this.#disconnected(error)]
    }
    this.#phase = 'flowing'
    this.#idsPromise.epoch(welcome.history.at(-1)?.number ?? 0)
    this.#catchupTo = welcome.end.lsn
    this.#leaderLsn = welcome.end.lsn
    this.#ages = new CommitAges(welcome.end.lsn, nowMs)
    this.#heartbeatMs = heartbeatMs
    this.#heardAtMs = nowMs
    this.#highWatermark = 0
    this.#silence = new Silence(deadlineMs, heartbeatMs, nowMs)
    return [
      { kind: 'startTicks', intervalMs: heartbeatMs },
      ...this.#enter('catchup', undefined),
      ...this.#enterStreaming(),
      this.#ownHeartbeat(nowMs),
      ...this.#ack(),
    ]
  }

  /** What this node alone has goes with its log: that is said first. */
  #onSnapshot(reason: string, { history, end }: Welcome): ReceiverAction[] {
    const own = { history: this.#history, end: this.#received }
    const after = commonEnd(own, { history, end: end.lsn })
    if (after === undefined) return this.#requireSnapshot(reason)
    this.#phase = 'undoing'
    return [
      { kind: 'close', error: undefined },
      { kind: 'lose', after, reason },
    ]
  }

  #requireSnapshot(reason: string, code: ErrorCode = 'SNAPSHOT_REQUIRED'): ReceiverAction[] {
    this.#phase = 'over'
    const error = new UnderstudyError(
      code,
      `This node must bootstrap again: ${reason} Its log and database are kept until then.`,
    )
    return [{ kind: 'close', error: undefined }, ...this.#enter('snapshotRequired', error)]
  }

  // The stream

  #onHeartbeat(heartbeat: Heartbeat, nowMs: number): ReceiverAction[] {
    if (heartbeat.epoch < this.#epoch) {
      const message = `The leader sends for epoch ${heartbeat.epoch}, this node is in epoch ${this.#epoch}. Nothing was taken from it.`
      const error = new UnderstudyError('EPOCH_STALE', message)
      return [{ kind: 'close', error }, ...this.#disconnected(error)]
    }
    this.#backoff.reset()
    this.#heartbeat = { sentAtMs: heartbeat.sentAtMs, atMs: nowMs }
    this.#idsPromise.heard(heartbeat)
    if (heartbeat.echoMs > 0) this.#rttMs = Math.max(0, nowMs - heartbeat.echoMs)
    this.#learnOf(heartbeat.lsn, nowMs)
    const { slots } = heartbeat
    return [
      // A leader that keeps its log for followers keeps it for this one: who tells of no slot tells nothing of slots.
      ...(slots.length === 0 ? [] : [{ kind: 'hold' as const, slots, leader: this.#leader }]),
      ...this.#raiseHighWatermark(heartbeat.highWatermark),
      ...this.#enterStreaming(),
    ]
  }

  #onAppended(event: Extract<ReceiverEvent, { kind: 'appended' }>, nowMs: number): ReceiverAction[] {
    this.#heard(nowMs)
    this.#backoff.reset()
    this.#epoch = event.epoch
    this.#idsPromise.epoch(event.epoch)
    this.#received = event.last
    this.#learnOf(event.last, nowMs)
    this.#unsynced.push({ last: event.last, bytes: event.bytes })
    this.#unsyncedBytes += event.bytes
    const actions: ReceiverAction[] = []
    // Of what is only to be received the leader does not wait for the sync.
    if (event.asksReceived === true) actions.push(...this.#ack(true))
    else if (event.awaitsAcks === true) this.#awaited = event.last
    // What is not acked may be shown only when it is to be shown for that.
    if (event.awaitsAcks === true && event.highWatermark >= event.last) this.#awaitedShown = event.last
    if (!this.#isPaused && this.#unsyncedBytes > this.#options.unsyncedBytesMax) {
      this.#isPaused = true
      actions.push({ kind: 'pause' })
    }
    actions.push(...this.#sync(), ...this.#raiseHighWatermark(event.highWatermark))
    return actions
  }

  #heard(nowMs: number): void {
    this.#silence.heard(nowMs)
    this.#heardAtMs = nowMs
  }

  /** The leader's log is durable up to here. */
  #learnOf(leaderLsn: Lsn, nowMs: number): void {
    this.#leaderLsn = Math.max(this.#leaderLsn, leaderLsn)
    this.#ages.note(leaderLsn, nowMs)
  }

  #sync(): ReceiverAction[] {
    if (this.#isSyncing || this.#received <= this.#durable) return []
    this.#isSyncing = true
    return [this.#awaited > this.#durable ? { kind: 'sync', isAwaited: true } : { kind: 'sync' }]
  }

  #onSynced(durable: Lsn): ReceiverAction[] {
    this.#isSyncing = false
    const isAwaited = this.#awaited > this.#durable
    this.#durable = Math.max(this.#durable, Math.min(durable, this.#received))
    const landed = this.#unsynced.findIndex((sent) => sent.last > this.#durable)
    const gone = this.#unsynced.splice(0, landed < 0 ? this.#unsynced.length : landed)
    for (const { bytes } of gone) this.#unsyncedBytes -= bytes
    const apply = this.#apply()
    // One ack says both where the leader waits for the showing.
    const isShownNext =
      apply.length > 0 && this.#awaitedShown > this.#applied && this.#awaitedShown <= this.#durable
    const actions: ReceiverAction[] = [
      // It may end inside of a transaction, which is not shown before its last part is here.
      ...(isShownNext ? this.#tellLater() : this.#ack(isAwaited)),
      ...this.#sync(),
      ...apply,
    ]
    if (this.#isPaused && this.#unsyncedBytes * 2 <= this.#options.unsyncedBytesMax) {
      this.#isPaused = false
      actions.push({ kind: 'resume' })
    }
    return actions
  }

  #raiseHighWatermark(highWatermark: Lsn): ReceiverAction[] {
    if (highWatermark <= this.#highWatermark) return []
    this.#highWatermark = highWatermark
    return this.#apply()
  }

  #apply(): ReceiverAction[] {
    const upTo = Math.min(this.#durable, this.#highWatermark)
    return upTo > this.#applied ? [{ kind: 'apply', upTo }] : []
  }

  /** Mostly nobody waits for it, and the next ack that is sent anyway says it too: each costs both nodes more than applying a record. */
  #tellApplied(): ReceiverAction[] {
    if (this.#awaitedShown > this.#appliedTold && this.#applied >= this.#awaitedShown) return this.#ack(true)
    return this.#isSyncing ? [] : this.#tellLater()
  }

  #tellLater(): ReceiverAction[] {
    if (this.#isWaiting) return []
    this.#isWaiting = true
    return [{ kind: 'wait', delayMs: this.#options.link.appliedAckMs }]
  }

  #ack(isAwaited = false): ReceiverAction[] {
    if (this.#phase !== 'flowing') return []
    this.#appliedTold = this.#applied
    this.#durableTold = this.#durable
    const message: Message = {
      type: 'ack',
      epoch: this.#epoch,
      received: this.#received,
      durable: this.#durable,
      applied: this.#applied,
    }
    return [isAwaited ? { kind: 'send', message, isAwaited } : { kind: 'send', message }]
  }

  #onTick(nowMs: number): ReceiverAction[] {
    if (this.#phase !== 'greeting' && this.#phase !== 'flowing') return []
    const silentMs = this.#isPaused ? undefined : this.#silence.tick(nowMs)
    if (silentMs === undefined) return this.#phase === 'flowing' ? [this.#ownHeartbeat(nowMs)] : []
    const message = `The leader sent nothing for ${Math.round(silentMs)} ms. What was received is kept; dialling again.`
    const error = new UnderstudyError('PEER_SILENT', message, { silentMs })
    return [{ kind: 'close', error }, ...this.#disconnected(error)]
  }

  #ownHeartbeat(nowMs: number): ReceiverAction {
    const heard = this.#heartbeat
    const message: Message = {
      type: 'heartbeat',
      epoch: this.#epoch,
      lsn: this.#durable,
      highWatermark: this.#highWatermark,
      sentAtMs: nowMs,
      echoMs: heard === undefined ? 0 : heard.sentAtMs + (nowMs - heard.atMs),
      slots: [],
    }
    return { kind: 'send', message }
  }

  // The end of a connection

  #onClosed(error: UnderstudyError | undefined): ReceiverAction[] {
    if (error !== undefined && this.#isFinal(error.code)) return this.#stop('stopped', error)
    return this.#phase === 'greeting' || this.#phase === 'flowing' ? this.#disconnected(error) : []
  }

  #isFinal(code: ErrorCode): boolean {
    return FINAL_REFUSALS.has(code) && !(code === 'EPOCH_FORK' && this.#options.isLed === true)
  }

  #disconnected(error: UnderstudyError | undefined): ReceiverAction[] {
    this.#phase = 'dialling'
    this.#heartbeat = undefined
    this.#heardAtMs = undefined
    this.#isPaused = false
    return [...this.#enter('disconnected', error), { kind: 'dial', delayMs: this.#backoff.next() }]
  }

  #stop(state: 'diverged' | 'snapshotRequired' | 'stopped', error: UnderstudyError): ReceiverAction[] {
    this.#phase = 'over'
    return [{ kind: 'close', error }, ...this.#enter(state, error)]
  }

  #enterStreaming(): ReceiverAction[] {
    if (this.#state !== 'catchup' || this.#durable < this.#catchupTo) return []
    // The end of the leader's log may wait for acks, of this very node among others: it shows that later, like everybody.
    const shown = this.#highWatermark === 0 ? this.#catchupTo : Math.min(this.#catchupTo, this.#highWatermark)
    return this.#applied < shown ? [] : this.#enter('streaming', undefined)
  }

  #enter(state: ReceiverState, error: UnderstudyError | undefined): ReceiverAction[] {
    if (error !== undefined) this.#lastError = error
    if (state === this.#state && error === undefined) return []
    this.#state = state
    return [{ kind: 'state', state, error }]
  }
}

/** A file that is not the leader's page by page can become so; one that differs where it must not needs a person. */
function afterFailedApply({ code }: UnderstudyError): 'diverged' | 'snapshotRequired' | 'stopped' {
  if (code === 'SNAPSHOT_REQUIRED') return 'snapshotRequired'
  return DIVERGENCES.has(code) ? 'diverged' : 'stopped'
}
