/**
 * Writes that wait for their group.
 *
 * Decides: order (first in, first out), the limit on the length, which deadlines have passed. Leaves to others: timers,
 * execution, settling.
 */
import type { Ask } from './ack-gate.ts'
import type { AckRule, AckSettings } from './ack-rule.ts'
import type { KeyRequest } from './keyed-writes.ts'

/** Asks for a marker record. */
export const MARKER = 'marker'

/** Asks that groups are recorded in another format from here on. */
export interface SwitchRequest {
  readonly format: unknown
}

/** Asks that what others committed to the storage's file is logged. */
export interface CaptureRequest {
  /** With it a marker record follows; called while nobody can commit, so that what it sees is what a node shows at the marker. */
  readonly marker: (() => void) | undefined
}

/** Asks for the record that raises the ack rule again. */
export const RAISE = 'raise'

/** Asks that the ack rule in force is said again, because the log will not keep the place where it was said. */
export const REPEAT = 'repeat'

/** Asks for another ack policy. */
export interface AcksRequest {
  readonly acks: AckSettings
  /** The old rule ends without its acks. */
  readonly acceptLoss: boolean
}

/** A write whose body is asynchronous, and has the transaction to itself for `openMs` at most. */
export interface TransactionRequest<T> {
  readonly transaction: (tx: T) => unknown
  readonly openMs: number
}

/** Asks for a write of the leader's own, which is a group of its own and answers nobody. */
export interface OwnRequest {
  readonly own: () => void
  /** Tables whose ceilings it writes are in force at once; filled while it runs. */
  readonly grants: ReadonlySet<string> | undefined
}

export type Body<T> =
  | TransactionRequest<T>
  | ((tx: T) => unknown)
  | typeof MARKER
  | typeof RAISE
  | typeof REPEAT
  | SwitchRequest
  | CaptureRequest
  | AcksRequest
  | OwnRequest

/** One write, from the call to its reply. */
export interface PendingWrite<T> {
  /** A write, or something else that waits for its turn among writes and shares a group with nobody. */
  readonly body: Body<T>
  /** Monotonic time at which it was asked for, in milliseconds. */
  readonly sinceMs: number
  /** Monotonic time at which the write stops waiting, in milliseconds. */
  readonly deadlineMs: number
  resolve: (value: unknown) => void
  reject: (error: unknown) => void
  /** Whose acks it needs, and how long it waits for them; `undefined`: nobody's, and as long as the policy says. */
  rule: AckRule | undefined
  readonly ackTimeoutMs: number | undefined
  /** How it asked for that, and under which policy; without it the rule stays what it is. */
  readonly asks: Ask | undefined
  /** Sent again under the same key it is answered as the first one was. */
  readonly keyed: KeyRequest | undefined
  /** What the callback returned or threw. */
  outcome: unknown
  threw: boolean
  /** Its caller gave up. */
  aborted: boolean
  /** It was answered before its group. */
  settled: boolean
}

type Asked<T> = Pick<
  PendingWrite<T>,
  'body' | 'sinceMs' | 'deadlineMs' | 'ackTimeoutMs' | 'asks' | 'resolve' | 'reject'
> & { readonly keyed?: KeyRequest | undefined }

/** A write that nothing was done with yet. */
export function pendingWrite<T>(asked: Asked<T>): PendingWrite<T> {
  return {
    keyed: undefined,
    ...asked,
    rule: asked.asks?.rule,
    outcome: undefined,
    threw: false,
    aborted: false,
    settled: false,
  }
}

/** Calls once when the caller gives up before the write is answered. */
export function watchSignal<T>(
  write: PendingWrite<T>,
  signal: AbortSignal,
  gaveUp: (signal: AbortSignal) => void,
): void {
  const { resolve, reject } = write
  const onAbort = (): void => gaveUp(signal)
  write.resolve = (value) => {
    signal.removeEventListener('abort', onAbort)
    resolve(value)
  }
  write.reject = (error) => {
    signal.removeEventListener('abort', onAbort)
    reject(error)
  }
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
}

export class WriteQueue<T> {
  #items: (PendingWrite<T> | undefined)[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  push(write: PendingWrite<T>): void {
    this.#items.push(write)
  }

  /** Before all that wait. */
  unshift(write: PendingWrite<T>): void {
    this.#items.splice(this.#head, 0, write)
  }

  peek(): PendingWrite<T> | undefined {
    return this.#items[this.#head]
  }

  take(): PendingWrite<T> | undefined {
    const write = this.#items[this.#head]
    if (write === undefined) return undefined
    this.#items[this.#head++] = undefined
    // Emptied in one go, so that taking is cheap and the array does not grow for ever under constant load.
    if (this.#head === this.#items.length || this.#head >= 8192) {
      this.#items = this.#head === this.#items.length ? [] : this.#items.slice(this.#head)
      this.#head = 0
    }
    return write
  }

  /** Takes out this write; whether it still waited. */
  remove(write: PendingWrite<T>): boolean {
    const at = this.#items.indexOf(write, this.#head)
    if (at < 0) return false
    this.#items.splice(at, 1)
    return true
  }

  /** Takes out every write whose deadline is at or before `nowMs`. */
  takeExpired(nowMs: number): PendingWrite<T>[] {
    const expired: PendingWrite<T>[] = []
    const kept: PendingWrite<T>[] = []
    for (const write of this.#waiting()) (write.deadlineMs <= nowMs ? expired : kept).push(write)
    this.#items = kept
    this.#head = 0
    return expired
  }

  takeAll(): PendingWrite<T>[] {
    return this.takeExpired(Number.POSITIVE_INFINITY)
  }

  /** Infinity when nothing waits. */
  earliestDeadlineMs(): number {
    let earliest = Number.POSITIVE_INFINITY
    for (const write of this.#waiting()) earliest = Math.min(earliest, write.deadlineMs)
    return earliest
  }

  *#waiting(): Iterable<PendingWrite<T>> {
    for (let at = this.#head; at < this.#items.length; at++) yield this.#items[at] as PendingWrite<T>
  }
}

/** Whether it says something of the rule of the cluster. */
export function isRule(body: unknown): boolean {
  return body === RAISE || body === REPEAT || isAcks(body)
}

export function isAcks(body: unknown): body is AcksRequest {
  return typeof body === 'object' && body !== null && 'acks' in body
}

export function isSwitch(body: unknown): body is SwitchRequest {
  return typeof body === 'object' && body !== null && 'format' in body
}

export function isOwn(body: unknown): body is OwnRequest {
  return typeof body === 'object' && body !== null && 'own' in body
}

export function isCapture(body: unknown): body is CaptureRequest {
  return typeof body === 'object' && body !== null && 'marker' in body
}

export function isTransaction<T>(body: unknown): body is TransactionRequest<T> {
  return typeof body === 'object' && body !== null && 'transaction' in body
}

/** Whether it is somebody's write, not something that the leader asks of itself. */
export function isWrite(body: unknown): boolean {
  return typeof body === 'function' || isTransaction(body)
}

/** Whether a marker record is asked for, with a capture or without. */
export function isMarker(body: unknown): boolean {
  return body === MARKER || (isCapture(body) && body.marker !== undefined)
}
