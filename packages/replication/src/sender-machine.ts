/**
 * What a leader sends to one follower and when: a state machine without input or output of its own.
 *
 * Decides: which records may go next, when a heartbeat is due, when the follower is given up, what its status is.
 * Leaves to others: reading the log, the connection, the retention slot, time.
 *
 * Validity conditions:
 * 1. Only records that are durable here are asked for, each once, in order.
 * 2. Bytes sent and not yet durable at the follower never exceed `windowBytes` by more than one frame, and nothing is
 *    asked for while the channel does not take more: a stopped follower is served from the log, not from memory.
 * 3. A heartbeat goes out every `heartbeatMs`; a follower that sent nothing for `deadlineMs` is given up. Time in which
 *    this process itself stood still does not count against the follower.
 * 4. A rise of the high watermark reaches the follower even when there are no records to carry it.
 * 5. A follower that has the newest gets no further frame until `batchBytes` should have gathered, at most for `batchMs`;
 *    one that has not is never kept waiting. A lone writer makes a small record every 200 µs: a frame for each costs both
 *    nodes more than the commit itself. One whose ack is waited for never rests.
 */
import { UnderstudyError, formatPosition, type Lsn } from '@understudy/contracts'
import type { Ack, Heartbeat, Message } from '@understudy/protocol'
import type { LinkLimits } from './limits.ts'
import { Silence } from './silence.ts'

/** Of a connected follower; `Followers.absent` names those that left. */
export type FollowerState = 'catchup' | 'streaming'

export type SenderEvent =
  /** The leader's durable end or high watermark moved. */
  | {
      readonly kind: 'progress'
      readonly durable: Lsn
      readonly highWatermark: Lsn
      /** Writes wait for this follower's ack. */
      readonly isAwaited?: boolean
    }
  | { readonly kind: 'message'; readonly message: Message }
  /** Records were sent as asked for; `isWritable`: the channel takes more. */
  | { readonly kind: 'sent'; readonly last: Lsn; readonly bytes: number; readonly isWritable: boolean }
  | { readonly kind: 'writable' }
  /** The time of a `wait` has passed. */
  | { readonly kind: 'due' }
  | { readonly kind: 'tick' }

export type SenderAction =
  /** Read records from `from` through `upTo`, at most `bytesMax` bytes but at least one record, send them, report `sent`. */
  | {
      readonly kind: 'send'
      readonly from: Lsn
      readonly upTo: Lsn
      readonly bytesMax: number
      readonly highWatermark: Lsn
    }
  | { readonly kind: 'heartbeat'; readonly heartbeat: Omit<Heartbeat, 'slots' | 'type'> }
  | { readonly kind: 'advanceSlot'; readonly lsn: Lsn }
  /** Report `due` after so many milliseconds. At most one is under way. */
  | { readonly kind: 'wait'; readonly delayMs: number }
  | { readonly kind: 'close'; readonly error: UnderstudyError; readonly mustStopLeading: boolean }

export interface SenderMachineOptions extends Omit<LinkLimits, 'appliedAckMs'> {
  readonly epoch: number
  readonly from: Lsn
  readonly durable: Lsn
  readonly highWatermark: Lsn
  readonly nowMs: number
}

/** How far a follower is. LSNs are those it reported last. */
export interface FollowerProgress {
  readonly state: FollowerState
  readonly sent: Lsn
  readonly received: Lsn
  readonly durable: Lsn
  readonly applied: Lsn
  /** Bytes sent and not reported durable. */
  readonly unackedBytes: number
  /** Monotonic time since which it is in this state, in milliseconds. */
  readonly stateSinceMs: number
  /** Round-trip time by the last heartbeat, in milliseconds. */
  readonly rttMs: number | undefined
  /** Monotonic time of its last message; `undefined` before its first ack: until then it did not say what it has applied. */
  readonly heardAtMs: number | undefined
}

export class SenderMachine {
  readonly #options: SenderMachineOptions
  readonly #silence: Silence
  readonly #flights: { readonly last: Lsn; readonly bytes: number }[] = []
  #durableHere: Lsn
  #highWatermark: Lsn
  #highWatermarkTold: Lsn
  #sent: Lsn
  #reading = false
  #isWritable = true
  #isWaiting = false
  #isAwaited = false
  #changes = 0
  #restUntilMs = Number.NEGATIVE_INFINITY
  /** When the follower was last sent the newest. */
  #sentAtMs = Number.NEGATIVE_INFINITY
  #unackedBytes = 0
  #ack: { received: Lsn; durable: Lsn; applied: Lsn }
  #state: FollowerState = 'catchup'
  #stateSinceMs: number
  #heartbeatAtMs: number
  #peerHeartbeat: { readonly sentAtMs: number; readonly atMs: number } | undefined
  #rttMs: number | undefined
  #hasAcked = false
  #heardAtMs = 0
  #isClosed = false

  constructor(options: SenderMachineOptions) {
    this.#options = options
    this.#silence = new Silence(options.deadlineMs, options.heartbeatMs, options.nowMs)
    this.#durableHere = options.durable
    this.#highWatermark = options.highWatermark
    this.#highWatermarkTold = 0
    this.#sent = options.from - 1
    this.#ack = { received: this.#sent, durable: this.#sent, applied: 0 }
    this.#stateSinceMs = options.nowMs
    this.#heartbeatAtMs = options.nowMs - options.heartbeatMs
  }

  progress(): FollowerProgress {
    return {
      state: this.#state,
      sent: this.#sent,
      ...this.#ack,
      unackedBytes: this.#unackedBytes,
      stateSinceMs: this.#stateSinceMs,
      rttMs: this.#rttMs,
      heardAtMs: this.#hasAcked ? this.#heardAtMs : undefined,
    }
  }

  /** Counts what `progress` says anew of its acks and its state. */
  get changes(): number {
    return this.#changes
  }

  step(event: SenderEvent, nowMs: number): SenderAction[] {
    if (this.#isClosed) return []
    switch (event.kind) {
      case 'progress':
        this.#durableHere = Math.max(this.#durableHere, event.durable)
        this.#highWatermark = Math.max(this.#highWatermark, event.highWatermark)
        this.#isAwaited = event.isAwaited === true
        return this.#next(nowMs)
      case 'sent':
        return this.#onSent(event, nowMs)
      case 'writable':
        this.#isWritable = true
        return this.#next(nowMs)
      case 'due':
        this.#isWaiting = false
        // Timers count whole milliseconds and may fire a moment early; a frame may have gone meanwhile, too.
        if (this.#restUntilMs - nowMs < 1) this.#restUntilMs = nowMs
        return this.#next(nowMs)
      case 'message':
        this.#silence.heard(nowMs)
        this.#heardAtMs = nowMs
        return this.#onMessage(event.message, nowMs)
      case 'tick':
        break
    }
    return this.#onTick(nowMs)
  }

  #onSent(event: Extract<SenderEvent, { kind: 'sent' }>, nowMs: number): SenderAction[] {
    this.#reading = false
    this.#sent = event.last
    this.#isWritable = event.isWritable
    this.#unackedBytes += event.bytes
    this.#flights.push({ last: event.last, bytes: event.bytes })
    if (this.#sent >= this.#durableHere) {
      const { batchMs, batchBytes } = this.#options
      const gatherMs = (batchBytes * (nowMs - this.#sentAtMs)) / event.bytes
      this.#restUntilMs = nowMs + Math.min(batchMs, gatherMs)
      this.#sentAtMs = nowMs
      if (this.#state === 'catchup') this.#enter('streaming', nowMs)
    }
    return this.#next(nowMs)
  }

  #onMessage(message: Message, nowMs: number): SenderAction[] {
    if (message.type === 'ack') return this.#onAck(message, nowMs)
    if (message.type === 'heartbeat') {
      this.#peerHeartbeat = { sentAtMs: message.sentAtMs, atMs: nowMs }
      if (message.echoMs > 0) this.#rttMs = Math.max(0, nowMs - message.echoMs)
      return this.#refuseHigherEpoch(message.epoch)
    }
    const error = new UnderstudyError(
      'PROTOCOL_VIOLATION',
      `A follower sent a ${message.type} while records flow.`,
    )
    return this.#close(error, false)
  }

  #onAck(ack: Ack, nowMs: number): SenderAction[] {
    const refused = this.#refuseHigherEpoch(ack.epoch)
    if (refused.length > 0) return refused
    const isPossible = ack.received <= this.#sent && ack.durable <= ack.received && ack.applied <= ack.durable
    if (!isPossible) {
      const error = new UnderstudyError(
        'PROTOCOL_VIOLATION',
        `A follower reports received ${ack.received}, durable ${ack.durable}, applied ${ack.applied}; sent was ${this.#sent}.`,
      )
      return this.#close(error, false)
    }
    const isFurther = ack.durable > this.#ack.durable
    this.#changes++
    this.#hasAcked = true
    this.#ack = { received: ack.received, durable: ack.durable, applied: ack.applied }
    if (!isFurther) return []
    let landed = 0
    for (const flight of this.#flights) {
      if (flight.last > ack.durable) break
      this.#unackedBytes -= flight.bytes
      landed++
    }
    this.#flights.splice(0, landed)
    return [{ kind: 'advanceSlot', lsn: ack.durable }, ...this.#next(nowMs)]
  }

  #refuseHigherEpoch(epoch: number): SenderAction[] {
    if (epoch <= this.#options.epoch) return []
    const error = new UnderstudyError(
      'EPOCH_STALE',
      `A follower is in epoch ${epoch}, this node leads epoch ${this.#options.epoch} only: it was replaced. Its log and database are kept; let it rejoin as a follower.`,
      { epoch },
    )
    return this.#close(error, true)
  }

  #onTick(nowMs: number): SenderAction[] {
    const silentMs = this.#silence.tick(nowMs)
    if (silentMs !== undefined) {
      const error = new UnderstudyError(
        'PEER_SILENT',
        `The follower sent nothing for ${Math.round(silentMs)} ms; it is served again from ${formatPosition({ epoch: this.#options.epoch, lsn: this.#ack.durable })} when it comes back.`,
        { silentMs },
      )
      return this.#close(error, false)
    }
    const actions = this.#next(nowMs)
    // Half of the interval, because a timer may fire a moment early.
    if (nowMs - this.#heartbeatAtMs >= this.#options.heartbeatMs / 2) actions.push(this.#heartbeat(nowMs))
    return actions
  }

  /** What can go out now. */
  #next(nowMs: number): SenderAction[] {
    const { windowBytes, frameBytes } = this.#options
    if (this.#reading || !this.#isWritable) return []
    if (this.#sent < this.#durableHere) {
      const room = windowBytes - this.#unackedBytes
      if (room <= 0) return []
      if (nowMs < this.#restUntilMs && !this.#isAwaited) return this.#wait(this.#restUntilMs - nowMs)
      this.#reading = true
      this.#highWatermarkTold = this.#highWatermark
      const bytesMax = Math.min(frameBytes, room)
      return [
        {
          kind: 'send',
          from: this.#sent + 1,
          upTo: this.#durableHere,
          bytesMax,
          highWatermark: this.#highWatermark,
        },
      ]
    }
    if (this.#state === 'catchup') this.#enter('streaming', nowMs)
    if (this.#highWatermark <= this.#highWatermarkTold) return []
    // The next records may carry it: then this follower applies while it syncs them, and not while they wait for it.
    const restMs = this.#sentAtMs + this.#options.batchMs - nowMs
    return restMs >= 1 ? this.#wait(restMs) : [this.#heartbeat(nowMs)]
  }

  #wait(delayMs: number): SenderAction[] {
    if (this.#isWaiting) return []
    this.#isWaiting = true
    return [{ kind: 'wait', delayMs }]
  }

  #heartbeat(nowMs: number): SenderAction {
    this.#heartbeatAtMs = nowMs
    this.#highWatermarkTold = this.#highWatermark
    const peer = this.#peerHeartbeat
    return {
      kind: 'heartbeat',
      heartbeat: {
        epoch: this.#options.epoch,
        lsn: this.#durableHere,
        highWatermark: this.#highWatermark,
        sentAtMs: nowMs,
        echoMs: peer === undefined ? 0 : peer.sentAtMs + (nowMs - peer.atMs),
      },
    }
  }

  #enter(state: FollowerState, nowMs: number): void {
    this.#changes++
    this.#state = state
    this.#stateSinceMs = nowMs
  }

  #close(error: UnderstudyError, mustStopLeading: boolean): SenderAction[] {
    this.#isClosed = true
    return [{ kind: 'close', error, mustStopLeading }]
  }
}
