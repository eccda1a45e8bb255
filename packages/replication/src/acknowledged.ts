/**
 * Up to where a follower knows that records are acknowledged, from its log and what its leader says.
 *
 * 1. What the log proves by itself (`shownUpTo`) is acknowledged.
 * 2. The leader's high watermark proves the rest, except for a group that asks for the level `applied`: followers show that one first.
 */
import { FLAG_ASKS_APPLIED, type Log, type Lsn } from '@understudy/contracts'
import { shownUpTo } from './shown.ts'

export function acknowledgedOnFollower(log: Log, highWatermark: Lsn): Lsn {
  const shown = shownUpTo(log)
  if (highWatermark <= shown) return shown
  for (const { flags } of log.records(shown + 1, shown + 1))
    if ((flags & FLAG_ASKS_APPLIED) !== 0) return shown
  return Math.min(highWatermark, log.durable)
}
