/** What a member answers its node, right before anything is shown, acknowledged or taken. */
import { notFollowed } from './ballot.ts'
import type { Fence } from './host.ts'
import type { Member } from './member.ts'

export function fenceOf(me: Member): Fence {
  let fedAtMs = -Infinity
  return {
    mayAck: (epoch, runId) => me.ballot.mayAck(epoch, runId),
    admit: async (leader) => {
      const vote = me.ballot.follow(leader)
      if (!vote.granted) throw notFollowed(leader, vote)
    },
    mayLead: () => me.reign?.may() === true,
    publishRules: (acks) => me.publish({ acks }),
    ceilings: () => me.sight.held?.state?.ceilings,
    heard: (leader) => {
      // Records come by the thousand; as heartbeats they are as good as one an interval.
      if (me.now - fedAtMs < me.settings.heartbeatMs) return
      fedAtMs = me.now
      if (me.following?.name === leader) me.detector.heartbeat(leader, me.now)
    },
    lost: (leader, how) => {
      if (how === 'connection-refused') me.detector.connectionRefused(leader, me.now)
    },
    sawEpoch: (epoch) => {
      if (me.reign !== undefined && epoch > me.reign.promise.epoch)
        me.stepDown(me.fenced(`a peer is of the epoch ${epoch}`))
    },
  }
}
