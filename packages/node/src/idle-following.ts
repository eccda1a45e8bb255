/**
 * A follower that receives nothing at the moment: it waits for a leader, or stands still while another one is chosen. Its data can be read.
 *
 * Leaves to others: whom it follows next (follower-role), applying what it holds (host).
 */
import type { Clock, Log } from '@understudy/contracts'
import { AppliedWaiters, type Following, type FollowerReport } from '@understudy/replication'
import type { SqliteStorage } from '@understudy/sqlite'

/** `tell` says that the position of the storage moved all the same. */
export interface IdleFollowing extends Following {
  tell(): void
}

export function idleFollowing(
  log: Log,
  storage: SqliteStorage,
  clock: Clock,
  before: Partial<Pick<FollowerReport, 'leaderLsn' | 'highWatermark' | 'lastError' | 'idsUntilMs'>> = {},
): IdleFollowing {
  const waiters = new AppliedWaiters(log, clock, () => storage.applied)
  const close = async (): Promise<void> => waiters.close()
  return {
    report: () => ({
      state: 'disconnected',
      received: log.end.lsn,
      durable: log.durable,
      applied: storage.applied,
      highWatermark: before.highWatermark ?? 0,
      leaderLsn: before.leaderLsn ?? 0,
      rttMs: undefined,
      // The word of the leader outlives the connection on which it came.
      idsUntilMs: before.idsUntilMs,
      lastError: before.lastError,
      lag: undefined,
      heardMs: undefined,
    }),
    waitForApplied: (position, options) => waiters.wait(position, options),
    tell: () => waiters.notify(),
    close,
    [Symbol.asyncDispose]: close,
  }
}
