/**
 * What is asked of a pipeline, from the call to the queue.
 *
 * Decides: what is refused at once, what is answered without a turn (a retry), when a write has waited too long for its turn. Leaves
 * to others: turns (commit-pipeline), why a pipeline takes nothing on any more.
 */
import type { Clock, UnderstudyError } from '@understudy/contracts'
import { refusedUntilAcked, type AckGate } from './ack-gate.ts'
import { notWrittenAborted, overloaded } from './failures.ts'
import type { KeyedWrites } from './keyed-writes.ts'
import type { PipelineLimits } from './limits.ts'
import type { Enqueued } from './policy-changes.ts'
import { QueueDeadline } from './queue-deadline.ts'
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

  enqueue(body: PendingWrite<T>['body'], { options, asks, keyed, isFirst }: Enqueued): Promise<unknown> {
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

  /** `isChange`: of the ack rule, which may mend what keeps writes from being taken on. */
  refusal(isChange: boolean): UnderstudyError | undefined {
    const { over, gate, limits } = this.#options
    const reason = over()
    if (reason !== undefined) return reason
    if (gate.refuses && !isChange) return refusedUntilAcked()
    return this.queue.length < limits.queueWritesMax ? undefined : overloaded(this.queue.length)
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
    if (this.queue.remove(write)) write.reject(notWrittenAborted(signal))
    else this.#options.gate.aborted()
  }
}
