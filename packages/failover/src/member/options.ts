/** What failover is told: who is a member, who coordinates, how patient it is. */
import { UnderstudyError, type Clock, type Coordinator } from '@understudy/contracts'
import type { ConfirmQuorum } from '../confirm.ts'

export interface MemberAddress {
  readonly name: string
  /** Where the others reach it, such as `tcp://10.0.0.2:7401`. */
  readonly address: string
  /** Higher is preferred, among equally advanced ones. Default 0. */
  readonly priority?: number
  /** It follows, and never leads. Default false. */
  readonly neverPromote?: boolean
}

export interface FailoverOptions {
  /** Every node of the cluster, this one among them: the same list everywhere. */
  readonly members: readonly MemberAddress[]
  /** Who keeps the lease and the published state. Default: nobody, a person promotes. It is closed with the node. */
  readonly coordinator?: Coordinator
  /** Time to live of the lease, in milliseconds: a dead leader is replaced no sooner. Default 1,000; with etcd at least 3,000. */
  readonly leaseMs?: number
  /** How long the main thread may be blocked before its lease is renewed no more, in milliseconds. Default `leaseMs`. */
  readonly stallMs?: number
  /** How often members tell each other how they are, in milliseconds. Default 100. */
  readonly heartbeatMs?: number
  /** `observe`: decides and says what it would do, and does nothing. Default `act`. */
  readonly mode?: 'act' | 'observe'
  /** Without acks nobody provably has every commit. True: fail over all the same, and say what may be lost. Default false. */
  readonly allowAsyncFailover?: boolean
  /** How many members must hear nothing of the leader. Default `majority` of the others. */
  readonly quorum?: ConfirmQuorum
  /** A candidate has so long to act before the next one tries, in milliseconds. Default 1,500. */
  readonly turnMs?: number
  /** After a promotion no other automatic one for so long, in milliseconds. Default 1,000. */
  readonly restMs?: number
  /** Must be the coordinator's. Default `processClock()` of `@understudy/coordination`. */
  readonly clock?: Clock
}

/** With their defaults. */
export interface FailoverSettings extends Required<Omit<FailoverOptions, 'coordinator' | 'clock'>> {
  readonly self: string
  readonly coordinator: Coordinator | undefined
  readonly clock: Clock
}

/** Throws `INVALID_ARGUMENT`. */
export function resolveFailover(options: FailoverOptions, self: string, clock: Clock): FailoverSettings {
  const { members, coordinator, heartbeatMs = 100, leaseMs = 1000, stallMs = leaseMs } = options
  const {
    mode = 'act',
    allowAsyncFailover = false,
    quorum = 'majority',
    turnMs = 1500,
    restMs = 1000,
  } = options
  const names = members.map(({ name }) => name)
  if (!names.includes(self))
    throw invalid(
      `${self} is not among the members (${names.join(', ') || 'none'})`,
      'name every node, this one too',
    )
  if (new Set(names).size < names.length)
    throw invalid('a name stands twice among the members', 'name each node once')
  if (mode !== 'act' && mode !== 'observe')
    throw invalid(`the mode is ${String(mode)}`, 'give act or observe')
  const times = { heartbeatMs, leaseMs, stallMs, turnMs }
  for (const [name, value] of Object.entries(times))
    if (!(value >= 10 && value <= 86_400_000))
      throw invalid(`${name} is ${value}`, 'give milliseconds, from 10 to a day')
  if (!(restMs >= 0)) throw invalid(`restMs is ${restMs}`, 'give milliseconds from 0 on')
  return {
    self,
    members,
    coordinator,
    clock,
    leaseMs,
    stallMs,
    heartbeatMs,
    mode,
    allowAsyncFailover,
    quorum,
    turnMs,
    restMs,
  }
}

function invalid(what: string, advice: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `Failover: ${what}. Nothing was started; ${advice}.`)
}
