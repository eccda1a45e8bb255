/** Positions to wait for, with what proves them. */
import type { Position, PositionProof } from '@understudy/contracts'

/** A position, such as a receipt's. With its `crc` and `runId` a lost one is told at once. */
export type After = Position & Partial<PositionProof>

/** A position to wait for, as it is sent. */
export function afterAsks(after: After | undefined): {
  readonly after?: Position
  readonly afterProof?: PositionProof
} {
  if (after === undefined) return {}
  const { epoch, lsn, crc, runId } = after
  const isProven = crc !== undefined && runId !== undefined
  return { after: { epoch, lsn }, ...(isProven && { afterProof: { crc, runId } }) }
}
