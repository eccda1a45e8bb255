/** Every limit of the server with its default, in one place. */
import { UnderstudyError } from '@understudy/contracts'
import { LIMITS } from '@understudy/protocol'

export interface ServerLimits {
  /** Requests of one client that are worked on at once; further ones wait in the network. Default 256. */
  readonly requestsMax: number
  /** Longest request in bytes. Default 16 MiB, the protocol's own limit. */
  readonly requestBytesMax: number
  /** Rows of one answer. Default 100,000. */
  readonly rowsMax: number
  /** Bytes of the values of one answer. Default 8 MiB. */
  readonly resultBytesMax: number
  /** Statements of one client that are kept prepared; the one used longest ago makes room. Default 256. */
  readonly preparedMax: number
  /** Transactions and streams of one client that are open at once. Default 8. */
  readonly heldMax: number
  /** A stream, or a transaction that only reads, that is not used for this long is closed, in milliseconds. Default 30,000. */
  readonly heldIdleMs: number
  /** Longest wait that a client may ask for, in milliseconds; longer ones are cut to it. Default 10 minutes. */
  readonly timeoutMsMax: number
  /** Bytes of the decisions of one answer. Default 1 MiB. */
  readonly decisionsBytesMax: number
  /** A client that asks nothing and waits for nothing for this long is closed with `PEER_SILENT`. Default 1 hour. */
  readonly idleMs: number
}

export const DEFAULT_LIMITS: ServerLimits = Object.freeze({
  requestsMax: 256,
  requestBytesMax: LIMITS.frameBytesMax,
  rowsMax: 100_000,
  resultBytesMax: 8 * 1024 * 1024,
  preparedMax: 256,
  heldMax: 8,
  heldIdleMs: 30_000,
  timeoutMsMax: 600_000,
  decisionsBytesMax: 1024 * 1024,
  idleMs: 3_600_000,
})

/** Each limit can be lowered freely; these are as high as the protocol goes. */
const HIGHEST: ServerLimits = Object.freeze({
  requestsMax: 65_536,
  requestBytesMax: LIMITS.frameBytesMax,
  rowsMax: LIMITS.rowsMax,
  // Tags, lengths and column names need room beside the values.
  resultBytesMax: LIMITS.frameBytesMax / 2,
  preparedMax: 65_536,
  heldMax: 65_536,
  heldIdleMs: LIMITS.durationMsMax,
  timeoutMsMax: LIMITS.durationMsMax,
  decisionsBytesMax: LIMITS.frameBytesMax / 2,
  idleMs: LIMITS.durationMsMax,
})

/** Throws `INVALID_ARGUMENT` for a limit that is no whole number from 1 to the highest that the protocol allows. */
export function resolveLimits(given: Partial<ServerLimits>): ServerLimits {
  const limits = { ...DEFAULT_LIMITS, ...given }
  for (const [name, highest] of Object.entries(HIGHEST)) {
    const value: unknown = limits[name as keyof ServerLimits]
    if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= highest) continue
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `The limit ${name} is ${String(value)}; it must be a whole number from 1 to ${highest}. No client was answered.`,
      { limit: name },
    )
  }
  return limits
}
