/**
 * Waits for what followers have of a commit that was answered already: `reach`, and retries of a write with a key.
 *
 * Decides: when such a wait is over, and what its caller is told. Leaves to others: who has what (ack-tracker), through the gate.
 *
 * 1. Each wait ends once: reached, too late, given up, or the node stopped leading.
 * 2. They are looked at when a follower says something, and when time alone may change what they wait for.
 */
import { UnderstudyError, formatPosition, type Clock, type Position, type Timer } from '@understudy/contracts'

export interface AckWait {
  /** Whether it is over. */
  readonly isMet: () => boolean
  /** When time alone may change that; infinity when it cannot. */
  readonly dueMs: () => number
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
  /** What the caller is told instead: `stopped` with the reason that the node stopped leading for. */
  readonly failed: (why: 'late' | 'aborted' | 'stopped', cause?: unknown) => UnderstudyError
}

interface Waiting extends AckWait {
  readonly end: (error: UnderstudyError | undefined) => void
  readonly deadlineMs: number
}

export class AckWaits {
  readonly #clock: Clock
  readonly #waiting = new Set<Waiting>()
  #timer: Timer | undefined
  #stopped: { readonly cause: unknown } | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0
  }

  /** Resolves once it is met, at once when it is; rejects with what `failed` makes. */
  wait(wait: AckWait): Promise<void> {
    if (wait.isMet()) return Promise.resolve()
    if (this.#stopped !== undefined) return Promise.reject(wait.failed('stopped', this.#stopped.cause))
    const { signal } = wait
    if (signal?.aborted === true) return Promise.reject(wait.failed('aborted', signal.reason))
    return new Promise((resolve, reject) => {
      const onAbort = (): void => waiting.end(wait.failed('aborted', signal?.reason))
      const waiting: Waiting = {
        ...wait,
        deadlineMs: this.#clock.monotonic() + wait.timeoutMs,
        end: (error) => {
          this.#waiting.delete(waiting)
          signal?.removeEventListener('abort', onAbort)
          if (this.#waiting.size === 0) this.#rest()
          if (error === undefined) resolve()
          else reject(error)
        },
      }
      this.#waiting.add(waiting)
      signal?.addEventListener('abort', onAbort, { once: true })
      this.look()
    })
  }

  /** A follower said something, or a rule changed. */
  look(): void {
    if (this.#waiting.size === 0) return
    const nowMs = this.#clock.monotonic()
    let nextMs = Number.POSITIVE_INFINITY
    for (const waiting of this.#waiting) {
      if (waiting.isMet()) waiting.end(undefined)
      else if (waiting.deadlineMs <= nowMs) waiting.end(waiting.failed('late'))
      else nextMs = Math.min(nextMs, waiting.deadlineMs, waiting.dueMs())
    }
    this.#rest()
    if (this.#waiting.size === 0 || nextMs === Number.POSITIVE_INFINITY) return
    // Timers count whole milliseconds, and may fire a moment early: the look then schedules the rest.
    this.#timer = this.#clock.schedule(Math.max(1, nextMs - nowMs), () => this.look())
  }

  /** The node stopped leading: nothing more will be heard of followers. */
  stop(cause: unknown): void {
    this.#stopped ??= { cause }
    for (const waiting of this.#waiting) waiting.end(waiting.failed('stopped', cause))
  }

  #rest(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }
}

/** What `reach` rejects with. */
export function notReached(
  position: Position,
  what: string,
  why: 'late' | 'aborted' | 'stopped',
  cause: unknown,
): UnderstudyError {
  const at = `${formatPosition(position)} ${what}`
  const details = { position: { epoch: position.epoch, lsn: position.lsn } }
  if (why === 'late')
    return new UnderstudyError(
      'TIMEOUT',
      `${at} was not reached in time. The commit stands as its receipt says; wait again, or look at the followers in status.`,
      details,
    )
  if (why === 'aborted')
    return new UnderstudyError(
      'ABORTED',
      `The wait for ${at} was aborted. The commit stands as its receipt says.`,
      { ...details, cause },
    )
  const reason = cause instanceof Error ? `: ${cause.message}` : '.'
  return new UnderstudyError(
    'CLOSED',
    `The node stopped leading while ${at} was waited for${reason} It knows no more of its followers; check the receipt on the next leader, and wait there.`,
    { ...details, cause },
  )
}
