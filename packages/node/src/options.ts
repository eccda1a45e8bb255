/** What a node is made of: every option, with every default in one place. */
import { realpathSync } from 'node:fs'
import {
  LOCAL_SLOT,
  UnderstudyError,
  systemClock,
  systemRandom,
  type Clock,
  type Files,
  type LogFormat,
  type Random,
  type SqliteConnection,
  type Transport,
} from '@understudy/contracts'
import type { Credential, Grants } from '@understudy/protocol'
import type { FailoverOptions } from '@understudy/failover'
import { nodeFiles } from '@understudy/log'
import {
  commitMeasures,
  resolvePolicy,
  shadowRefusal,
  type AckPolicy,
  type CommitMeasures,
  type LeaderIds,
  type LinkLimits,
  type PipelineLimits,
} from '@understudy/replication'
import { profilePolicy, type Profile } from './profiles.ts'
import type { Setup } from '@understudy/sqlite'
import type { ObservedNode } from './api.ts'
import { EventHub, type NodeEvent } from './events.ts'

export type Role = 'leader' | 'follower'

export interface NodeOptions {
  /** Unique in its cluster; letters, digits, `-`, `_` and `.`, at most 64. The leader keeps a retention slot of this name. */
  readonly name: string
  /** Where everything of this node is kept; made when missing. */
  readonly directory: string
  readonly role: Role
  /** How writes are logged. */
  readonly format: LogFormat<SqliteConnection>
  /** Further formats that records of the log may be in. Default none. */
  readonly formats?: readonly LogFormat<SqliteConnection>[]
  /** Leader: a second format that is recorded beside `format` and never logged: `status().shadow` compares the two. Default none. */
  readonly shadow?: LogFormat<SqliteConnection>
  /**
   * Leader: which followers must have a write before it is acknowledged and shown, such as `semiSync(['b', 'c'])`. Default: the
   * rule that the log says, none in a new one. Another rule than that is a change of it: both hold until members of both have its record.
   */
  readonly acks?: AckPolicy
  /**
   * Leader: who may be promoted in its place, and where the ceilings of ids are published. Default: with `failover` the coordinator, or every
   * follower that streams; without it nobody can be promoted, and nobody is waited for.
   */
  readonly ids?: LeaderIds
  /**
   * Leader, in place of `acks`: the protection in one word. `no-loss`: more than half of the cluster has each write, or it is not
   * acknowledged. `balanced`: one follower has it, unless none answers. `fast`: the leader has it. Default none.
   */
  readonly profile?: Profile
  /** With a profile: names of the followers that count. Default with `failover`: every other member. */
  readonly members?: readonly string[]
  readonly transport: Transport
  /** Where followers and clients connect, such as `tcp://127.0.0.1:7401`; port 0 picks a free one. Default: nowhere. */
  readonly listen?: string
  /** Follower: the leader's address. */
  readonly leader?: string
  /**
   * Who leads is decided together with these members: the role may change while it runs. `role` says only who founds the cluster: `leader` on
   * an empty directory. `listen` is needed, `leader` is not. Default: none, the role stays.
   */
  readonly failover?: FailoverOptions
  /**
   * Follower: writes of clients, which are lists of statements, are sent on to the leader over a connection of this node. What the client
   * may is checked here; the node's own credential needs the role `write` too. Default false: they are answered `NOT_LEADER`.
   */
  readonly forwardWrites?: boolean
  /** Whom this node lets in and what for: `readGrants` of `@understudy/credentials`, or `grants` of `@understudy/protocol`. Default: everybody, for everything. */
  readonly credentials?: Grants
  /** As whom this node dials its leader when it follows. Default: as nobody, which only a leader without credentials lets in. */
  readonly credential?: Credential
  /** Compress frames with peers that authenticated and ask for it too. Default false. */
  readonly compression?: boolean
  /** Binds authentication to the TLS session. Off only where a reverse proxy ends TLS, and then at both ends. Default true. */
  readonly channelBinding?: boolean
  /** How many may connect to this node. */
  readonly connections?: Partial<ConnectionLimits>
  /** Registers functions, aggregates and collations on every connection: the same ones on every node. */
  readonly setup?: Setup
  /** Leader, first start only: adopts a copy of this database file. The file itself is only read. */
  readonly importFrom?: string
  /**
   * Leader: the database is this file, which another, unmodified program writes; what it commits is logged from outside,
   * page by page, and this node writes nothing of its own. Needs a physical format.
   */
  readonly sidecar?: string
  /** How often the database of another program is looked at. Default 20. */
  readonly sidecarPollMs?: number
  /** Follower: this directory was a leader's, maybe of another name, and may be replaced by a snapshot all the same. Default false. */
  readonly replaceLeader?: boolean
  /**
   * Follower: this directory was a leader's, and joins the leader of now. What it alone has is written to a file of its folder
   * `lost-tail` and undone, or, where that cannot be, replaced by the pages that differ. The start resolves once that is
   * done. Default false.
   */
  readonly rejoin?: boolean
  readonly onEvent?: (event: NodeEvent) => void
  /** Gets the node before it starts, so that a monitor can tell what a start is doing. Use what `ObservedNode` names only. */
  readonly observe?: (node: ObservedNode) => void
  /** Gives up a start with `ABORTED`; without effect once the node has started. */
  readonly signal?: AbortSignal

  readonly clock?: Clock
  readonly random?: Random
  readonly files?: Files
  /** Connections that read at once. Default 4. */
  readonly readers?: number
  /** Connections beside them for streams and transactions of clients that only read. Default 8. */
  readonly heldReaders?: number
  /** SQL of clients may use a schema that calls functions of `setup`. Default false: see "What a peer's bytes meet" in the README of `sqlite`. */
  readonly trustSchema?: boolean
  /** Size of a log segment in bytes. Default 16 MiB. */
  readonly segmentBytes?: number
  /** A follower's slot that holds back more of the log is lost. Default 16 GiB. */
  readonly slotBytesMax?: number
  /** Uncheckpointed bytes that start a checkpoint. Default 2 MiB: what one syncs delays the syncs of commits. */
  readonly checkpointBytes?: number
  /**
   * Bytes of changed pages, and of the log, that this node keeps undoable, so that it rejoins without a copy when it has more than a new leader:
   * about twice as much of disk at most. 0: nothing, and pages that differ travel where rows cannot be undone. Default 64 MiB.
   */
  readonly rewindBytesMax?: number
  /** Limit for a bootstrap, on either side, in bytes per second; 0 for none. Default 0. */
  readonly snapshotBytesPerSecondMax?: number
  /** How long a broken snapshot can be resumed. Default 60,000. */
  readonly snapshotKeepMs?: number
  /** Limits of the commit pipeline: see the README of `replication`. */
  readonly pipeline?: Partial<PipelineLimits>
  /** Heartbeats, deadline and window of connections between nodes: see the README of `replication`. */
  readonly link?: Partial<LinkLimits>
}

export interface ConnectionLimits {
  /** Connections at once. Default 1,024. */
  readonly max: number
  /** The same from one address. Default 256. */
  readonly perAddressMax: number
  /** Connections that have not said who they are yet; one more, and the one that waits longest is closed. Default 128. */
  readonly strangersMax: number
}

/** Options with their defaults. */
export interface Settings extends NodeOptions {
  readonly clock: Clock
  readonly random: Random
  readonly files: Files
  readonly allFormats: readonly LogFormat<SqliteConnection>[]
  readonly checkpointBytes: number
  readonly rewindBytesMax: number
  readonly sidecarPollMs: number
  readonly emit: (event: NodeEvent) => void
  readonly events: EventHub
  readonly measures: CommitMeasures
}

export const CHECKPOINT_BYTES_DEFAULT: number = 2 * 1024 * 1024
/** How often the bytes that wait for a checkpoint are looked at. */
export const REWIND_BYTES_DEFAULT: number = 64 * 1024 * 1024
export const CHECKPOINT_INTERVAL_MS = 50
/** How often the database of another program is looked at. */
export const SIDECAR_POLL_MS = 20
/** How long a start waits, blocking, for the write lock that another program holds. */
export const SIDECAR_START_LOCK_MS = 5000
/** The same once the node runs: what it serves must go on, and it can ask again. */
export const SIDECAR_LOCK_MS = 50
/** How long a new connection has to prove who it is and to say what it wants. */
export const HELLO_TIMEOUT_MS = 5000
export const CONNECTION_LIMITS: ConnectionLimits = Object.freeze({
  max: 1024,
  perAddressMax: 256,
  strangersMax: 128,
})
/** How long a node tries to reach its leader, and to be let in, before it tries again. */
export const DIAL_TIMEOUT_MS = 5000
/** Longest frame once a peer said who it is. */
export const FRAME_BYTES_MAX: number = 16 * 1024 * 1024
/** How long a view frozen at a marker waits for its digest to be asked for. */
export const FROZEN_VIEW_MS = 60_000
/** Views kept frozen at once: each holds a reader and the write-ahead log's frames behind it. */
export const FROZEN_VIEWS_MAX = 4

/** How long a read waits for its position, or for data, when it names no time of its own. */
export const READ_TIMEOUT_MS = 10_000

/** Checks the options and fills in the defaults. Throws `INVALID_ARGUMENT` or `ADDRESS_INVALID`. */
export function resolveOptions(
  given: NodeOptions,
  { isMember = false }: { readonly isMember?: boolean } = {},
): Settings {
  checkIdentity(given)
  if (isMember) checkMember(given)
  else checkRole(given)
  const options = withProfile(given, isMember)
  checkParts(options)
  checkAccess(options)
  checkAcks(options, isMember)
  checkNumbers(options)
  const sidecar = resolveSidecar(options)
  const { format, formats = [], onEvent } = options
  const clock = options.clock ?? systemClock()
  const events = new EventHub(clock, onEvent)
  return {
    ...options,
    clock,
    random: options.random ?? systemRandom(),
    files: options.files ?? nodeFiles(),
    ...(sidecar !== undefined && { sidecar }),
    sidecarPollMs: options.sidecarPollMs ?? SIDECAR_POLL_MS,
    // Of the database of another program nothing but pages is ever logged.
    allFormats: [format, ...formats.filter((other) => other.id !== format.id)].filter(
      (each) => sidecar === undefined || each.physical === true,
    ),
    checkpointBytes: options.checkpointBytes ?? CHECKPOINT_BYTES_DEFAULT,
    rewindBytesMax: options.rewindBytesMax ?? REWIND_BYTES_DEFAULT,
    emit: (event) => events.emit(event),
    events,
    measures: commitMeasures(),
  }
}

/** Throws `ABORTED` when the caller gave up the start. */
export function throwIfAborted({ name, signal }: Settings): void {
  if (signal?.aborted === true) throw startAborted(name, signal)
}

/** What a start rejects with when its signal aborts. */
export function startAborted(name: string, signal: AbortSignal | undefined): UnderstudyError {
  return new UnderstudyError(
    'ABORTED',
    `The start of node ${name} was aborted. What it had received is kept, and the next start goes on from there.`,
    { cause: signal?.reason },
  )
}

function checkIdentity({ name, directory }: NodeOptions): void {
  if (typeof name !== 'string') throw invalid('name is missing or no string; name the node.')
  if (!NODE_NAME.test(name))
    throw invalid(
      `name is '${name}'; use 1 to 64 letters, digits, '-', '_' or '.', not beginning with a sign.`,
    )
  if (name === LOCAL_SLOT)
    throw invalid(`name is '${LOCAL_SLOT}', which every node's own retention slot is called; use another.`)
  if (typeof directory !== 'string' || directory === '')
    throw invalid('directory is missing or empty; name a folder for the data of this node.')
}

function checkRole({ role, leader, importFrom, replaceLeader, rejoin, shadow }: NodeOptions): void {
  if (role !== 'leader' && role !== 'follower')
    throw invalid(`role is '${String(role)}'; use 'leader' or 'follower'.`)
  if (role === 'follower' && leader === undefined)
    throw invalid('a follower needs the address of its leader: leader: "tcp://host:port".')
  if (role === 'leader' && leader !== undefined)
    throw invalid('a leader takes no leader address; remove it, or use role: "follower".')
  if (role === 'follower' && importFrom !== undefined)
    throw invalid('only a leader imports a database; a follower gets a snapshot from its leader.')
  if (role === 'follower' && shadow !== undefined)
    throw invalid('only a leader records a shadow format; remove shadow.')
  if (role === 'leader' && rejoin === true)
    throw invalid('rejoin is for a node that is to follow; remove it, or use role: "follower".')
  if (role === 'leader' && replaceLeader === true)
    throw invalid('replaceLeader is for a node that is to follow; remove it, or use role: "follower".')
}

/** What a member is it is told by its cluster; an empty one of the role `leader` founds that. */
function checkMember({ role, leader, sidecar, rejoin, replaceLeader, importFrom }: NodeOptions): void {
  if (role !== 'leader' && role !== 'follower')
    throw invalid(
      `role is '${String(role)}'; use 'leader' for the node that founds the cluster, else 'follower'.`,
    )
  if (leader !== undefined) throw invalid('a member finds its leader by itself; remove leader.')
  if (sidecar !== undefined)
    throw invalid('the database of another program cannot change its leader; remove sidecar, or failover.')
  if (rejoin === true || replaceLeader === true)
    throw invalid('a member rejoins by itself; remove rejoin and replaceLeader.')
  if (role === 'follower' && importFrom !== undefined)
    throw invalid('only the node that founds a cluster imports a database; others get a snapshot from it.')
}

function checkParts({ format, shadow, transport, listen, leader }: NodeOptions): void {
  if (typeof format?.recorder !== 'function')
    throw invalid('format is missing: give a log format, such as rowFormat() of @understudy/format-row.')
  if (shadow !== undefined) {
    if (typeof shadow?.recorder !== 'function')
      throw invalid('shadow is no log format; give one, such as statementFormat(), or none.')
    const refusal = shadowRefusal(format, shadow)
    if (refusal !== undefined) throw refusal
  }
  if (!Array.isArray(transport?.schemes))
    throw invalid('transport is missing: give a transport, such as tcp() of @understudy/transport-tcp.')
  for (const [option, address] of Object.entries({ listen, leader })) {
    if (address === undefined) continue
    if (typeof address !== 'string') throw invalid(`${option} is no string; give an address.`)
    const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(address)?.[1]?.toLowerCase()
    if (scheme !== undefined && transport.schemes.includes(scheme)) continue
    const served = transport.schemes.map((each) => `${each}://`).join(' or ')
    throw new UnderstudyError(
      'ADDRESS_INVALID',
      `${option} is '${address}', which the transport cannot serve; it takes addresses that begin with ${served}. Nothing was started.`,
    )
  }
}

/** What a check throws, as an option that keeps a node from starting. */
function startable<R>(check: () => R): R {
  try {
    return check()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw invalid(message.replace(/ Nothing was (changed|started)\.$/, ''))
  }
}

/** The policy of the profile takes the place of `acks`. */
function withProfile(options: NodeOptions, isMember: boolean): NodeOptions {
  const { role, profile, members } = options
  // A member may lead at any time.
  if (role === 'follower' && !isMember && (profile !== undefined || members !== undefined))
    throw invalid('only a leader has a profile; remove profile and members, or use role: "leader".')
  const given = isMember ? withMembers(options) : options
  const acks = startable(() => profilePolicy(given))
  return acks === undefined ? options : { ...given, acks }
}

/** With failover every other member counts, unless it is said who does. */
function withMembers(options: NodeOptions): NodeOptions {
  const { name, profile, members, failover } = options
  if (profile === undefined || profile === 'fast' || members !== undefined || failover === undefined)
    return options
  return {
    ...options,
    members: failover.members.flatMap((member) => (member.name === name ? [] : [member.name])),
  }
}

/** A rule that nobody would keep is an error, not a comfort. */
function checkAcks({ acks, role, name, sidecar }: NodeOptions, isMember: boolean): void {
  if (acks === undefined) return
  // The set of a member's cluster may name the member itself: it counts while another one leads.
  if (isMember) return void startable(() => resolvePolicy(acks))
  if (role !== 'leader') throw invalid('only a leader asks for acks; remove acks, or use role: "leader".')
  const { rule } = startable(() => resolvePolicy(acks, name))
  if (sidecar !== undefined && rule.of !== undefined)
    throw invalid(
      'acks and sidecar exclude each other: another program answers its writes, not this node. Remove one.',
    )
}

/** What protects must not be ignored because it cannot take effect. */
function checkAccess({ credentials, credential, compression, channelBinding }: NodeOptions): void {
  if (credentials !== undefined && typeof credentials?.find !== 'function')
    throw invalid('credentials is no list: give readGrants(path) of @understudy/credentials.')
  if (credentials !== undefined || credential !== undefined) return
  if (compression === true)
    throw invalid(
      'compression begins after authentication only; give credentials, and a credential to followers.',
    )
  if (channelBinding !== undefined)
    throw invalid(
      'channelBinding is a part of authentication; give credentials, or a credential to a follower.',
    )
}

/** Whoever opens a file by two paths opens it twice: the one that counts. */
function resolveSidecar(options: NodeOptions): string | undefined {
  const { sidecar, role, format, importFrom, shadow, files = nodeFiles() } = options
  if (sidecar === undefined) return undefined
  if (role !== 'leader')
    throw invalid('sidecar is for a leader: a follower keeps a database of its own. Remove it.')
  if (format.physical !== true)
    throw invalid(
      `sidecar needs a format of pages, such as walFormat() of @understudy/format-wal; ${format.name} cannot see what another program writes.`,
    )
  if (importFrom !== undefined)
    throw invalid('sidecar and importFrom exclude each other: the database stays where it is. Remove one.')
  if (shadow !== undefined)
    throw invalid('sidecar and shadow exclude each other: another program writes, not this node. Remove one.')
  if (typeof sidecar !== 'string') throw invalid('sidecar is no string; name the database of the program.')
  if (!files.exists(sidecar))
    throw invalid(`sidecar is '${sidecar}', which does not exist; name the database of the program.`)
  return realpathSync(sidecar)
}

/** Names of nodes, a peer's too: they are slots, and stand in messages for people. */
export const NODE_NAME: RegExp = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

const NUMBERS = {
  readers: 1,
  heldReaders: 1,
  segmentBytes: 1,
  slotBytesMax: 1,
  checkpointBytes: 1,
  rewindBytesMax: 0,
  snapshotBytesPerSecondMax: 0,
  snapshotKeepMs: 0,
  sidecarPollMs: 1,
} as const

function checkNumbers(options: NodeOptions): void {
  for (const [name, lowest] of Object.entries(NUMBERS)) {
    const value = options[name as keyof typeof NUMBERS]
    if (value === undefined || (Number.isSafeInteger(value) && value >= lowest)) continue
    throw invalid(`${name} is ${String(value)}; give a whole number from ${lowest}.`)
  }
  const { pipeline, link, connections } = options
  for (const [group, limits] of Object.entries({ pipeline, link, connections }))
    for (const [name, value] of Object.entries(limits ?? {}))
      if (value !== undefined && !(typeof value === 'number' && value > 0))
        throw invalid(`${group}.${name} is ${String(value)}; give a positive number.`)
}

function invalid(message: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `${message} Nothing was started.`)
}
