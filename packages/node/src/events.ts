/**
 * What a node tells while it runs: to the listener of its options, and to any number of streams.
 *
 * Decides: what an event is, how many wait for a slow reader, what is dropped. Leaves to others: what is told when.
 *
 * 1. A stream never slows the node down and never grows beyond its limit: with its buffer full the oldest event is dropped, and
 *    the reader finds an `eventsDropped` in its place, with how many there were.
 * 2. Numbers rise by one from event to event of a node's life, so that a reader of two streams can tell what it has seen.
 * 3. Of a snapshot's and a redo's progress only the newest waits.
 * 4. The last event is `closed`; then every stream ends.
 */
import { UnderstudyError, type Clock, type LogPoint, type SlotState } from '@understudy/contracts'
import type { MemberEvent } from '@understudy/failover'
import type { SnapshotProgress } from '@understudy/bootstrap'
import type { FollowerState, ReceiverState, SyncState } from '@understudy/replication'

/** What a node tells while it runs. Each kind's fields are plain data. */
export type NodeEvent =
  | { readonly kind: 'listening'; readonly address: string }
  | {
      readonly kind: 'leading'
      readonly epoch: number
      readonly redoneFrom: LogPoint
      readonly redoneTo: LogPoint
    }
  | { readonly kind: 'redo'; readonly applied: LogPoint; readonly upTo: number }
  | { readonly kind: 'snapshot'; readonly progress: SnapshotProgress }
  /** What this node alone had, above `common`, stands in a file of its own, durable: it is about to be undone or replaced. */
  | { readonly kind: 'lostTail'; readonly path: string; readonly common: string; readonly end: string }
  /** A follower's log is damaged: what is there is kept, and a snapshot of the leader replaces it. */
  | { readonly kind: 'damaged'; readonly error: UnderstudyError }
  | { readonly kind: 'snapshotRetry'; readonly error: UnderstudyError; readonly delayMs: number }
  | {
      readonly kind: 'bootstrapped'
      readonly point: LogPoint
      readonly bytes: number
      readonly transferredBytes: number
    }
  | { readonly kind: 'state'; readonly state: ReceiverState; readonly error: UnderstudyError | undefined }
  | { readonly kind: 'followerJoined'; readonly name: string; readonly verdict: string }
  | { readonly kind: 'followerLeft'; readonly name: string; readonly error: UnderstudyError | undefined }
  /** A connected follower is in another state, or something else to the ack rule. Told within a heartbeat. */
  | {
      readonly kind: 'followerChanged'
      readonly name: string
      readonly state: FollowerState
      readonly syncState: SyncState
    }
  /** A follower was forgotten: its slot, and all that was known of it. */
  | { readonly kind: 'followerForgotten'; readonly name: string }
  /** A slot holds more than its cap and no longer keeps the log (`unreserved`), is `lost`, or is well again. */
  | { readonly kind: 'slot'; readonly name: string; readonly state: SlotState; readonly lsn: number }
  /** The ack rule in force is another one: `degraded` while the set does not acknowledge. Its record is durable. */
  | { readonly kind: 'acks'; readonly effective: string; readonly degraded: boolean }
  /** Sidecar: a base was logged, from which followers make their files equal again: at each start, and when changes cannot be told page by page. */
  | { readonly kind: 'rebased'; readonly point: LogPoint }
  /** Somebody connected and was turned away, and was told less than stands here. */
  | { readonly kind: 'refused'; readonly remote: string; readonly error: UnderstudyError }
  /** A client's request met a defect: it was told that something failed, this is what. */
  | { readonly kind: 'requestFailed'; readonly error: unknown }
  /** It leads no more: what it shows may be old, and it takes no writes until it is promoted again. */
  | { readonly kind: 'stoppedLeading'; readonly error: UnderstudyError }
  /** The node stopped writing or following for good; reads go on where they can. */
  | { readonly kind: 'failed'; readonly error: UnderstudyError }
  /** Failover: who leads, whom it follows, that it stepped down, what it decided, what went wrong and is tried again. */
  | MemberEvent
  /** The node is closing: the last event. */
  | { readonly kind: 'closed' }

/** In a stream: so many events were dropped here, because they were not read in time. */
export interface EventsDropped {
  readonly kind: 'eventsDropped'
  readonly count: number
}

export interface StampedEvent {
  /** From 1; of an `eventsDropped` the last one that was dropped. */
  readonly sequence: number
  /** Wall clock in milliseconds since the Unix epoch. */
  readonly at: number
  readonly event: NodeEvent | EventsDropped
}

export interface EventsOptions {
  /** Events that wait for the reader. Default 1,024. */
  readonly bufferMax?: number
  /** Ends the stream; what waits is not read any more. */
  readonly signal?: AbortSignal
}

/** Events from the call of `events` on. Leave the loop, or abort the signal, to end it. */
export type EventStream = AsyncIterableIterator<StampedEvent, undefined, undefined>

export const EVENTS_BUFFER_DEFAULT = 1024

export class EventHub {
  readonly #clock: Clock
  readonly #listener: ((event: NodeEvent) => void) | undefined
  readonly #streams = new Set<BufferedStream>()
  #sequence = 0
  readonly #watchers = new Set<() => void>()
  #isClosed = false

  constructor(clock: Clock, listener?: (event: NodeEvent) => void) {
    this.#clock = clock
    this.#listener = listener
  }

  emit(event: NodeEvent): void {
    tell(this.#listener, event)
    this.#sequence++
    for (const watcher of this.#watchers) watcher()
    if (this.#streams.size === 0) return
    const stamped = { sequence: this.#sequence, at: this.#clock.now(), event }
    for (const stream of this.#streams) stream.push(stamped)
  }

  /** Throws `INVALID_ARGUMENT` for a buffer that is no positive whole number. */
  stream({ bufferMax = EVENTS_BUFFER_DEFAULT, signal }: EventsOptions = {}): EventStream {
    if (!Number.isSafeInteger(bufferMax) || bufferMax < 1)
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `bufferMax is ${bufferMax}; give a positive whole number. No stream was opened.`,
      )
    const stream = new BufferedStream(bufferMax, signal, () => this.#streams.delete(stream))
    if (this.#isClosed || signal?.aborted === true) stream.end()
    else this.#streams.add(stream)
    return stream
  }

  /** Calls `watcher` at each event from now on, for parts of the node itself. */
  watch(watcher: () => void): void {
    this.#watchers.add(watcher)
  }

  /** Tells `closed`, once, and ends every stream after what waits in it. */
  close(): void {
    if (this.#isClosed) return
    this.emit({ kind: 'closed' })
    this.#isClosed = true
    for (const stream of this.#streams) stream.end()
    this.#streams.clear()
  }
}

class BufferedStream implements EventStream {
  readonly #max: number
  readonly #signal: AbortSignal | undefined
  readonly #left: () => void
  readonly #aborted = (): void => void this.return()
  #items: StampedEvent[] = []
  #dropped: { count: number; sequence: number; at: number } | undefined
  #isOver = false
  /** Reads that wait for an event: mostly none or one. */
  #waiting: ((result: IteratorResult<StampedEvent, undefined>) => void)[] = []

  constructor(max: number, signal: AbortSignal | undefined, left: () => void) {
    this.#max = max
    this.#signal = signal
    this.#left = left
    signal?.addEventListener('abort', this.#aborted, { once: true })
  }

  push(event: StampedEvent): void {
    const waiting = this.#waiting.shift()
    if (waiting !== undefined) return waiting({ done: false, value: event })
    const newest = this.#items.at(-1)
    if (newest !== undefined && isProgress(event) && newest.event.kind === event.event.kind) this.#items.pop()
    else if (this.#items.length === this.#max) this.#drop()
    this.#items.push(event)
  }

  /** No event comes any more; what waits can still be read. */
  end(): void {
    this.#isOver = true
    this.#signal?.removeEventListener('abort', this.#aborted)
    for (const waiting of this.#waiting.splice(0)) waiting({ done: true, value: undefined })
  }

  next(): Promise<IteratorResult<StampedEvent, undefined>> {
    const value = this.#take()
    if (value !== undefined) return Promise.resolve({ done: false, value })
    if (this.#isOver) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  return(): Promise<IteratorResult<StampedEvent, undefined>> {
    this.#items = []
    this.#dropped = undefined
    this.end()
    this.#left()
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #drop(): void {
    const oldest = this.#items.shift() as StampedEvent
    const count = (this.#dropped?.count ?? 0) + 1
    this.#dropped = { count, sequence: oldest.sequence, at: oldest.at }
  }

  #take(): StampedEvent | undefined {
    if (this.#dropped === undefined) return this.#items.shift()
    const { count, sequence, at } = this.#dropped
    this.#dropped = undefined
    return { sequence, at, event: { kind: 'eventsDropped', count } }
  }
}

function isProgress({ event: { kind } }: StampedEvent): boolean {
  return kind === 'snapshot' || kind === 'redo'
}

/** A listener that throws is the user's own bug: it must neither end what the node is doing nor go unseen. */
function tell(listener: ((event: NodeEvent) => void) | undefined, event: NodeEvent): void {
  try {
    listener?.(event)
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : new Error(String(error)))
  }
}
