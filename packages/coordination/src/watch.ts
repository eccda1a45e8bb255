/**
 * Watching by reading: whenever something may be new, and when nothing was heard for a while.
 *
 * 1. What is told was read, so a lost notice costs time and nothing else.
 * 2. One reading at a time; a notice during one leads to another after it. After a failure it is tried again, less and
 *    less often up to `refreshMs`.
 */
import {
  isUnderstudyError,
  type Clock,
  type CoordinatorWatch,
  type CoordinatorWatcher,
  type Observation,
  type Timer,
} from '@understudy/contracts'
import { unavailable } from './errors.ts'

const RETRY_MS_FIRST = 20

export interface WatchParts {
  observe(signal: AbortSignal): Promise<Observation>
  listen(changed: () => void): () => void
  readonly clock: Clock
  readonly refreshMs: number
}

export function startWatch(watcher: CoordinatorWatcher, parts: WatchParts): CoordinatorWatch {
  const watch = new Watch(watcher, parts)
  watch.start()
  return watch
}

class Watch implements CoordinatorWatch {
  readonly #watcher: CoordinatorWatcher
  readonly #parts: WatchParts
  readonly #controller = new AbortController()
  #reading = false
  #again = false
  #told: string | undefined
  #failures = 0
  #timer: Timer | undefined
  #unlisten: (() => void) | undefined

  constructor(watcher: CoordinatorWatcher, parts: WatchParts) {
    this.#watcher = watcher
    this.#parts = parts
  }

  start(): void {
    this.#unlisten = this.#parts.listen(() => this.#look())
    this.#wait(0)
  }

  close(): void {
    this.#controller.abort()
    this.#timer?.cancel()
    this.#unlisten?.()
  }

  #wait(delayMs: number): void {
    this.#timer?.cancel()
    this.#timer = this.#parts.clock.schedule(delayMs, () => this.#look())
  }

  #look(): void {
    if (this.#controller.signal.aborted) return
    if (this.#reading) {
      this.#again = true
      return
    }
    this.#reading = true
    void this.#read().finally(() => {
      this.#reading = false
      if (this.#controller.signal.aborted) return
      const again = this.#again && this.#failures === 0
      this.#again = false
      const { refreshMs } = this.#parts
      this.#wait(again ? 0 : this.#failures === 0 ? refreshMs : this.#retryMs())
    })
  }

  #retryMs(): number {
    return Math.min(RETRY_MS_FIRST * 2 ** Math.min(this.#failures - 1, 20), this.#parts.refreshMs)
  }

  async #read(): Promise<void> {
    const { signal } = this.#controller
    let observation: Observation
    try {
      observation = await this.#parts.observe(signal)
    } catch (error) {
      if (signal.aborted) return
      this.#failures += 1
      const known = isUnderstudyError(error) ? error : unavailable('watch', String(error), error)
      if (this.#failures === 1) this.#watcher.unreachable?.(known)
      return
    }
    if (signal.aborted) return
    const { revision, lease } = observation
    const version = JSON.stringify([revision, lease?.grant, lease?.beat, lease?.released])
    const isNew = version !== this.#told || this.#failures > 0
    this.#failures = 0
    this.#told = version
    if (isNew) this.#watcher.observed(observation)
  }
}
