/** Whether a lease is valid, asked from another thread than the one that renews it. */
import { RAW_CLOCKS, Suspension, type RawClocks } from '../process-clock.ts'
import type { LeaseCell } from './cell.ts'
import type { Validity } from './kept-lease.ts'

const NS_PER_MS = 1e6

/** `nowNs` and `clocks`: other ones than the machine's, for tests. */
export function sharedValidity(
  cell: LeaseCell,
  clocks: RawClocks = RAW_CLOCKS,
  nowNs: () => bigint = () => process.hrtime.bigint(),
): Validity {
  const suspension = new Suspension(clocks)
  let suspended = false
  return {
    leftMs() {
      // Read before the clock: a renewal that comes between the two then gives too little, never too much.
      const untilNs = cell.validUntilNs
      const atNs = nowNs()
      // For how long the machine stood still does not matter: this lease is over, and another one is asked for.
      suspended ||= suspension.totalMs(Number(atNs) / NS_PER_MS) > 0
      return suspended ? 0 : Number(untilNs - atNs) / NS_PER_MS
    },
    whyOver: () => (suspended ? 'suspended' : 'ran out'),
    end: () => cell.end(),
  }
}
