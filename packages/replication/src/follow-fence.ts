/**
 * What a follower asks, right before the thing itself, of whoever decides which leader it follows.
 *
 * Leaves to others: promises, elections (failover), when to ask (receiver).
 */

/** A leader as its epoch: `candidate` is its name. */
export interface LeaderClaim {
  readonly epoch: number
  readonly runId: string
  readonly candidate: string
}

export interface FollowFence {
  /** May an ack leave to the leader of this epoch. */
  mayAck(epoch: number, runId: string): boolean
  /**
   * May anything of this leader be taken. Resolves when it is durable that nothing lower is followed; rejects with `EPOCH_STALE` or
   * `EPOCH_FORK`: the connection is closed, and dialled again later.
   */
  admit(leader: LeaderClaim): Promise<void>
  /** This leader was heard: records or a heartbeat of it. */
  heard(leader: string): void
  /** The connection to it ended, from its side: refused by its machine, or lost. */
  lost(leader: string, how: 'connection-lost' | 'connection-refused'): void
}
