/** The database and the log of one generation, opened together, with what keeps them in step. */
import { LOCAL_SLOT, type Log, type Lsn, type UnderstudyError } from '@understudy/contracts'
import { openLog } from '@understudy/log'
import { SlotWatch } from './slot-watch.ts'
import { ExposureLedger, adoptStorage } from '@understudy/replication'
import { lockDirectory, openStorage, type DirectoryLock, type SqliteStorage } from '@understudy/sqlite'
import { Checkpointer } from './checkpointer.ts'
import type { GenerationPaths } from './layout.ts'
import { CHECKPOINT_INTERVAL_MS, SIDECAR_START_LOCK_MS, type Settings } from './options.ts'

export interface NodeData {
  readonly storage: SqliteStorage
  readonly log: Log
  readonly checkpointer: Checkpointer
  /** What its log says of commits with less protection than asked. */
  readonly exposure: ExposureLedger
  /** Closes all three; the database is checkpointed by SQLite itself when its last connection closes. */
  close(): Promise<void>
}

/** Opens a generation. Throws what opening the database or the log throws; nothing stays open then. */
export async function openNodeData(
  paths: GenerationPaths,
  settings: Settings,
  failed: (error: UnderstudyError) => void,
): Promise<NodeData> {
  settings.files.makeDirectory(paths.directory)
  const { sidecar } = settings
  // Two nodes beside one database would take each other's position for a change, for ever.
  const lock = sidecar === undefined ? undefined : lockDirectory(`${sidecar}-understudy`)
  let storage: SqliteStorage | undefined
  let log: Log | undefined
  try {
    storage = openStorage({
      path: paths.database,
      ...(settings.setup && { setup: settings.setup }),
      ...(settings.readers !== undefined && { readers: settings.readers }),
      ...(settings.heldReaders !== undefined && { heldReaders: settings.heldReaders }),
      ...(settings.trustSchema !== undefined && { trustSchema: settings.trustSchema }),
      ...(sidecar !== undefined && { shared: true, busyTimeoutMs: SIDECAR_START_LOCK_MS }),
      ...(sidecar === undefined &&
        settings.rewindBytesMax > 0 && {
          rewindSafe: () => (log === undefined ? 0 : heldByOthers(log, settings)),
          rewindBytesMax: settings.rewindBytesMax,
        }),
    })
    log = openNodeLog(paths, settings, sidecar === undefined ? storage.applied.lsn : 0)
    if (sidecar !== undefined) {
      await log.sync()
      adoptStorage(log, storage)
    }
    // What the database still needs after a crash; the stored slot may be older, which only keeps more.
    if (log.slots.get(LOCAL_SLOT) === undefined) log.slots.reserve(LOCAL_SLOT, storage.applied.lsn)
    settings.files.syncDirectory(paths.directory)
  } catch (error) {
    await log?.close()
    await storage?.close()
    lock?.release()
    throw error
  }
  return new OpenNodeData(storage, log, lock, settings, failed)
}

/**
 * What every other node that this log is kept for has: no promotion of one of them goes back beyond it. A node that follows, or
 * may, and keeps nothing for others does not know.
 */
function heldByOthers(log: Log, { role, failover }: Settings): Lsn | undefined {
  const held = log.slots
    .list()
    .filter(({ name, state }) => name !== LOCAL_SLOT && state !== 'lost')
    .map(({ lsn }) => lsn)
  if (held.length > 0) return Math.min(...held)
  return role === 'leader' && failover === undefined ? Number.POSITIVE_INFINITY : undefined
}

/** The log of a generation; `knownDurable` is what its database proves to have been durable. */
export function openNodeLog(paths: GenerationPaths, settings: Settings, knownDurable: number): Log {
  return openLog({
    directory: paths.log,
    files: settings.files,
    clock: settings.clock,
    random: settings.random,
    knownDurable,
    ...(settings.segmentBytes !== undefined && { segmentBytes: settings.segmentBytes }),
    ...(settings.slotBytesMax !== undefined && { slotBytesMax: settings.slotBytesMax }),
  })
}

class OpenNodeData implements NodeData {
  readonly storage: SqliteStorage
  readonly log: Log
  readonly checkpointer: Checkpointer
  readonly exposure: ExposureLedger
  readonly #lock: DirectoryLock | undefined

  constructor(
    storage: SqliteStorage,
    log: Log,
    lock: DirectoryLock | undefined,
    settings: Settings,
    failed: (error: UnderstudyError) => void,
  ) {
    this.storage = storage
    this.log = log
    this.#lock = lock
    const slots = new SlotWatch(({ name, state, lsn }) => settings.emit({ kind: 'slot', name, state, lsn }))
    this.exposure = new ExposureLedger(log)
    this.checkpointer = new Checkpointer({
      storage,
      log,
      clock: settings.clock,
      bytes: settings.checkpointBytes,
      rewindBytesMax: Math.min(settings.rewindBytesMax, settings.slotBytesMax ?? Number.POSITIVE_INFINITY),
      intervalMs: CHECKPOINT_INTERVAL_MS,
      collected: () => slots.look(log.slots.list()),
      failed,
      beforeCollect: () => this.exposure.keepUp(),
    })
  }

  async close(): Promise<void> {
    await this.checkpointer.close()
    await this.storage.close()
    await this.log.close()
    this.#lock?.release()
  }
}
