/**
 * The time that a peer has to complete a frame it began, so that nobody holds memory with half a frame for ever.
 *
 * 1. A frame has `frameMs`, and a second more for each 64 KiB that it announced: a slow line is no attack.
 *    Neither bytes that trickle in nor control frames between fragments give it more.
 * 2. Time does not count while this side reads nothing; a frame that goes on after a pause has all its time anew.
 * 3. One timer per channel, set when a frame is under way and none is, and looked after when it fires: reads, of which
 *    there are many, set none.
 * 4. After a stall of this process timers run before what came meanwhile is read, so that is read first.
 */
import type { Clock, Timer } from '@understudy/contracts'

const SECOND_MS = 1000
const BYTES_PER_SECOND = 64 * 1024
const NONE = -1

export class FrameDeadline {
  readonly #clock: Clock
  readonly #frameMs: number
  readonly #expired: (allowedMs: number) => void
  #frame = NONE
  #beganAtMs = 0
  #allowedMs = 0
  #timer: Timer | undefined

  /** `expired` is told how long the peer had. */
  constructor(clock: Clock, frameMs: number, expired: (allowedMs: number) => void) {
    this.#clock = clock
    this.#frameMs = frameMs
    this.#expired = expired
  }

  /** More bytes are needed for the frame with this number, which announced `length` bytes: 0 while that is not known. */
  waitsFor(frame: number, length: number): void {
    if (frame !== this.#frame) {
      this.#frame = frame
      this.#beganAtMs = this.#clock.monotonic()
    }
    this.#allowedMs = this.#frameMs + Math.ceil((length / BYTES_PER_SECOND) * SECOND_MS)
    this.#timer ??= this.#clock.schedule(this.#allowedMs, () => this.#look())
  }

  /** No frame is under way, or this side does not read. */
  rests(): void {
    this.#frame = NONE
  }

  cancel(): void {
    this.rests()
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #look(): void {
    this.#timer = undefined
    if (this.#frame === NONE) return
    const leftMs = this.#beganAtMs + this.#allowedMs - this.#clock.monotonic()
    if (leftMs > 0) {
      this.#timer = this.#clock.schedule(leftMs, () => this.#look())
      return
    }
    const late = this.#frame
    setImmediate(() => {
      if (this.#frame === late) this.#expired(this.#allowedMs)
    })
  }
}
