/** A node that leads: redo, a new epoch, the commit pipeline, the followers, the snapshots it serves. */
import {
  UnderstudyError,
  formatPosition,
  type Lsn,
  type LogFormat,
  type LogPoint,
  type SqliteConnection,
} from '@understudy/contracts'
import { createSnapshotServer, type SnapshotServer } from '@understudy/bootstrap'
import type { Connection, Hello } from '@understudy/protocol'
import {
  AppliedWaiters,
  Followers,
  LINK_LIMITS,
  becomeLeader,
  formatVersion,
  incompatibility,
  type AbsentFollower,
  type AckPolicy,
  type BecomeLeaderOptions,
  type CommitPipeline,
  type FollowerEvent,
  type FollowerStatus,
  type LeaderIds,
  type LinkLimits,
} from '@understudy/replication'
import type { NodeEvent } from './events.ts'
import { setAcks } from './ack-policy.ts'
import type { SetAcksOptions } from './api.ts'
import type { FrozenViews } from './frozen-views.ts'
import { welcomeSnapshot } from './listener.ts'
import { HavingWaiters } from './having-waiters.ts'
import { endOf, type LeadingTerm } from './leading-term.ts'
import type { NodeData } from './node-data.ts'
import { throwIfAborted, type Settings } from './options.ts'
import { RuleKeeper } from './rule-keeper.ts'
import { Sidecar, onlyPages } from './sidecar.ts'
import { watchedConnection } from './watched-connection.ts'

export interface LeaderRole {
  readonly pipeline: CommitPipeline
  /** Positions of this leader that wait for acks. */
  readonly waiters: AppliedWaiters
  readonly epoch: number
  readonly format: string
  /** Of a term: writes begin, and everybody is told. */
  open(): void
  /** A marker, at which a view is frozen here and on every follower. */
  mark(): Promise<LogPoint>
  switchFormat(format: LogFormat<SqliteConnection> | string): Promise<LogPoint>
  setAcks(policy: Partial<AckPolicy> | string, options: SetAcksOptions): Promise<LogPoint>
  /** Records flow to this follower, or it is told why not. */
  acceptFollower(connection: Connection, hello: Hello): void
  /** Welcomes a follower and serves it a snapshot. Throws when it is of another cluster or version. */
  serveSnapshot(connection: Connection, hello: Hello): void
  followers(): FollowerStatus[]
  /** Followers that left and whose slots are kept. */
  absent(): AbsentFollower[]
  /** Lets go of a follower that is gone for good. Throws `MEMBER_IN_USE`, `SLOT_UNKNOWN`, `INVALID_ARGUMENT`. */
  forget(name: string): void
  snapshots(): SnapshotServer['transfers']
  /** Resolves once this follower says that it has this durable, or `applied`; never, when it does not. */
  whenHas(name: string, lsn: Lsn, what: 'durable' | 'applied'): Promise<void>
  /** Stops leading with a reason; what is durable stays. */
  stop(error: UnderstudyError): void
  /** Resolves once nothing uses the data any more; that stays open. */
  close(): Promise<void>
}

/**
 * Starts to lead with the data of a directory. Throws what redo throws, `ABORTED` during it. With a `term` the pipeline is held: its epoch is
 * durable, and no write begins.
 */
export async function startLeading(
  data: NodeData,
  cluster: string,
  views: FrozenViews,
  settings: Settings,
  failed: (error: UnderstudyError) => void,
  term?: LeadingTerm,
): Promise<LeaderRole> {
  const { storage, log } = data
  const { clock, emit } = settings
  let sidecar: Sidecar | undefined
  const freeze = (point: LogPoint): void => views.keep(point, () => sidecar?.takeView() ?? storage.freeze())
  // A leader of pages logs a base before anyone can follow.
  let followers: Followers | undefined
  const waiters = new AppliedWaiters(log, clock, () => storage.applied)
  const ended = endOf(term, failed)
  const { pipeline, epoch, redone } = await becomeLeader({
    ...partsOf(data, cluster, settings),
    onDurable: () => followers?.wake(),
    onVisible: () => waiters.notify(),
    onAckRule: (rule) => {
      emit({ kind: 'acks', ...rule })
      followers?.look()
    },
    onMarker: freeze,
    ...(settings.sidecar !== undefined && { onBase: (point) => emit({ kind: 'rebased', point }) }),
    ...(term && {
      promotion: term.promotion,
      mayLead: term.mayLead,
      publishRules: term.publishRules,
      saysIfLowered: true,
    }),
    ...(term && { ids: idsOf(term, settings) }),
    onFailed: ended,
    onProgress: (applied, upTo) =>
      tellRedo({ kind: 'redo', applied, upTo }, settings, followers !== undefined),
  })
  if (term !== undefined) void pipeline.hold()
  data.checkpointer.keepsFrom = (lsn) => pipeline.keepsFrom(lsn)
  const having = new HavingWaiters()
  const serving = (followers = serveFollowers(
    data,
    cluster,
    pipeline,
    settings,
    having,
    ended,
    term !== undefined,
  ))
  if (settings.sidecar !== undefined)
    sidecar = new Sidecar({ storage, pipeline, clock, pollMs: settings.sidecarPollMs, failed })
  const snapshots = openSnapshotServer(data, serving, settings, sidecar)
  const leading: NodeEvent = {
    kind: 'leading',
    epoch: epoch.number,
    redoneFrom: redone.from,
    redoneTo: redone.to,
  }
  if (term === undefined) emit(leading)
  const parts = { data, cluster, settings, term, pipeline, waiters, serving, having, snapshots, sidecar }
  return roleOf(parts, epoch.number, leading)
}

interface LeaderParts {
  readonly data: NodeData
  readonly cluster: string
  readonly settings: Settings
  readonly term: LeadingTerm | undefined
  readonly pipeline: CommitPipeline
  readonly waiters: AppliedWaiters
  readonly serving: Followers
  readonly having: HavingWaiters
  readonly snapshots: SnapshotServer
  readonly sidecar: Sidecar | undefined
}

function roleOf(parts: LeaderParts, epoch: number, leading: NodeEvent): LeaderRole {
  const { data, cluster, settings, term, pipeline, waiters, serving, having, snapshots, sidecar } = parts
  return {
    pipeline,
    waiters,
    epoch,
    get format() {
      return pipeline.format.name
    },
    open: () => {
      settings.emit(leading)
      pipeline.unhold()
    },
    mark: () => sidecar?.mark() ?? pipeline.mark(),
    switchFormat: async (wanted) => switchTo(findFormat(wanted, settings), pipeline, serving),
    setAcks: (policy, options) => setAcks(pipeline, policy, options, settings),
    acceptFollower: (connection, hello) => serving.accept(connection, hello),
    serveSnapshot: (connection, hello) => {
      welcomeSnapshot(connection, hello, { cluster, node: settings.name }, silenceOf(settings))
      void snapshots.serve(connection, hello)
    },
    followers: () => serving.status(),
    absent: () => serving.absent(),
    forget: (follower) => forgetFollower(follower, serving, snapshots, settings),
    snapshots: () => snapshots.transfers,
    whenHas: (follower, lsn, what) => having.wait(follower, lsn, what, serving.status()),
    stop: (error) => {
      void sidecar?.close()
      // Where it goes on as a follower, so do its readers.
      if (term === undefined) waiters.fail(error)
      pipeline.stop(error)
      serving.close(error)
    },
    async close(): Promise<void> {
      await sidecar?.close()
      await pipeline.close()
      if (term !== undefined) data.checkpointer.keepsFrom = new RuleKeeper(data.log).keepsFrom
      waiters.close()
      serving.close()
      await snapshots.close()
    },
  }
}

/** Where this leader's ids start, and who confirms its ceilings. */
function idsOf({ raiseIds, ceilings }: LeadingTerm, { ids }: Settings): LeaderIds {
  return { ...ids, ...(ceilings && { ceilings }), ...(raiseIds && { raise: true }) }
}

/** A throw between two batches ends redo; what was applied is kept. */
function tellRedo(event: NodeEvent, settings: Settings, hasStarted: boolean): void {
  settings.emit(event)
  if (!hasStarted) throwIfAborted(settings)
}

function forgetFollower(
  name: string,
  followers: Followers,
  { transfers }: SnapshotServer,
  { emit }: Settings,
): void {
  if (transfers.some(({ follower }) => follower === name)) throw inUse(name)
  followers.forget(name)
  emit({ kind: 'followerForgotten', name })
}

/** Without failover no follower can be promoted: an answer waits for none. With it, `idsOf` says who can. */
const NOBODY: LeaderIds = Object.freeze({ members: [] })

/** What a leader is made of, apart from what it tells of. */
function partsOf(
  { storage, log }: NodeData,
  cluster: string,
  settings: Settings,
): BecomeLeaderOptions<SqliteConnection> {
  const { name, clock, random, format, allFormats, shadow, pipeline, acks, measures, ids, sidecar } = settings
  return {
    storage,
    log,
    format,
    formats: allFormats,
    cluster,
    node: name,
    clock,
    random,
    measures,
    ...(shadow && { shadow: { format: shadow, watched: watchedConnection } }),
    ...(pipeline && { limits: pipeline }),
    ...(acks && { acks }),
    // Of another program's database the ids are that program's to give.
    ids: sidecar === undefined ? (ids ?? NOBODY) : false,
  }
}

/** All followers of this leader, by the format in force. */
function serveFollowers(
  { storage, log }: NodeData,
  cluster: string,
  pipeline: CommitPipeline,
  settings: Settings,
  having: HavingWaiters,
  failed: (error: UnderstudyError) => void,
  onlyAcksCount: boolean,
): Followers {
  const { name, clock, allFormats, emit } = settings
  return new Followers({
    log,
    cluster,
    node: name,
    clock,
    formats: allFormats.map(({ id, version }) => ({ id, version })),
    unfit: (held) => {
      const { id, fingerprint } = formatVersion(pipeline.format, storage.connection)
      const theirs = held.find((each) => each.id === id)?.fingerprint
      return incompatibility(pipeline.format, fingerprint, theirs)
    },
    highWatermark: () => pipeline.highWatermark,
    onProgress: (follower, progress) => {
      pipeline.follower(follower, progress)
      having.look(follower, progress)
    },
    onlyAcksCount,
    isAwaited: (follower) => pipeline.awaits(follower),
    idsPromise: (follower) => pipeline.idsPromise(follower),
    syncState: (follower) => pipeline.syncState(follower),
    ...(settings.link && { limits: settings.link }),
    onMustStopLeading: (error) => failed(error),
    onFollower: (event) => emit(followerEvent(event)),
  })
}

function followerEvent(event: FollowerEvent): NodeEvent {
  const { name } = event
  switch (event.kind) {
    case 'joined':
      return { kind: 'followerJoined', name, verdict: describeVerdict(event.decision) }
    case 'left':
      return { kind: 'followerLeft', name, error: event.error }
    case 'changed':
      return { kind: 'followerChanged', name, state: event.state, syncState: event.syncState }
  }
}

function inUse(name: string): UnderstudyError {
  return new UnderstudyError(
    'MEMBER_IN_USE',
    `${name} cannot be forgotten: it is getting a snapshot. Its slot and everything else was kept. Stop it first, then forget it.`,
    { node: name },
  )
}

/** Followers that cannot apply the format are told at once. */
async function switchTo(
  format: LogFormat<SqliteConnection>,
  pipeline: CommitPipeline,
  followers: Followers,
): Promise<LogPoint> {
  const point = await pipeline.switchFormat(format)
  followers.recheck()
  followers.wake()
  return point
}

/** Followers can apply only formats that they were given, and they are given what this node was. */
function findFormat(
  wanted: LogFormat<SqliteConnection> | string,
  { allFormats: given, sidecar }: Settings,
): LogFormat<SqliteConnection> {
  const found =
    typeof wanted === 'string'
      ? given.find(({ name }) => name === wanted)
      : given.find(({ id }) => id === wanted.id)
  if (found !== undefined) return typeof wanted === 'string' ? found : wanted
  if (sidecar !== undefined) throw onlyPages()
  const names = given.map(({ name }) => name).join(', ')
  throw new UnderstudyError(
    'FORMAT_UNKNOWN',
    `This node was not given the log format ${typeof wanted === 'string' ? wanted : wanted.name}; it has ${names}. Nothing was changed. Start every node with it, then switch.`,
  )
}

function openSnapshotServer(
  { storage, log, checkpointer }: NodeData,
  followers: Followers,
  settings: Settings,
  sidecar: Sidecar | undefined,
): SnapshotServer {
  const { clock, random, snapshotKeepMs, snapshotBytesPerSecondMax } = settings
  return createSnapshotServer({
    // What waits for a checkpoint would count against the cap of bytes that a snapshot holds back.
    openSnapshot: async () => {
      await checkpointer.run()
      return sidecar === undefined ? storage.snapshot() : sidecar.whenFree(() => storage.snapshot())
    },
    history: () => log.history,
    applied: () => storage.applied,
    reserveSlot: (follower, lsn) => void log.slots.reserve(follower, lsn),
    releaseSlot: (follower, lsn) => {
      const isConnected = followers.status().some(({ name: connected }) => connected === follower)
      if (!isConnected && log.slots.get(follower)?.lsn === lsn) log.slots.drop(follower)
    },
    clock,
    random,
    ...silenceOf(settings),
    ...(snapshotKeepMs !== undefined && { keepMs: snapshotKeepMs }),
    ...(snapshotBytesPerSecondMax !== undefined && { bytesPerSecondMax: snapshotBytesPerSecondMax }),
  })
}

function silenceOf({ link }: Settings): Pick<LinkLimits, 'heartbeatMs' | 'deadlineMs'> {
  const { heartbeatMs, deadlineMs } = { ...LINK_LIMITS, ...link }
  return { heartbeatMs, deadlineMs }
}

function describeVerdict(decision: {
  readonly kind: string
  readonly reason?: string
  readonly message?: string
}): string {
  const detail = decision.reason ?? decision.message
  return detail === undefined ? decision.kind : `${decision.kind}: ${detail}`
}

/** The refusal of a write on a node that does not lead. */
export function notLeader(name: string, leader: string | undefined, at: LogPoint): UnderstudyError {
  return new UnderstudyError(
    'NOT_LEADER',
    `Node ${name} is a follower (at ${formatPosition(at)}) and takes no writes; nothing was changed. Write to the leader${leader === undefined ? '' : ` at ${leader}`}.`,
    { leader },
  )
}

/** What a leader stops with that follows another one from now on, or waits for one. */
export function leadsNoMore(name: string, leader: string | undefined): UnderstudyError {
  return new UnderstudyError(
    'NOT_LEADER',
    `Node ${name} leads no more. What was acknowledged is kept; write to the leader${leader === undefined ? ' of now' : ` at ${leader}`}.`,
    { leader },
  )
}

/** The refusal of another member where nobody elects. */
export function noMember(name: string): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `Node ${name} takes no part in elections. Nothing was exchanged; start it with the members of its cluster.`,
  )
}
