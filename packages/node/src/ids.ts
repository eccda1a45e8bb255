/** What a node says of ids: a leader how far it may give them, a follower whether it could go on above them. Plain data: ids are texts. */
import type { Clock, Log, SqliteConnection, Storage } from '@understudy/contracts'
import {
  ackStateOf,
  idsProven,
  type AckState,
  type FollowerReport,
  type IdStatus,
} from '@understudy/replication'

export interface TableIds {
  readonly table: string
  /** Leader: the largest id that was given; `undefined` for a table that is gone. */
  readonly given?: string | undefined
  /** Ids are reserved up to here. A new leader starts above. */
  readonly ceiling: string
  /** Leader: ids may be answered up to here. */
  readonly inForce?: string
}

export interface IdsReport extends Partial<Omit<IdStatus, 'tables'>> {
  /** Tables with AUTOINCREMENT. */
  readonly tables: readonly TableIds[]
  /** Follower: it can prove the newest ceilings, so that it could lead without starting 2^40 higher. */
  readonly proven?: boolean
}

/** Of a leader. */
export function idsOfLeader(ids: IdStatus): IdsReport {
  const tables = ids.tables.map(({ table, given, ceiling, inForce }) => ({
    table,
    given: given?.toString(),
    ceiling: ceiling.toString(),
    inForce: inForce.toString(),
  }))
  return { ...ids, tables }
}

/** Of a follower; `undefined` when its database has no ids to protect, or cannot be asked. */
export function idsOfFollower(
  { storage, log }: { readonly storage: Storage<SqliteConnection>; readonly log: Log },
  report: FollowerReport,
  clock: Clock,
): IdsReport | undefined {
  try {
    const ceilings = storage.ids?.stored().ceilings
    if (ceilings === undefined || ceilings.size === 0) return undefined
    const tables = [...ceilings]
      .map(([table, { ceiling }]) => ({ table, ceiling: ceiling.toString() }))
      .toSorted((a, b) => (a.table < b.table ? -1 : 1))
    return { tables, proven: idsProvenBy(() => ackStateOf(log), report, clock) }
  } catch {
    return undefined
  }
}

/**
 * Whether a follower that has all that was acknowledged could lead without giving an id twice, by the rules that its own log says (`acks`) and its leader's word.
 * To be asked when it is promoted: the word ends after a while.
 */
export function idsProvenBy(
  acks: () => AckState,
  { idsUntilMs }: Pick<FollowerReport, 'idsUntilMs'>,
  clock: Clock,
): boolean {
  if (idsUntilMs !== undefined && clock.monotonic() < idsUntilMs) return true
  // The log is read for it, so only where the word does not do.
  return idsProven({ isPromised: false, acks: acks() })
}
