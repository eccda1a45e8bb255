/**
 * What a member of a cluster says of itself.
 *
 * Decides: what of the log counts as durable, which state it is in, what it can prove. Leaves to others: what follows (failover).
 */
import { ORIGIN, epochAt, type Log, type LogPoint } from '@understudy/contracts'
import type { HostReport } from '@understudy/failover'
import type { AckPolicy, AckState, AckStates } from '@understudy/replication'
import type { SqliteStorage } from '@understudy/sqlite'
import { idsProvenBy } from './ids.ts'
import type { Settings } from './options.ts'
import type { NodeRoles } from './roles.ts'

interface Around {
  readonly isFrozen: boolean
  /** The epoch of the log when this process opened it; 0: it was empty. */
  readonly openedEpoch: number
  readonly settings: Settings
  /** A member says of itself what its log holds many times a second. */
  readonly ackStates: AckStates
}

export function hostReport(roles: NodeRoles, around: Around): HostReport {
  const { following, isLeading } = roles
  const data = roles.anyData
  const isReceiving = !isLeading && !around.isFrozen && following !== undefined
  if (data === undefined)
    return {
      end: ORIGIN,
      history: [],
      appliedLsn: 0,
      state: 'bootstrapping',
      deltaUnverified: false,
      logDamaged: following?.mayLack === true,
      receiversStopped: !isReceiving,
      keptReceived: false,
      idsProven: false,
    }
  const { log, storage } = data
  const end = durableEnd(log)
  const leaderEnd = isLeading ? { epoch: end.epoch, lsn: end.lsn } : following?.leaderEnd
  const rules = rulesOf(log, around)
  return {
    end,
    history: log.history,
    appliedLsn: storage.applied.lsn,
    state: isLeading ? 'leading' : stateOf(roles),
    deltaUnverified: false,
    logDamaged: log.failure !== undefined || roles.failure !== undefined || following?.mayLack === true,
    receiversStopped: !isReceiving && !(isLeading && !around.isFrozen),
    keptReceived: end.epoch > around.openedEpoch || end.lsn === 0,
    ...(rules && { rules }),
    ...(leaderEnd && leaderEnd.lsn > 0 && { leaderEnd }),
    idsProven: isLeading || !hasAutoincrement(storage) || canProveIds(roles, log, around),
  }
}

/** What `end` of a report names must be durable. */
function durableEnd(log: Log): LogPoint {
  const { end, durable } = log
  if (end.lsn === durable) return end
  return { epoch: epochAt(log.history, durable)?.number ?? 0, lsn: durable, crc: log.crcAt(durable) ?? 0 }
}

function stateOf({ following }: NodeRoles): HostReport['state'] {
  const phase = following?.phase
  if (phase === 'diverged' || phase === 'streaming' || phase === 'bootstrapping') return phase
  return phase === 'snapshotRequired' ? 'bootstrapping' : 'catchup'
}

/** What the log says of acks. */
function rulesOf(log: Log, { settings: { acks }, ackStates }: Around): HostReport['rules'] {
  // Nobody ever led: the first epoch begins with what the cluster is told to keep.
  const known: AckState | undefined =
    log.durable === 0 && acks !== undefined
      ? { rule: ruleOf(acks), mayBeLowered: acks.onUnmet === 'degrade' }
      : ackStates.known(log)
  if (known === undefined) return undefined
  const { rule, to, mayBeLowered = false } = known
  return { rule, ...(to && { next: to }), mayBeLowered }
}

function ruleOf({ level, of }: AckPolicy): AckState['rule'] {
  return { level, ...(of && { of }) }
}

function canProveIds({ following }: NodeRoles, log: Log, { settings, ackStates }: Around): boolean {
  const report = following?.view?.following.report()
  return report !== undefined && idsProvenBy(() => ackStates.of(log), report, settings.clock)
}

/** Ids of such tables are given once only; what a former leader gave may stand in no log of a survivor. */
function hasAutoincrement({ connection }: SqliteStorage): boolean {
  return connection.internal(() => {
    const found = connection.database
      .prepare("select 1 from sqlite_schema where type = 'table' and name = 'sqlite_sequence'")
      .get()
    return found !== undefined
  })
}
