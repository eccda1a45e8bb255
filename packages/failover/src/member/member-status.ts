/** What a member says of failover to people: who leads, what is held of whom, what would happen if the leader died now. */
import { formatPosition } from '@understudy/contracts'
import { forecast, type Forecast } from '../decide/forecast.ts'
import type { Action } from '../decide/decision.ts'
import type { MemberState } from '../decide/observations.ts'
import type { Member } from './member.ts'

export interface MemberSeen {
  readonly name: string
  readonly address: string
  readonly priority: number
  readonly neverPromote: boolean
  /** Whether its words come. */
  readonly heard: 'alive' | 'suspected' | 'unreachable' | 'self'
  /** For people. */
  readonly reason: string
  /** Absent: it said nothing lately. */
  readonly state?: MemberState
  /** The end of its durable log, such as `3/1042`. */
  readonly position?: string
  /** The newest epoch that it promised. */
  readonly promised?: number
}

export interface FailoverStatus {
  readonly mode: 'act' | 'observe'
  readonly coordinator: {
    /** `manual`, or the coordinator's own. */
    readonly kind: string
    readonly reached: boolean
    readonly problem?: string
    readonly paused: boolean
  }
  readonly leader?: { readonly name: string; readonly epoch: number; readonly address?: string }
  readonly leads: boolean
  /** Milliseconds left of the lease; absent where this node has none. */
  readonly leaseMs?: number
  /** Of a promotion of this node. */
  readonly phase: string
  /** What is held of the leader. */
  readonly verdict: { readonly verdict: 'alive' | 'undecided' | 'dead'; readonly reasons: readonly string[] }
  readonly members: readonly MemberSeen[]
  /** The last decision of this node while nobody leads. */
  readonly decision?: {
    readonly action: Action
    readonly observed?: Action
    readonly reasons: readonly string[]
    readonly rejected: readonly { readonly name: string; readonly reason: string }[]
  }
  /** If the leader died now. */
  readonly forecast: Pick<Forecast, 'outcome' | 'name' | 'tookMs' | 'mayLose' | 'unreplicated' | 'summary'>
}

/** One question to the members with an fsync there; rates of a local network. */
const STEP_MS = 10
const RECORDS_PER_SECOND = 100_000

export function memberStatus(me: Member): FailoverStatus {
  const { own, reign, settings, sight, decision } = me
  const observations = sight.observations(own)
  const leader = sight.leader(own)
  const { coordinator } = settings
  const lease = reign?.isOpen === true ? reign.lease : undefined
  const { decision: _, ...foretold } = forecast(
    { ...observations, intent: { kind: 'automatic' } },
    {
      detectMs: 12 * settings.heartbeatMs,
      leaseMs: coordinator === undefined ? 0 : settings.leaseMs,
      stepMs: STEP_MS,
      fetchedPerSecond: RECORDS_PER_SECOND,
      appliedPerSecond: RECORDS_PER_SECOND,
    },
  )
  const address = leader.name === undefined ? undefined : me.addressOf(leader.name)
  const { verdict, reasons } = observations.verdict
  return {
    mode: settings.mode,
    coordinator: {
      kind: coordinator?.kind ?? 'manual',
      reached: coordinator === undefined || sight.isCoordinatorReached,
      ...(sight.unreachable && { problem: sight.unreachable.message }),
      paused: sight.held?.state?.paused === true,
    },
    ...(leader.name !== undefined && {
      leader: { name: leader.name, epoch: leader.epoch, ...(address !== undefined && { address }) },
    }),
    leads: own.leads,
    ...(lease && { leaseMs: Math.round(lease.validForMs()) }),
    phase: me.promotion.phase,
    verdict: { verdict: own.leads ? 'alive' : verdict, reasons: own.leads ? ['this node leads'] : reasons },
    members: settings.members.map((member) => seen(me, member.name)),
    ...(decision && {
      decision: {
        action: decision.action,
        ...(decision.observed && { observed: decision.observed }),
        reasons: decision.reasons,
        rejected: decision.rejected,
      },
    }),
    forecast: foretold,
  }
}

function seen(me: Member, name: string): MemberSeen {
  const { settings, sight, detector } = me
  const {
    address,
    priority = 0,
    neverPromote = false,
  } = settings.members.find((member) => member.name === name) as {
    address: string
    priority?: number
    neverPromote?: boolean
  }
  const isSelf = name === settings.self
  const report = isSelf ? me.report() : sight.said(name)?.report
  const suspicion = isSelf ? undefined : detector.suspicion(name, me.now)
  return {
    name,
    address,
    priority,
    neverPromote,
    heard: suspicion?.state ?? 'self',
    reason: suspicion?.reason ?? 'it is this node',
    ...(report && { state: report.state, position: formatPosition(report.end) }),
    ...(report?.promised && { promised: report.promised.epoch }),
  }
}
