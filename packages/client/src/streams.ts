/** The options of streams with their defaults. */
import { UnderstudyError } from '@understudy/contracts'
import { LIMITS } from '@understudy/protocol'
import type { Calls } from './calls.ts'
import type { After } from './after.ts'
import type { StreamAsks } from './row-stream.ts'
import { integersOf, type Integers } from './rows.ts'

export interface IterateOptions {
  /** Rows of a page, which is what is in memory at a time, here and at the node. Default 1,000. */
  readonly batchRows?: number
  /** Bytes of texts and blobs after which a page is full; any other value counts 8. Default 256 KiB. */
  readonly batchBytes?: number
  /** As of a read. */
  readonly after?: After | undefined
  /** How long the stream, and with it a view of the node, may be open, in milliseconds. Default 60,000. */
  readonly timeoutMs?: number
  /** How long it may wait for `after`, in milliseconds. Default: that of `connect`. */
  readonly waitMs?: number
  /** What integers become. Default `auto`. */
  readonly bigint?: Integers
  /** Ends the stream with `ABORTED`. */
  readonly signal?: AbortSignal
}

const OPEN_MS = 60_000
const BATCH_ROWS = 1000
const BATCH_BYTES = 256 * 1024

/** Throws `INVALID_ARGUMENT`. */
export function streamAsks(
  calls: Calls,
  options: IterateOptions,
  statement: StreamAsks['statement'],
): StreamAsks {
  const { after, timeoutMs: openMs = OPEN_MS, waitMs = calls.timeoutMs, signal } = options
  const { batchRows = BATCH_ROWS, batchBytes = BATCH_BYTES } = options
  checkCount('batchRows', batchRows, LIMITS.rowsMax)
  checkCount('batchBytes', batchBytes, LIMITS.frameBytesMax)
  checkCount('timeoutMs', openMs, LIMITS.durationMsMax)
  const integers = integersOf(options.bigint)
  return { statement, after, waitMs, openMs, batchRows, batchBytes, integers, signal }
}

function checkCount(name: string, value: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `${name} is ${value}; give a whole number from 1 to ${most}. Nothing was sent.`,
  )
}
