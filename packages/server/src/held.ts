/**
 * What is open for a client under a handle of its own choosing: a transaction, or a stream of rows.
 *
 * Decides: when its time is over, what is said of a handle that ended. Leaves to others: what is open, and how it is closed.
 *
 * 1. It is closed exactly once, whatever ends it: its client, its time, the end of the connection; also when that comes before it
 *    was open.
 * 2. A handle that ended by its time says so to whoever uses it next, and is then free.
 */
import { UnderstudyError, type Clock, type Timer } from '@understudy/contracts'

export interface HeldOptions<T> {
  readonly clock: Clock
  /** In an error message, such as `stream`. */
  readonly what: string
  readonly open: (signal: AbortSignal) => Promise<T>
  readonly close: (value: T) => void | Promise<void>
  /** Milliseconds that it may be open, and that it may be without use, from when it is; absent where somebody else counts. */
  readonly timeoutMs?: number
  readonly idleMs?: number
}

export class Held<T> {
  readonly opened: Promise<T>
  /** Why it ended by itself. */
  over: UnderstudyError | undefined
  readonly #options: HeldOptions<T>
  readonly #gone = new AbortController()
  #limit: Timer | undefined
  #idle: Timer | undefined
  #isEnded = false

  constructor(options: HeldOptions<T>) {
    this.#options = options
    this.opened = options.open(this.#gone.signal)
    this.opened.then(
      () => this.#begins(),
      // Whoever asked for it is told; nobody else needs to be.
      () => this.#stop(),
    )
  }

  get isEnded(): boolean {
    return this.#isEnded
  }

  /** Its time without use begins anew. */
  used(): void {
    const { clock, idleMs } = this.#options
    if (idleMs === undefined || this.#isEnded) return
    this.#idle?.cancel()
    this.#idle = clock.schedule(idleMs, () => this.#late(`was not used for ${idleMs} ms`))
  }

  /** Closes it; resolves when it is closed. Never rejects: there is nobody left to tell. */
  async end(): Promise<void> {
    if (!this.#stop()) return
    this.#gone.abort()
    try {
      await this.#options.close(await this.opened)
    } catch {
      // It was never open, or it had ended by itself.
    }
  }

  /** It is over, and somebody else closes it. */
  release(): void {
    this.#stop()
  }

  #begins(): void {
    const { clock, timeoutMs } = this.#options
    if (timeoutMs !== undefined && !this.#isEnded)
      this.#limit = clock.schedule(timeoutMs, () => this.#late(`was open for ${timeoutMs} ms`))
    this.used()
  }

  #stop(): boolean {
    if (this.#isEnded) return false
    this.#isEnded = true
    this.#limit?.cancel()
    this.#idle?.cancel()
    return true
  }

  #late(how: string): void {
    this.over = new UnderstudyError(
      'TIMEOUT',
      `The ${this.#options.what} ${how} and was closed, so that it holds back nothing at the node. Nothing was changed; open another one, with more time or fewer rows.`,
    )
    void this.end()
  }
}

/** Handles that ended by their time and are remembered. */
const ENDED_MAX = 64

/** What is open under the handles of one kind. */
export class Handles<T> {
  readonly #what: string
  readonly #held = new Map<number, Held<T>>()

  constructor(what: string) {
    this.#what = what
  }

  /** How many are open, or opening. */
  get open(): number {
    let count = 0
    for (const held of this.#held.values()) if (!held.isEnded) count++
    return count
  }

  add(handle: number, held: Held<T>): void {
    this.#held.set(handle, held)
    if (this.#held.size - this.open <= ENDED_MAX) return
    for (const [oldest, { isEnded }] of this.#held) {
      if (!isEnded) continue
      this.#held.delete(oldest)
      return
    }
  }

  /** Throws `INVALID_ARGUMENT`. */
  assertFree(handle: number): void {
    const held = this.#held.get(handle)
    if (handle > 0 && (held === undefined || held.isEnded)) return
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `The client asked for a ${this.#what} under the number ${handle}, which is in use, or none. Nothing was opened.`,
    )
  }

  /** Throws `HANDLE_UNKNOWN`, or why it ended. */
  known(handle: number): Held<T> {
    const held = this.#held.get(handle)
    if (held?.over !== undefined) {
      this.#held.delete(handle)
      throw held.over
    }
    if (held === undefined || held.isEnded) throw handleUnknown(this.#what, handle)
    return held
  }

  /** Forgets it; what it was, unless it has ended. */
  take(handle: number): Held<T> | undefined {
    const held = this.#held.get(handle)
    this.#held.delete(handle)
    return held?.isEnded === true ? undefined : held
  }

  endAll(): void {
    for (const held of this.#held.values()) void held.end()
    this.#held.clear()
  }
}

export function handleUnknown(what: string, handle: number): UnderstudyError {
  return new UnderstudyError(
    'HANDLE_UNKNOWN',
    `The node knows no ${what} ${handle} on this connection: it was closed, made room for others, or is of another connection. Nothing was run; make it anew.`,
    { handle },
  )
}
