/**
 * What is measured of a node: a list of metric families, each read from one status.
 *
 * Decides: names, units, labels. By Prometheus' conventions: base units (seconds, bytes), a suffix for the unit, `understudy_` before all. What is not
 * known has no sample: 0 would be a claim.
 */
import type { NodeStatus } from '@understudy/node'
import { failoverFamilies } from './failover-families.ts'
import { flag, seconds, type Family, type Read } from './family.ts'

/** All families that a status tells of. */
export function families(): readonly Family[] {
  return [
    ...nodeFamilies(),
    ...followingFamilies(),
    ...followerFamilies(),
    ...goneFamilies(),
    ...slotFamilies(),
    ...failoverFamilies(),
  ]
}

function nodeFamilies(): Family[] {
  return [
    {
      name: 'understudy_node_info',
      help: 'Who this node is. Always 1.',
      labels: ['node', 'cluster', 'role'],
      read: ({ node, cluster, role }) => [{ value: 1, labels: { node, cluster, role } }],
    },
    {
      name: 'understudy_state',
      help: 'What the node is doing: 1 for the state that it is in.',
      labels: ['state'],
      read: ({ state }) => [{ value: 1, labels: { state } }],
    },
    one('failed', 'Whether the node stopped writing or following for good.', ({ failure }) =>
      flag(failure !== undefined),
    ),
    one('epoch', 'Newest epoch of the log.', ({ epoch }) => epoch),
    one('applied_lsn', 'LSN that readers of this node see.', ({ position }) =>
      Number(position.split('/')[1]),
    ),
    one('log_durable_lsn', 'LSN up to which the log of this node is durable.', ({ durable }) => durable),
    one('log_first_lsn', 'Oldest LSN of the log.', ({ log }) => log.first),
    one(
      'uncheckpointed_bytes',
      'Bytes that wait for a checkpoint.',
      ({ uncheckpointedBytes }) => uncheckpointedBytes,
    ),
    one('clients', 'Clients that are connected.', ({ connections }) => connections?.clients),
    one(
      'strangers',
      'Connections that have not said who they are.',
      ({ connections }) => connections?.strangers,
    ),
    one(
      'certificate_expiry_timestamp_seconds',
      'When the certificate of this node ends.',
      ({ certificate }) => certificate && Date.parse(certificate.expires) / 1000,
    ),
    one(
      'credentials_problem',
      'Whether the newest list of credentials was not taken.',
      ({ credentialsProblem }) => flag(credentialsProblem !== undefined),
    ),
    one('writes_queued', 'Leader: writes that wait for their turn.', ({ writes }) => writes?.queued),
    one(
      'oldest_write_seconds',
      'Leader: for how long the oldest write that is not answered waits.',
      ({ writes }) => seconds(writes?.waitingMs),
    ),
    one(
      'acks_degraded',
      'Leader: whether the ack rule in force is lower than the one asked for.',
      ({ acks }) => acks && flag(acks.degraded),
    ),
    one(
      'acks_pending_seconds',
      'Leader: for how long the oldest group waits for acks; 0 when none does.',
      ({ acks }) => seconds(acks?.pendingMs),
    ),
  ]
}

function followingFamilies(): Family[] {
  const lag = ({ following }: NodeStatus): NonNullable<NodeStatus['following']>['lag'] => following?.lag
  return [
    one('lag_records', 'Follower: records that it has not applied.', (status) => lag(status)?.records),
    one(
      'lag_bytes',
      'Follower: bytes of the records that it has not applied.',
      (status) => lag(status)?.bytes,
    ),
    one(
      'lag_seconds',
      'Follower: for how long it has known of the oldest record that it has not applied.',
      (status) => seconds(lag(status)?.ageMs),
    ),
    one('lag_seconds_is_at_least', 'Follower: whether lag_seconds is less than it really is.', (status) => {
      const known = lag(status)
      return known && flag(known.ageIsAtLeast)
    }),
    one(
      'leader_lsn',
      'Follower: end of the log of its leader, by the last message; none without a connection.',
      ({ following }) => (following?.heardMs === undefined ? undefined : following.leaderLsn),
    ),
    one('leader_heard_seconds', 'Follower: time since the last message of its leader.', ({ following }) =>
      seconds(following?.heardMs),
    ),
    one('leader_round_trip_seconds', 'Follower: round trip to its leader.', ({ following }) =>
      following?.heardMs === undefined ? undefined : seconds(following.rttMs),
    ),
    one(
      'bootstrap_received_bytes',
      'Follower: bytes of the snapshot in progress.',
      ({ bootstrap }) => bootstrap?.receivedBytes,
    ),
    one(
      'bootstrap_total_bytes',
      'Follower: size of the snapshot in progress.',
      ({ bootstrap }) => bootstrap?.totalBytes,
    ),
  ]
}

type Follower = NonNullable<NodeStatus['followers']>[number]

function followerFamilies(): Family[] {
  const each = (name: string, help: string, read: Read<Follower>): Family => ({
    name: `understudy_follower_${name}`,
    help,
    labels: ['follower'],
    read: ({ followers = [] }) =>
      followers.map((follower) => ({ value: read(follower), labels: { follower: follower.name } })),
  })
  return [
    each('sent_lsn', 'LSN that was sent to a follower.', ({ sent }) => sent),
    each('received_lsn', 'LSN that a follower received.', ({ received }) => received),
    each('durable_lsn', 'LSN up to which the log of a follower is durable.', ({ durable }) => durable),
    each('applied_lsn', 'LSN that readers of a follower see.', ({ applied }) => applied),
    each(
      'unacked_bytes',
      'Bytes sent to a follower and not durable there.',
      ({ unackedBytes }) => unackedBytes,
    ),
    each('lag_records', 'Records that a follower has not applied.', ({ lag }) => lag?.records),
    each('lag_bytes', 'Bytes of the records that a follower has not applied.', ({ lag }) => lag?.bytes),
    each(
      'lag_seconds',
      'For how long the oldest record that a follower has not applied is durable here.',
      ({ lag }) => seconds(lag?.ageMs),
    ),
    each(
      'lag_seconds_is_at_least',
      'Whether lag_seconds is less than it really is.',
      ({ lag }) => lag && flag(lag.ageIsAtLeast),
    ),
    each('heard_seconds', 'Time since the last message of a follower.', ({ heardMs }) => seconds(heardMs)),
    each('round_trip_seconds', 'Round trip to a follower.', ({ rttMs }) => seconds(rttMs)),
    {
      name: 'understudy_follower_state',
      help: 'What a connected follower is doing, and what it is to the ack rule: 1 for what it is.',
      labels: ['follower', 'state', 'sync_state'],
      read: ({ followers = [] }) =>
        followers.map(({ name: follower, state, syncState }) => ({
          value: 1,
          labels: { follower, state, sync_state: syncState },
        })),
    },
  ]
}

function goneFamilies(): Family[] {
  return [
    {
      name: 'understudy_follower_connected',
      help: 'Whether a follower is connected: 0 for one that is gone and whose slot is kept.',
      labels: ['follower'],
      read: ({ followers = [], absentFollowers = [] }) => [
        ...followers.map(({ name: follower }) => ({ value: 1, labels: { follower } })),
        ...absentFollowers.map(({ name: follower }) => ({ value: 0, labels: { follower } })),
      ],
    },
    {
      name: 'understudy_follower_gone_seconds',
      help: 'For how long a follower is gone, at least.',
      labels: ['follower'],
      read: ({ absentFollowers = [] }) =>
        absentFollowers.map(({ name: follower, sinceMs }) => ({
          value: seconds(sinceMs),
          labels: { follower },
        })),
    },
  ]
}

type Slot = NodeStatus['log']['slots'][number]

function slotFamilies(): Family[] {
  const each = (name: string, help: string, read: Read<Slot>): Family => ({
    name: `understudy_slot_${name}`,
    help,
    labels: ['slot'],
    read: ({ log }) => log.slots.map((slot) => ({ value: read(slot), labels: { slot: slot.name } })),
  })
  return [
    each('lsn', 'LSN up to which the holder of a retention slot has everything.', ({ lsn }) => lsn),
    each('held_bytes', 'Bytes of the log that a retention slot holds back.', ({ heldBytes }) => heldBytes),
    each(
      'safe_bytes',
      'Bytes that may still be written before a retention slot is lost.',
      ({ safeBytes }) => safeBytes,
    ),
    {
      name: 'understudy_slot_state',
      help: 'State of a retention slot: 1 for the one that it is in.',
      labels: ['slot', 'state'],
      read: ({ log }) => log.slots.map(({ name: slot, state }) => ({ value: 1, labels: { slot, state } })),
    },
  ]
}

/** A family without labels, of at most one sample. */
function one(name: string, help: string, read: Read<NodeStatus>): Family {
  return { name: `understudy_${name}`, help, labels: [], read: (status) => [{ value: read(status) }] }
}
