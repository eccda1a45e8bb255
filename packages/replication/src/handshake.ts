/**
 * The handshake: what a follower that dials has to do before records flow, decided by the leader.
 *
 * Decides: continue, truncate, snapshot or refuse. A pure function of what both sides know. Leaves to others: sending
 * the verdict, the slot, giving up leading.
 *
 * Validity conditions:
 * 1. Two histories agree up to the end of their last common epoch (same number, run id, first LSN and CRC before it),
 *    or up to the first LSN that only one of them gives to another epoch.
 * 2. A follower is told to truncate only when the epoch that parts the histories began with a promotion: when the node
 *    that led before only restarted, a follower ahead of it proves that this leader lost durable records.
 *    A number that the leader's history skips was given up by a promotion to a higher one: who has records of it parts there, too.
 * 3. No verdict that lets records flow (`continue`) without equal CRCs at the follower's end.
 * 4. A Hello may leave out the oldest epochs of a long history; the leader's own history is whole.
 */
import {
  LOCAL_SLOT,
  epochAt,
  formatPosition,
  type EpochEntry,
  type EpochHistory,
  type ErrorCode,
  type LogPoint,
  type Lsn,
} from '@understudy/contracts'
import type { FormatVersion, Hello } from '@understudy/protocol'

/** What the leader knows of itself. */
export interface LeaderView {
  readonly cluster: string
  readonly node: string
  readonly versionMin: number
  readonly versionMax: number
  readonly history: EpochHistory
  readonly end: LogPoint
  /** Oldest LSN that the log still holds. */
  readonly first: Lsn
  readonly crcAt: (lsn: Lsn) => number | undefined
  /** Formats that its records are written in. */
  readonly formats: readonly FormatVersion[]
  /** Why a follower with these formats cannot apply what is written now; `undefined` when it can. Default: it can. */
  readonly unfit?: (held: readonly FormatVersion[]) => string | undefined
  /** The follower's retention slot went over its cap. */
  readonly slotLost: boolean
}

export type HandshakeDecision =
  | { readonly kind: 'continue'; readonly version: number; readonly from: Lsn }
  | { readonly kind: 'truncate'; readonly version: number; readonly after: Lsn }
  | { readonly kind: 'snapshot'; readonly version: number; readonly reason: string }
  | {
      readonly kind: 'refuse'
      readonly code: ErrorCode
      readonly message: string
      /** The follower proves that this node must not lead. */
      readonly mustStopLeading: boolean
    }

export function decideHandshake(leader: LeaderView, hello: Hello): HandshakeDecision {
  const version = Math.min(leader.versionMax, hello.versionMax)
  if (version < Math.max(leader.versionMin, hello.versionMin)) return refuseVersion(leader, hello)
  if (hello.cluster !== '' && hello.cluster !== leader.cluster) {
    return refuse(
      'FOREIGN_CLUSTER',
      `Node ${hello.node} belongs to cluster ${hello.cluster}, this leader to ${leader.cluster}. Nothing was exchanged; check the address that it was given.`,
    )
  }
  if (hello.node === '' || hello.node === leader.node || hello.node === LOCAL_SLOT) {
    return refuse(
      'INVALID_ARGUMENT',
      `A follower cannot be named "${hello.node}": the name is empty, reserved, or the leader's own. Nothing was exchanged; give each node a name of its own.`,
    )
  }
  const format = refuseFormats(leader, hello)
  if (format !== undefined) return format
  // A newcomer gets the leader's file, and whatever it has now is replaced.
  const unfit = hello.cluster === '' ? undefined : leader.unfit?.(hello.formats)
  if (unfit !== undefined) return refuse('FORMAT_INCOMPATIBLE', unfitFollower(hello.node, unfit))
  if (hello.cluster === '') {
    return { kind: 'snapshot', version, reason: 'The follower does not belong to the cluster yet.' }
  }
  const parting = findParting(leader, hello)
  if (parting.kind === 'refuse') return parting
  if (parting.kind === 'unknown') {
    return {
      kind: 'snapshot',
      version,
      reason: 'The histories parted longer ago than the follower can tell.',
    }
  }
  const { common } = parting
  if (leader.slotLost) {
    return { kind: 'snapshot', version, reason: 'The retention slot of the follower went over its cap.' }
  }
  if (common + 1 < leader.first) {
    return {
      kind: 'snapshot',
      version,
      reason: `The log begins at LSN ${leader.first}; the follower needs it from LSN ${common + 1}.`,
    }
  }
  if (common < hello.end.lsn) return { kind: 'truncate', version, after: common }
  return continueAt(leader, hello, version)
}

function continueAt(leader: LeaderView, hello: Hello, version: number): HandshakeDecision {
  const { end } = hello
  const crc = leader.crcAt(end.lsn)
  if (crc === undefined) {
    return {
      kind: 'snapshot',
      version,
      reason: `The leader cannot compare its record at LSN ${end.lsn} any more.`,
    }
  }
  if (crc !== end.crc) {
    return refuse(
      'EPOCH_FORK',
      `The records of node ${hello.node} and of this leader at ${formatPosition(end)} differ, although their epochs agree: one of the two logs was changed from outside. ` +
        'Nothing was changed; verify both, then let the wrong one bootstrap again.',
    )
  }
  return { kind: 'continue', version, from: end.lsn + 1 }
}

type Parting =
  /** The last LSN at which both logs hold the same record. */
  { readonly kind: 'at'; readonly common: Lsn } | { readonly kind: 'unknown' } | Refusal

type Refusal = Extract<HandshakeDecision, { kind: 'refuse' }>

function findParting(leader: LeaderView, hello: Hello): Parting {
  const { history, end } = hello
  if (end.lsn === 0) return { kind: 'at', common: 0 }
  const fork = findFork(leader, hello)
  if (fork !== undefined) return fork
  const newest = history.at(-1)
  const own = leader.history.at(-1)
  if (newest !== undefined && own !== undefined && newest.number > own.number) {
    return refuse(
      'EPOCH_STALE',
      `Node ${hello.node} already follows epoch ${newest.number} of ${newest.leader}, this node leads epoch ${own.number} only: it was replaced. Its log and database are kept; let it rejoin as a follower.`,
      true,
    )
  }
  const shared = history.findLastIndex((entry) => sameNumber(leader.history, entry) !== undefined)
  if (shared < 0) return nothingShared(hello)
  return partAfter(leader, hello, shared)
}

/** Equal numbers, but not the same stretch of leading. */
function findFork(leader: LeaderView, hello: Hello): Refusal | undefined {
  for (const theirs of hello.history) {
    const ours = sameNumber(leader.history, theirs)
    if (ours === undefined || sameEpoch(ours, theirs)) continue
    const isOwn = ours.leader === leader.node && theirs.leader === leader.node && ours.runId !== theirs.runId
    if (isOwn) return lostRecords(leader, hello, ours.firstLsn - 1)
    return refuse(
      'EPOCH_FORK',
      `Epoch ${theirs.number} of node ${hello.node} was begun by ${theirs.leader} (run ${theirs.runId}), that of this leader by ${ours.leader} (run ${ours.runId}): two nodes were promoted from one past. ` +
        'Nothing was changed; decide which history is kept, and let the nodes of the other one rejoin.',
    )
  }
  return undefined
}

/** `shared`: index in the follower's history of the newest epoch that the leader has too. */
function partAfter(leader: LeaderView, hello: Hello, shared: number): Parting {
  const { history, end } = hello
  const last = history[shared] as EpochEntry
  const theirNext = history[shared + 1]
  const ourNext = leader.history.find((entry) => entry.number > last.number)
  const theirEnd = theirNext === undefined ? end.lsn : theirNext.firstLsn - 1
  const ourEnd = ourNext === undefined ? leader.end.lsn : ourNext.firstLsn - 1
  const common = Math.min(theirEnd, ourEnd)
  if (common >= end.lsn) return { kind: 'at', common: end.lsn }
  // The follower is ahead of what both share. Without an epoch after it, this is the leader's own, running epoch.
  if (ourNext === undefined) return lostRecords(leader, hello, common)
  if (ourNext.leader !== last.leader) return { kind: 'at', common }
  // Only a promotion skips a number: a start takes the next one, which would be a fork with theirs.
  const isSkipped = theirNext !== undefined && theirNext.number < ourNext.number && theirEnd <= ourEnd
  if (isSkipped) return { kind: 'at', common }
  if (theirNext === undefined && ourNext.leader === leader.node) return lostRecords(leader, hello, common)
  return refuse(
    'FOLLOWER_AHEAD',
    `Node ${hello.node} holds records up to ${formatPosition(end)}, of which this leader has only those up to LSN ${common}: ${ourNext.leader} went on with epoch ${ourNext.number} without a promotion that would give them up. ` +
      'Nothing was changed; decide which history is kept, and let the nodes of the other one bootstrap.',
  )
}

function nothingShared(hello: Hello): Parting {
  const oldest = hello.history[0]
  if (oldest !== undefined && oldest.firstLsn > 1) return { kind: 'unknown' }
  return refuse(
    'EPOCH_FORK',
    `Node ${hello.node} shares no epoch with this leader, although it names the same cluster. Nothing was changed; let the wrong one bootstrap again.`,
  )
}

function lostRecords(leader: LeaderView, hello: Hello, common: Lsn): Refusal {
  return refuse(
    'LEADER_LOST_RECORDS',
    `Node ${hello.node} holds records up to ${formatPosition(hello.end)} that this leader wrote and no longer has above LSN ${common}: its disk was swapped, or restored from a copy. ` +
      `Node ${leader.node} must not lead. Its log and database are kept; promote a node that has the records, and let this one rejoin.`,
    true,
  )
}

function refuseVersion(leader: LeaderView, hello: Hello): Refusal {
  return refuse(
    'PROTOCOL_VERSION',
    `Node ${hello.node} speaks protocol versions ${hello.versionMin} to ${hello.versionMax}, this leader ${leader.versionMin} to ${leader.versionMax}. Nothing was exchanged; update the older one.`,
  )
}

function refuseFormats(leader: LeaderView, hello: Hello): Refusal | undefined {
  for (const needed of leader.formats) {
    const held = hello.formats.find((format) => format.id === needed.id)
    if (held !== undefined && held.version >= needed.version) continue
    const lack = held === undefined ? 'was not given it' : `knows it up to version ${held.version}`
    return refuse(
      held === undefined ? 'FORMAT_UNKNOWN' : 'FORMAT_VERSION',
      `The leader writes log format ${needed.id} version ${needed.version}; node ${hello.node} ${lack}. Nothing was exchanged; start the follower with that format.`,
    )
  }
  return undefined
}

/** What a follower is told that cannot apply what the leader writes. */
export function unfitFollower(node: string, why: string): string {
  return `Node ${node} cannot apply what this leader writes: ${why}. Nothing was exchanged, and what it holds is kept.`
}

function refuse(code: ErrorCode, message: string, mustStopLeading = false): Refusal {
  return { kind: 'refuse', code, message, mustStopLeading }
}

function sameNumber(history: EpochHistory, entry: EpochEntry): EpochEntry | undefined {
  return history.find((other) => other.number === entry.number)
}

function sameEpoch(a: EpochEntry, b: EpochEntry): boolean {
  return a.runId === b.runId && a.firstLsn === b.firstLsn && a.crcBefore === b.crcBefore
}

/**
 * What a follower finds wrong with a leader's history: `EPOCH_STALE` when the leader leads an epoch lower than one that
 * the follower has, `EPOCH_FORK` when they share a number but not its run id.
 */
export function findHistoryFault(
  own: EpochHistory,
  leader: EpochHistory,
  leaderName: string,
): { readonly code: ErrorCode; readonly message: string } | undefined {
  for (const entry of own) {
    const theirs = sameNumber(leader, entry)
    if (theirs !== undefined && theirs.runId !== entry.runId) {
      return {
        code: 'EPOCH_FORK',
        message: `Epoch ${entry.number} of this node was begun by ${entry.leader} (run ${entry.runId}), that of ${leaderName} by ${theirs.leader} (run ${theirs.runId}): two histories. Nothing was changed; decide which one is kept.`,
      }
    }
  }
  const newest = own.at(-1)
  const newestTheirs = leader.at(-1)
  if (newest !== undefined && (newestTheirs === undefined || newestTheirs.number < newest.number)) {
    return {
      code: 'EPOCH_STALE',
      message: `${leaderName} leads epoch ${newestTheirs?.number ?? 0}, this node already follows epoch ${newest.number}. Nothing was taken from it; point this node to the present leader.`,
    }
  }
  return undefined
}

/** One log, as its history tells it. */
export interface LogView {
  readonly history: EpochHistory
  readonly end: Lsn
}

/** The last LSN that both logs hold the same record at, as far as their histories tell; `undefined` when they parted longer ago. */
export function commonEnd(own: LogView, other: LogView): Lsn | undefined {
  const shared = own.history.findLastIndex((entry) => sameNumber(other.history, entry)?.runId === entry.runId)
  const last = own.history[shared]
  if (last === undefined) return (own.history[0]?.firstLsn ?? 1) > 1 ? undefined : 0
  const ownNext = own.history[shared + 1]
  const otherNext = other.history.find(({ number }) => number > last.number)
  return Math.min(
    ownNext === undefined ? own.end : ownNext.firstLsn - 1,
    otherNext === undefined ? other.end : otherNext.firstLsn - 1,
  )
}

/** Whether a position stands in a history: its epoch wrote that LSN. `undefined`: the history does not reach there yet. */
export function holdsPosition(
  history: EpochHistory,
  end: LogPoint,
  epoch: number,
  lsn: Lsn,
): boolean | undefined {
  const entry = epochAt(history, lsn)
  if (lsn === 0) return true
  // Of an epoch that began elsewhere: what stands here instead may still be given up for it.
  if (epoch > (history.at(-1)?.number ?? 0)) return undefined
  if (lsn <= end.lsn) return entry === undefined ? undefined : entry.number === epoch
  return (history.at(-1)?.number ?? 0) > epoch ? false : undefined
}
