/**
 * A write whose body is asynchronous: it has the transaction of the storage to itself until its promise settles.
 *
 * Decides: when it begins, how long it may be open, what ends it. Leaves to others: its turn among the writes and everything from its
 * records on (commit-pipeline), which is as for any other group.
 *
 * Validity conditions:
 * 1. It is a group of its own. While it is open no other group begins: writes queue, up to their own deadlines. That is its price.
 * 2. It is open for `timeoutMs` at most, and for `transactionIdleMs` without a statement. Then, when its caller gives up, and when the node
 *    stops leading, closes or holds its writes, it is rolled back and left no trace; its body gets the same error from its next
 *    statement. So it ends by itself whatever its body does.
 * 3. What its body does after the end has no effect: the transaction object is dead, a result or a rejection is dropped.
 * 4. It is durable, acked, visible and answered in this order, as every write is. It has no key: nothing tells it from another.
 */
import { UnderstudyError, type Clock, type OpenWrite, type Timer } from '@understudy/contracts'
import {
  abandoned,
  endsGroup,
  recordGroup,
  rollBack,
  type GroupContext,
  type GroupOutcome,
} from './commit-group.ts'
import { notWritten, notWrittenInTime } from './failures.ts'
import type { PipelineLimits } from './limits.ts'
import type { WriteOptions } from './pipeline-api.ts'
import { isTransaction, type PendingWrite, type TransactionRequest } from './write-queue.ts'

/** Beside the options of a write that can hold for one that cannot be sent again. */
export interface TransactionOptions extends Pick<
  WriteOptions,
  'ack' | 'of' | 'ackTimeoutMs' | 'onlyIfReady' | 'signal'
> {
  /** How long it may be open, in milliseconds, at most `transactionMsMax` of the limits. Default `transactionMs`. */
  readonly timeoutMs?: number
  /** How long it may wait for its turn, in milliseconds. Default `writeTimeoutMs` of the limits. */
  readonly waitMs?: number
}

/** What is queued for a body. Throws `INVALID_ARGUMENT`. */
export function transactionRequest<T>(
  body: (tx: T) => unknown,
  { timeoutMs }: TransactionOptions,
  { transactionMs, transactionMsMax }: PipelineLimits,
): TransactionRequest<T> {
  const openMs = timeoutMs ?? Math.min(transactionMs, transactionMsMax)
  if (openMs > 0 && openMs <= transactionMsMax) return { transaction: body, openMs }
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `timeoutMs of a transaction is ${openMs}; while it is open every other write waits, so it can be ${transactionMsMax} at most (transactionMsMax). Nothing was begun.`,
  )
}

/** The options of a queued write that a transaction has. */
export function queueOptions(options: TransactionOptions): WriteOptions {
  const { waitMs, ack, of, ackTimeoutMs, onlyIfReady, signal } = options
  return {
    ...(waitMs !== undefined && { timeoutMs: waitMs }),
    ...(ack && { ack }),
    ...(of && { of }),
    ...(ackTimeoutMs !== undefined && { ackTimeoutMs }),
    ...(onlyIfReady !== undefined && { onlyIfReady }),
    ...(signal && { signal }),
  }
}

/** The one transaction that may be open in a pipeline. */
export class OpenTransactions<C, T> {
  readonly #clock: Clock
  readonly #limits: PipelineLimits
  readonly #ended: (outcome: GroupOutcome) => void
  #open: OpenTransaction<C, T> | undefined

  /** `ended` gets the outcome of each that was begun, in the turn in which it ends. */
  constructor(clock: Clock, limits: PipelineLimits, ended: (outcome: GroupOutcome) => void) {
    this.#clock = clock
    this.#limits = limits
    this.#ended = ended
  }

  /** Runs the body; `undefined` while it is open, its outcome when it could not begin. */
  begin(context: GroupContext<C, T>, write: PendingWrite<T>): GroupOutcome | undefined {
    const opened = new OpenTransaction(
      context,
      write,
      this.#limits.transactionIdleMs,
      this.#clock,
      (outcome) => {
        this.#open = undefined
        this.#ended(outcome)
      },
    )
    const outcome = opened.prepare()
    if (outcome !== undefined) return outcome
    this.#open = opened
    opened.start()
    return undefined
  }

  /** Rolls back what is open. */
  end(cause: () => UnderstudyError): void {
    this.#open?.stop(notWritten(cause()))
  }

  /** Rolls it back when it is the one that is open. */
  abort(write: PendingWrite<T>, signal: AbortSignal): void {
    if (this.#open?.write === write) this.#open.stop(aborted(signal))
  }
}

class OpenTransaction<C, T> {
  readonly write: PendingWrite<T>
  readonly #context: GroupContext<C, T>
  readonly #request: TransactionRequest<T>
  readonly #idleMs: number
  readonly #clock: Clock
  readonly #ended: (outcome: GroupOutcome) => void
  #tx: OpenWrite<T> | undefined
  #usedAtMs = 0
  #limit: Timer | undefined
  #idle: Timer | undefined

  constructor(
    context: GroupContext<C, T>,
    write: PendingWrite<T>,
    idleMs: number,
    clock: Clock,
    ended: (outcome: GroupOutcome) => void,
  ) {
    if (!isTransaction<T>(write.body)) throw new TypeError('not a transaction')
    this.write = write
    this.#context = context
    this.#request = write.body
    this.#idleMs = idleMs
    this.#clock = clock
    this.#ended = ended
  }

  prepare(): GroupOutcome | undefined {
    const { storage, recorder } = this.#context
    if (this.write.deadlineMs <= this.#clock.monotonic()) {
      this.write.threw = true
      this.write.outcome = notWrittenInTime()
      return { kind: 'rolledBack' }
    }
    try {
      storage.begin()
    } catch (error) {
      return abandoned(error)
    }
    try {
      recorder.beginGroup()
      this.#tx = storage.openWrite?.(recorder, () => (this.#usedAtMs = this.#clock.monotonic()))
      if (this.#tx === undefined) throw unsupported()
      return undefined
    } catch (error) {
      return rollBack(this.#context, abandoned(error))
    }
  }

  start(): void {
    const { openMs, transaction } = this.#request
    this.#usedAtMs = this.#clock.monotonic()
    this.#limit = this.#clock.schedule(openMs, () => this.stop(overdue(`${openMs} ms`, 'deadline')))
    this.#watchIdle(this.#idleMs)
    // In a turn of its own, so that a body that is not asynchronous finds the pipeline as any other does.
    void Promise.resolve().then(async () => {
      if (this.#tx !== undefined) await this.#settle(transaction, this.#tx.tx)
    })
  }

  async #settle(body: (tx: T) => unknown, tx: T): Promise<void> {
    let value: unknown
    try {
      value = await body(tx)
    } catch (error) {
      return this.stop(error)
    }
    this.#finish(value)
  }

  /** Rolls back; the caller of the transaction gets `reason`, and so does its body from its next statement. */
  stop(reason: unknown): void {
    const tx = this.#take()
    if (tx === undefined) return
    this.write.threw = true
    this.write.outcome = reason
    let outcome: GroupOutcome = { kind: 'rolledBack' }
    try {
      tx.abandon(reason)
    } catch (error) {
      outcome = abandoned(error)
    }
    this.#ended(rollBack(this.#context, outcome))
  }

  #finish(value: unknown): void {
    const tx = this.#take()
    if (tx === undefined) return
    this.write.outcome = value
    this.#ended(this.#record(tx))
  }

  #record(tx: OpenWrite<T>): GroupOutcome {
    const { keyed } = this.#context
    try {
      tx.end(() => keyed.note())
    } catch (error) {
      if (endsGroup(error)) return rollBack(this.#context, abandoned(error))
      this.write.threw = true
      this.write.outcome = error
      return rollBack(this.#context, { kind: 'rolledBack' })
    }
    return recordGroup(this.#context, 1)
  }

  /** Whoever takes it ends it: the others find nothing. */
  #take(): OpenWrite<T> | undefined {
    const tx = this.#tx
    this.#tx = undefined
    this.#limit?.cancel()
    this.#idle?.cancel()
    return tx
  }

  #watchIdle(afterMs: number): void {
    this.#idle = this.#clock.schedule(afterMs, () => {
      const leftMs = this.#usedAtMs + this.#idleMs - this.#clock.monotonic()
      if (leftMs > 0) this.#watchIdle(leftMs)
      else this.stop(overdue(`${this.#idleMs} ms without a statement`, 'idle'))
    })
  }
}

function overdue(how: string, reason: 'deadline' | 'idle'): UnderstudyError {
  return new UnderstudyError(
    'NOT_WRITTEN',
    `The transaction was open for ${how}, while every other write waited. It was rolled back and left no trace; begin it anew, and do in it only what needs it.`,
    { reason },
  )
}

/** Why a pipeline that holds back writes keeps none open. */
export function heldBack(): UnderstudyError {
  return new UnderstudyError(
    'NOT_LEADER',
    'The node hands over its leading, or pauses it, and waits for no transaction. Begin it anew, on the leader of then.',
  )
}

function aborted(signal: AbortSignal): UnderstudyError {
  return new UnderstudyError(
    'NOT_WRITTEN',
    'The transaction was aborted while it was open. It was rolled back and left no trace.',
    { reason: 'aborted', cause: signal.reason },
  )
}

function unsupported(): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    'The storage of this node keeps no transaction open across turns. Nothing was written; use a callback, or a list of statements.',
  )
}
