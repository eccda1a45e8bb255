/** A node that leads: redo, a new epoch, the commit pipeline, the followers, the snapshots it serves. */
import { UnderstudyError, formatPosition, type LogPoint } from '@understudy/contracts'
import { createSnapshotServer, type SnapshotServer } from '@understudy/bootstrap'
import type { Connection, Hello } from '@understudy/protocol'
import {
  Followers,
  LINK_LIMITS,
  becomeLeader,
  type AbsentFollower,
  type CommitPipeline,
  type FollowerStatus,
  type LinkLimits,
} from '@understudy/replication'
import type { FrozenViews } from './frozen-views.ts'
import { welcomeSnapshot } from './listener.ts'
import type { NodeData } from './node-data.ts'
import { throwIfAborted, type Settings } from './options.ts'

export interface LeaderRole {
  readonly pipeline: CommitPipeline
  readonly epoch: number
  /** Records flow to this follower, or it is told why not. */
  acceptFollower(connection: Connection, hello: Hello): void
  /** Welcomes a follower and serves it a snapshot. Throws when it is of another cluster or version. */
  serveSnapshot(connection: Connection, hello: Hello): void
  followers(): FollowerStatus[]
  /** Followers that left and whose slots are kept. */
  absent(): AbsentFollower[]
  snapshots(): SnapshotServer['transfers']
  /** Stops leading with a reason; what is durable stays. */
  stop(error: UnderstudyError): void
  close(): Promise<void>
}

/** Starts to lead with the data of a directory. Throws what redo throws, `ABORTED` during it. */
export async function startLeading(
  data: NodeData,
  cluster: string,
  views: FrozenViews,
  settings: Settings,
  failed: (error: UnderstudyError) => void,
): Promise<LeaderRole> {
  const { storage, log } = data
  const { name, clock, random, format, allFormats, emit } = settings
  const freeze = (point: LogPoint): void => views.keep(point, () => storage.freeze())
  const { pipeline, epoch, redone } = await becomeLeader({
    storage,
    log,
    format,
    formats: allFormats,
    cluster,
    node: name,
    clock,
    random,
    ...(settings.pipeline && { limits: settings.pipeline }),
    onDurable: () => followers.wake(),
    onMarker: freeze,
    onFailed: (error) => failed(error),
    onProgress: (applied, upTo) => {
      emit({ kind: 'redo', applied, upTo })
      // A throw between two batches ends redo; what was applied is kept.
      throwIfAborted(settings)
    },
  })
  const followers = new Followers({
    log,
    cluster,
    node: name,
    clock,
    formats: allFormats.map(({ id, version }) => ({ id, version })),
    highWatermark: () => pipeline.highWatermark,
    ...(settings.link && { limits: settings.link }),
    onMustStopLeading: (error) => failed(error),
    onFollower: (event) =>
      emit(
        event.kind === 'joined'
          ? { kind: 'followerJoined', name: event.name, verdict: describeVerdict(event.decision) }
          : { kind: 'followerLeft', name: event.name, error: event.error },
      ),
  })
  const snapshots = openSnapshotServer(data, followers, settings)
  emit({ kind: 'leading', epoch: epoch.number, redoneFrom: redone.from, redoneTo: redone.to })
  return {
    pipeline,
    epoch: epoch.number,
    acceptFollower: (connection, hello) => followers.accept(connection, hello),
    serveSnapshot: (connection, hello) => {
      welcomeSnapshot(connection, hello, { cluster, node: name }, silenceOf(settings))
      void snapshots.serve(connection, hello)
    },
    followers: () => followers.status(),
    absent: () => followers.absent(),
    snapshots: () => snapshots.transfers,
    stop: (error) => followers.close(error),
    async close(): Promise<void> {
      await pipeline.close()
      followers.close()
      await snapshots.close()
    },
  }
}

function openSnapshotServer(
  { storage, log, checkpointer }: NodeData,
  followers: Followers,
  settings: Settings,
): SnapshotServer {
  const { clock, random, snapshotKeepMs, snapshotBytesPerSecondMax } = settings
  return createSnapshotServer({
    // What waits for a checkpoint would count against the cap of bytes that a snapshot holds back.
    openSnapshot: async () => {
      await checkpointer.run()
      return storage.snapshot()
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
