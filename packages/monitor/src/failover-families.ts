/** What is measured of failover: who leads, what this node hears, what would happen if the leader died now. Nothing of a node without failover. */
import type { FailoverStatus, NodeStatus } from '@understudy/node'
import { flag, seconds, type Family, type Read, type Sample } from './family.ts'

export function failoverFamilies(): Family[] {
  return [...clusterFamilies(), ...memberFamilies()]
}

function clusterFamilies(): Family[] {
  return [
    one('leads', 'Whether this node leads right now.', ({ leads }) => flag(leads)),
    one('leader_epoch', 'Epoch of the leader that this node knows of.', ({ leader }) => leader?.epoch),
    one(
      'lease_remaining_seconds',
      'What is left of the lease of this leader; none without one.',
      ({ leaseMs }) => (leaseMs === undefined ? undefined : seconds(Math.max(0, leaseMs))),
    ),
    labelled('leader_verdict', 'What is held of the leader: 1 for the verdict.', 'verdict', ({ verdict }) => [
      { value: 1, labels: { verdict: verdict.verdict } },
    ]),
    one('failover_paused', 'Whether automatic failover is paused.', ({ coordinator }) =>
      flag(coordinator.paused),
    ),
    one('failover_observes', 'Whether this node decides and does nothing.', ({ mode }) =>
      flag(mode === 'observe'),
    ),
    one('coordinator_reached', 'Whether the coordinator answers; 1 where there is none.', ({ coordinator }) =>
      flag(coordinator.reached),
    ),
    one(
      'failover_possible',
      'Whether somebody would lead if the leader died now; without a coordinator, once a person promotes.',
      ({ forecast }) => flag(forecast.outcome === 'promote'),
    ),
    one(
      'failover_forecast_seconds',
      'From the death of the leader to the first accepted write, if it died now; none where nobody would lead.',
      ({ forecast }) => seconds(forecast.tookMs),
    ),
    one(
      'failover_forecast_unreplicated_records',
      'Records of the leader that the next one would lack, as far as is known.',
      ({ forecast }) => forecast.unreplicated,
    ),
  ]
}

function memberFamilies(): Family[] {
  return [
    one('members', 'Members of the cluster, this node among them.', ({ members }) => members.length),
    one(
      'members_heard',
      'Members that this node hears, itself among them.',
      ({ members }) => members.filter(isHeard).length,
    ),
    labelled('member_heard', 'Whether a member is heard.', 'member', ({ members }) =>
      members.map((member) => ({ value: flag(isHeard(member)), labels: { member: member.name } })),
    ),
    labelled('member_promised_epoch', 'Newest epoch that a member promised.', 'member', ({ members }) =>
      members.map(({ name, promised }) => ({ value: promised, labels: { member: name } })),
    ),
  ]
}

function isHeard({ heard }: FailoverStatus['members'][number]): boolean {
  return heard === 'self' || heard === 'alive'
}

function one(name: string, help: string, read: Read<FailoverStatus>): Family {
  return {
    name: `understudy_${name}`,
    help,
    labels: [],
    read: ({ failover }: NodeStatus) => [{ value: failover && read(failover) }],
  }
}

function labelled(
  name: string,
  help: string,
  label: string,
  read: (status: FailoverStatus) => readonly Sample[],
): Family {
  return {
    name: `understudy_${name}`,
    help,
    labels: [label],
    read: ({ failover }: NodeStatus) => (failover === undefined ? [] : read(failover)),
  }
}
