/**
 * The time that a peer has to complete a message it began, so that nobody holds memory with half of one for ever.
 *
 * 1. A message has `frameMs`, and a second more for each 64 KiB that it announced: a slow line is no attack. Neither bytes
 *    that trickle in nor pings between fragments give it more.
 * 2. Time does not count while this side reads nothing; a message that goes on after a pause has all its time anew.
 * 3. After a stall of this process timers run before what came meanwhile is read, so that is read first.
 */
import type { Clock, Timer } from '@understudy/contracts'

const PIECE_BYTES = 64 * 1024
const PIECE_MS = 1000
const NONE = -1

/** What of the gate counts here. */
export interface MessageUnderWay {
  readonly completed: number
  readonly announcedBytes: number
}

export class MessageDeadline {
  readonly #clock: Pick<Clock, 'schedule'>
  readonly #frameMs: number
  readonly #expired: (allowedMs: number) => void
  #timer: Timer | undefined
  /** `completed` when the time began. */
  #message = NONE

  /** `expired` is told how long the peer had. */
  constructor(clock: Pick<Clock, 'schedule'>, frameMs: number, expired: (allowedMs: number) => void) {
    this.#clock = clock
    this.#frameMs = frameMs
    this.#expired = expired
  }

  /** This message is under way. */
  waitsFor(message: MessageUnderWay): void {
    if (this.#message === message.completed) return
    this.cancel()
    this.#message = message.completed
    this.#limit(message, this.#frameMs, 0)
  }

  /** No message is under way, or this side does not read. */
  cancel(): void {
    this.#message = NONE
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #limit(message: MessageUnderWay, delayMs: number, waitedMs: number): void {
    const timer = this.#clock.schedule(delayMs, () => {
      const totalMs = waitedMs + delayMs
      const allowedMs = this.#frameMs + Math.ceil(message.announcedBytes / PIECE_BYTES) * PIECE_MS
      if (allowedMs > totalMs) {
        this.#limit(message, allowedMs - totalMs, totalMs)
        return
      }
      setImmediate(() => {
        if (this.#timer === timer) this.#expired(totalMs)
      })
    })
    this.#timer = timer
  }
}
