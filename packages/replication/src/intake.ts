/**
 * What is asked of a pipeline, from the call to the queue.
 *
 * Decides: what is refused at once, what is answered without a turn (a retry), when a write has waited too long for its turn. Leaves
 * to others: turns (commit-pipeline), why a pipeline takes nothing on any more.
 */
import type { Clock, LogPoint, UnderstudyError } from '@understudy/contracts'
import { refusedUntilAcked, type AckGate } from './ack-gate.ts'
import { notWrittenAborted, overloaded } from './failures.ts'
import type { KeyedWrites } from './keyed-writes.ts'
import type { PipelineLimits } from './limits.ts'
import { queueOptions, transactionRequest, type TransactionOptions } from './open-transaction.ts'
import type { WriteOptions } from './pipeline-api.ts'
import type { Enqueued } from './policy-changes.ts'
import { QueueDeadline } from './queue-deadline.ts'
import { callbackOf } from './statements.ts'
import type { Step } from './steps.ts'
import { WriteQueue, isAcks, pendingWrite, watchSignal, type PendingWrite } from './write-queue.ts'

export interface IntakeOptions<T> {
  readonly clock: Clock
  readonly limits: PipelineLimits
  readonly gate: AckGate<T>
  readonly keyed: () => KeyedWrites<T>
  /** Whether anything may be answered. */
  readonly leads: () => boolean
  /** Why nothing is taken on any more. */
  readonly over: () => UnderstudyError | undefined
  /** Its caller gave it up after its turn had come. */
  readonly aborted: (write: PendingWrite<T>, signal: AbortSignal) => void
  /** Something waits for its turn. */
  readonly arrived: () => void
}

export class Intake<T> {
  readonly queue: WriteQueue<T> = new WriteQueue<T>()
  readonly #options: IntakeOptions<T>
  readonly #deadline: QueueDeadline<T>

  constructor(options: IntakeOptions<T>) {
    this.#options = options
    this.#deadline = new QueueDeadline(this.queue, options.clock)
  }

  write(body: ((tx: T) => unknown) | readonly Step[], options?: WriteOptions): Promise<never> {
    const { gate } = this.#options
    try {
      const asks = gate.ask(options)
      const keyed = options && this.#options.keyed().request(body, options)
      return this.enqueue(callbackOf(body), { options, asks, keyed }) as Promise<never>
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async transaction(body: (tx: T) => unknown, options: TransactionOptions = {}): Promise<never> {
    const asks = this.#options.gate.ask(options)
    const request = transactionRequest<T>(body, options, this.#options.limits)
    return this.enqueue(request, { options: queueOptions(options), asks }) as Promise<never>
  }

  readonly enqueue = (
    body: PendingWrite<T>['body'],
    { options, asks, keyed, isFirst }: Enqueued,
  ): Promise<unknown> => {
    const { clock, limits, gate, leads, arrived } = this.#options
    return new Promise((resolve, reject) => {
      const { timeoutMs = limits.writeTimeoutMs, ackTimeoutMs, signal } = options ?? {}
      const sinceMs = clock.monotonic()
      const deadlineMs = sinceMs + timeoutMs
      const write = pendingWrite<T>({ body, sinceMs, deadlineMs, asks, ackTimeoutMs, keyed, resolve, reject })
      if (keyed !== undefined && leads() && this.#options.keyed().begin(write)) return
      const refusal = this.refusal(isAcks(body)) ?? gate.unready(write.rule, options)
      if (refusal !== undefined) return write.reject(refusal)
      if (isFirst === true) this.queue.unshift(write)
      else this.queue.push(write)
      this.#deadline.watch(deadlineMs)
      if (signal !== undefined) watchSignal(write, signal, () => this.#giveUp(write, signal))
      arrived()
    })
  }

  /** A write of the leader's own, before all that wait, however long its turn takes to come. */
  own(body: () => void, grants?: ReadonlySet<string>): Promise<LogPoint> {
    const options = { timeoutMs: Number.POSITIVE_INFINITY }
    return this.enqueue({ own: body, grants }, { options, isFirst: true }) as Promise<LogPoint>
  }

  /** `isChange`: of the ack rule, which may mend what keeps writes from being taken on. */
  refusal(isChange: boolean): UnderstudyError | undefined {
    const { over, gate, limits } = this.#options
    const reason = over()
    if (reason !== undefined) return reason
    if (gate.refuses && !isChange) return refusedUntilAcked()
    return this.queue.length < limits.queueWritesMax ? undefined : overloaded(this.queue.length)
  }

  /** For how long the oldest of what is not answered waits: `running`, or what comes next. */
  waitingMs(running: PendingWrite<T> | undefined): number {
    const oldest = running ?? this.queue.peek()
    return oldest === undefined ? 0 : this.#options.clock.monotonic() - oldest.sinceMs
  }

  /** Nothing of what waits is run. */
  rejectAll(error: () => UnderstudyError): void {
    for (const write of this.queue.takeAll()) write.reject(error())
  }

  close(): void {
    this.#deadline.cancel()
  }

  /** Before its turn an aborted write never runs; after it, only the wait ends. */
  #giveUp(write: PendingWrite<T>, signal: AbortSignal): void {
    write.aborted = true
    if (this.queue.remove(write)) return write.reject(notWrittenAborted(signal))
    this.#options.aborted(write, signal)
    this.#options.gate.aborted()
  }
}
