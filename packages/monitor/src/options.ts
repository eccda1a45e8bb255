/** What a monitor is made of: every option, with every default in one place. */
import { UnderstudyError, type Clock } from '@understudy/contracts'
import type { ObservedNode } from '@understudy/node'

export interface MonitorOptions {
  /** Where it answers: `http://127.0.0.1:9100`; port 0 picks a free one. */
  readonly listen: string
  /** The node, where it has started; else give `monitor.observe` to `createNode`. */
  readonly node?: ObservedNode
  /**
   * Answer other machines too, without encryption or authentication: whoever reaches the port sees names, addresses, positions
   * and events of this node. Default false.
   */
  readonly insecure?: boolean
  readonly clock?: Clock
  readonly limits?: Partial<MonitorLimits>
}

export interface MonitorLimits {
  /** Connections at once; one more is closed. */
  readonly connectionsMax: number
  /** Streams of events at once; one more is answered 503. */
  readonly eventStreamsMax: number
  /** Events that wait for a reader that is slow. */
  readonly eventsBufferMax: number
  readonly headerBytesMax: number
  /** A request must have come whole within this time. */
  readonly requestTimeoutMs: number
  /** A stream of events says that it lives, in this interval. */
  readonly eventsBeatMs: number
  /** A stream whose reader takes nothing for so long is ended. */
  readonly eventsStallMs: number
}

export const MONITOR_LIMITS: MonitorLimits = Object.freeze({
  connectionsMax: 64,
  eventStreamsMax: 16,
  eventsBufferMax: 1024,
  headerBytesMax: 8192,
  requestTimeoutMs: 5000,
  eventsBeatMs: 15_000,
  eventsStallMs: 30_000,
})

/** The limits with their defaults. Throws `INVALID_ARGUMENT`. */
export function resolveLimits(given: Partial<MonitorLimits> = {}): MonitorLimits {
  const limits = { ...MONITOR_LIMITS, ...given }
  for (const [name, value] of Object.entries(limits)) {
    if (Number.isSafeInteger(value) && value > 0) continue
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `limits.${name} is ${String(value)}; give a positive whole number. Nothing was opened.`,
    )
  }
  return limits
}
