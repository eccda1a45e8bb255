/** Speed over the last few seconds, and the time that the rest takes at it. */
import type { Clock } from '@understudy/contracts'

const SPAN_MS = 5000
const STEP_MS = 100

export class Speedometer {
  readonly #clock: Clock
  readonly #samples: { readonly atMs: number; readonly bytes: number }[] = []
  #bytes = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.#samples.push({ atMs: clock.monotonic(), bytes: 0 })
  }

  /** True when enough time passed since the last true that a display may be refreshed. */
  add(bytes: number): boolean {
    this.#bytes += bytes
    const now = this.#clock.monotonic()
    if (now - (this.#samples.at(-1)?.atMs ?? 0) < STEP_MS) return false
    this.#samples.push({ atMs: now, bytes: this.#bytes })
    while (this.#samples.length > 2 && now - (this.#samples[0]?.atMs ?? now) > SPAN_MS) this.#samples.shift()
    return true
  }

  get bytesPerSecond(): number {
    const first = this.#samples[0] ?? { atMs: 0, bytes: 0 }
    const elapsedMs = this.#clock.monotonic() - first.atMs
    return elapsedMs <= 0 ? 0 : ((this.#bytes - first.bytes) / elapsedMs) * 1000
  }

  /** `undefined` while nothing moves. */
  etaMs(remainingBytes: number): number | undefined {
    const speed = this.bytesPerSecond
    return speed <= 0 ? undefined : (remainingBytes / speed) * 1000
  }
}
