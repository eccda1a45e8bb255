/** Clocks of the operating system that are moved by hand. */
import type { RawClocks } from '@understudy/coordination'

export class Hands implements RawClocks {
  monotonicMs = 1000
  wallMs = 1_700_000_000_000
  upMs = 5000
  /** Time that passes between two readings, once. */
  lateMs = 0

  pass(ms: number): void {
    this.monotonicMs += ms
    this.wallMs += ms
    this.upMs += ms
  }

  monotonic(): number {
    const before = this.monotonicMs
    this.pass(this.lateMs)
    this.lateMs = 0
    return before
  }

  wall(): number {
    return this.wallMs
  }

  uptime(): number {
    return this.upMs
  }
}
