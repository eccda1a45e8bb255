/** Warnings of policy `allow`: the first of each reason, then one in a thousand, with how many were held back. */
import type { SafetyReason, SafetyReasonCode } from './reasons.ts'

export interface UnsafeWarning {
  readonly reason: SafetyReason
  /** How often this reason came up since it was last told, and was not told. */
  readonly suppressed: number
}

/** After the first warning of a reason, one in so many. */
const ONE_IN = 1000

export class Warnings {
  readonly #tell: ((warning: UnsafeWarning) => void) | undefined
  readonly #counts = new Map<SafetyReasonCode, number>()

  constructor(tell: ((warning: UnsafeWarning) => void) | undefined) {
    this.#tell = tell
  }

  warn(reasons: readonly SafetyReason[]): void {
    for (const reason of reasons) {
      const count = this.#counts.get(reason.code) ?? 0
      this.#counts.set(reason.code, count + 1)
      if (count % ONE_IN === 0) this.#tell?.({ reason, suppressed: count === 0 ? 0 : ONE_IN - 1 })
    }
  }
}
