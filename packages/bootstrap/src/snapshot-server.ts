/**
 * The leader's side of bootstrapping: snapshots for any number of followers.
 *
 * Decides: who may ask, what the caller is told of a transfer.
 * Leaves to others: the handshake (the node answered Hello with Welcome), which snapshot (`SnapshotPool`), what is sent
 * when (`SnapshotSender`).
 */
import {
  isUnderstudyError,
  LOCAL_SLOT,
  UnderstudyError,
  type Clock,
  type EpochHistory,
  type LogPoint,
  type Lsn,
  type Random,
  type SnapshotSource,
} from '@understudy/contracts'
import type { Connection, Hello, SnapshotRequest } from '@understudy/protocol'
import { CHUNK_BYTES_MAX } from './checks.ts'
import { KeepAlive } from './keep-alive.ts'
import { lowerRate, Pace } from './pace.ts'
import { SnapshotPool } from './snapshot-pool.ts'
import { SnapshotSender } from './snapshot-sender.ts'
import type { SharedSnapshot } from './shared-snapshot.ts'

export interface SnapshotServerOptions {
  /** A consistent image of the database as of its position row. */
  readonly openSnapshot: () => Promise<SnapshotSource>
  /** Epoch history of the leader's log; the part up to the snapshot travels with it. */
  readonly history: () => EpochHistory
  /** Position that the database has reached: no snapshot opened from now on stands below. */
  readonly applied: () => LogPoint
  /** Creates or moves the follower's retention slot; throws `LOG_TRUNCATED` below what the log holds. */
  readonly reserveSlot: (follower: string, lsn: Lsn) => void
  /**
   * A snapshot closed that `follower` never finished. Drop its slot if it still stands at `lsn` and the follower is not
   * connected. Default: the slot stays until its byte cap.
   */
  readonly releaseSlot?: (follower: string, lsn: Lsn) => void
  readonly clock: Clock
  /** Draws the ids of snapshots. */
  readonly random: Random
  /** How long a snapshot stays open for a follower whose connection broke, and how old one may be that is shared. Default 60,000. */
  readonly keepMs?: number
  /** Unacknowledged bytes on their way to one follower. Default 8 MiB. */
  readonly windowBytes?: number
  /** Default 128 KiB, measured as the cheapest for both sides. Rounded down to whole pages. */
  readonly chunkBytes?: number
  /**
   * The same for a follower that holds an image already, and of which only what differs travels. Default 4 KiB; at least
   * a page.
   */
  readonly deltaChunkBytes?: number
  /** Snapshots open at once, each of which holds back checkpoints. Default 2. */
  readonly snapshotsMax?: number
  /** Limit for each follower; 0 for none. Default 0. A follower may ask for a lower one. */
  readonly bytesPerSecondMax?: number
  /** As the Welcome said. Defaults 1,000 and 10,000. */
  readonly heartbeatMs?: number
  readonly deadlineMs?: number
}

type DefaultedOption =
  | 'keepMs'
  | 'windowBytes'
  | 'chunkBytes'
  | 'deltaChunkBytes'
  | 'snapshotsMax'
  | 'bytesPerSecondMax'
  | 'heartbeatMs'
  | 'deadlineMs'

/** Every default in one place. */
export const SNAPSHOT_SERVER_DEFAULTS: Record<DefaultedOption, number> = {
  keepMs: 60_000,
  windowBytes: 8 * 1024 * 1024,
  chunkBytes: 128 * 1024,
  deltaChunkBytes: 4096,
  snapshotsMax: 2,
  bytesPerSecondMax: 0,
  heartbeatMs: 1000,
  deadlineMs: 10_000,
}

/** How a transfer ended. */
export interface ServedSnapshot {
  /** The follower has the image, verified and on its disk. */
  readonly finished: boolean
  /** Chunk bytes that went over this connection. */
  readonly sentBytes: number
  /** Why it is not finished. */
  readonly error: UnderstudyError | undefined
}

/** A transfer in progress, for status displays. */
export interface SnapshotTransfer {
  readonly follower: string
  readonly snapshot: string
  /** Bytes of the image that the follower has. */
  readonly offset: number
  readonly totalBytes: number
}

export interface SnapshotServer extends AsyncDisposable {
  /**
   * Serves one connection of purpose `snapshot` after its Welcome, until it ends; `request` when it was taken already.
   * Never rejects: a follower's failure is in the result, and the follower was told.
   */
  serve(connection: Connection, hello: Hello, request?: SnapshotRequest): Promise<ServedSnapshot>
  readonly transfers: readonly SnapshotTransfer[]
  /** Ends every transfer and closes every snapshot. */
  close(): Promise<void>
}

/** Throws `INVALID_ARGUMENT` for an option out of its range. */
export function createSnapshotServer(options: SnapshotServerOptions): SnapshotServer {
  const whole = {
    ...SNAPSHOT_SERVER_DEFAULTS,
    releaseSlot: () => undefined,
    ...options,
  }
  assertRange('keepMs', whole.keepMs, 0, Number.MAX_SAFE_INTEGER)
  assertRange('chunkBytes', whole.chunkBytes, 512, CHUNK_BYTES_MAX)
  assertRange('deltaChunkBytes', whole.deltaChunkBytes, 512, CHUNK_BYTES_MAX)
  assertRange('windowBytes', whole.windowBytes, 1, 1024 * 1024 * 1024)
  assertRange('snapshotsMax', whole.snapshotsMax, 1, 1024)
  assertRange('bytesPerSecondMax', whole.bytesPerSecondMax, 0, Number.MAX_SAFE_INTEGER)
  return new Server(whole, new SnapshotPool(whole))
}

interface Session {
  readonly connection: Connection
  readonly done: Promise<ServedSnapshot>
  sender: SnapshotSender | undefined
  snapshot: SharedSnapshot | undefined
  /** Why the connection ended. */
  ended: UnderstudyError | undefined
}

type WholeOptions = SnapshotServerOptions & Record<DefaultedOption, number>

class Server implements SnapshotServer {
  readonly #options: WholeOptions
  readonly #pool: SnapshotPool
  /** By the follower's name. */
  readonly #sessions = new Map<string, Session>()
  #closed = false

  constructor(options: WholeOptions, pool: SnapshotPool) {
    this.#options = options
    this.#pool = pool
  }

  get transfers(): readonly SnapshotTransfer[] {
    return [...this.#sessions].flatMap(([follower, { snapshot, sender }]) =>
      snapshot === undefined || sender === undefined
        ? []
        : [{ follower, snapshot: snapshot.id, offset: sender.offset, totalBytes: snapshot.totalBytes }],
    )
  }

  async serve(connection: Connection, hello: Hello, request?: SnapshotRequest): Promise<ServedSnapshot> {
    const follower = hello.node
    const { promise, resolve } = Promise.withResolvers<ServedSnapshot>()
    const session: Session = {
      connection,
      done: promise,
      sender: undefined,
      snapshot: undefined,
      ended: undefined,
    }
    try {
      if (this.#closed) throw closing()
      assertFollower(follower)
      // A follower that dials again has given its old connection up, whether or not this side noticed yet.
      this.#end(this.#sessions.get(follower), replaced(follower))
      this.#sessions.set(follower, session)
      await this.#transfer(session, follower, request ?? (await this.#request(connection)))
      resolve({ finished: true, sentBytes: session.sender?.sentBytes ?? 0, error: undefined })
    } catch (thrown) {
      const error = asError(thrown)
      connection.close(error)
      resolve({ finished: false, sentBytes: session.sender?.sentBytes ?? 0, error })
    } finally {
      if (this.#sessions.get(follower) === session) this.#sessions.delete(follower)
    }
    return promise
  }

  async close(): Promise<void> {
    this.#closed = true
    const sessions = [...this.#sessions.values()]
    for (const session of sessions) this.#end(session, closing())
    await Promise.all(sessions.map((session) => session.done))
    await this.#pool.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #request(connection: Connection): Promise<SnapshotRequest> {
    const message = await connection.next({ timeoutMs: this.#options.deadlineMs })
    if (message.type === 'snapshotRequest') return message
    throw new UnderstudyError(
      'PROTOCOL_VIOLATION',
      `The follower sent a message of type ${message.type} where it had to ask for a snapshot. Nothing was begun; check that both ends are Understudy nodes of matching versions.`,
    )
  }

  async #transfer(session: Session, follower: string, request: SnapshotRequest): Promise<void> {
    const { connection } = session
    const { clock, heartbeatMs, deadlineMs, windowBytes, bytesPerSecondMax } = this.#options
    const keepAlive = new KeepAlive({ connection, clock, heartbeatMs, deadlineMs })
    connection.start({
      message: (message) => {
        keepAlive.heard()
        if (message.type === 'heartbeat') return
        if (session.sender === undefined) throw outOfTurn(message.type)
        session.sender.receive(message)
      },
      drained: () => session.sender?.drained(),
      closed: (error) => this.#ended(session, error ?? lost(connection)),
    })
    let finished = false
    try {
      const snapshot = await this.#pool.take(follower, request.resumeId, request.heldBytes > 0)
      session.snapshot = snapshot
      if (session.ended !== undefined) throw session.ended
      const pace = new Pace(clock, lowerRate(bytesPerSecondMax, request.bytesPerSecondMax))
      const send = keepAlive.send.bind(keepAlive)
      session.sender = new SnapshotSender({ send, snapshot, request, pace, clock, windowBytes })
      await session.sender.run()
      finished = true
      connection.close()
    } finally {
      keepAlive.stop()
      if (session.snapshot !== undefined) this.#pool.giveBack(session.snapshot, follower, finished)
    }
  }

  /** Ends a transfer from this side. */
  #end(session: Session | undefined, error: UnderstudyError): void {
    if (session === undefined) return
    session.connection.close(error)
    this.#ended(session, error)
  }

  #ended(session: Session, error: UnderstudyError): void {
    session.ended ??= error
    session.sender?.fail(error)
  }
}

function assertRange(name: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `${name} is ${value}; it must be an integer from ${min} to ${max}. Nothing was started.`,
  )
}

function assertFollower(name: string): void {
  if (name !== '' && name !== LOCAL_SLOT) return
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `A follower asked for a snapshot under the name "${name}", which cannot have a retention slot. Nothing was begun; give the node another name.`,
  )
}

function outOfTurn(type: string): UnderstudyError {
  return new UnderstudyError(
    'PROTOCOL_VIOLATION',
    `The follower sent a message of type ${type} before the snapshot began. The transfer ended; check that both ends are Understudy nodes of matching versions.`,
  )
}

function lost(connection: Connection): UnderstudyError {
  return new UnderstudyError(
    'CONNECTION_LOST',
    `The connection with ${connection.remote} ended during a snapshot. The snapshot is kept open for a while, so that the follower goes on where it was.`,
  )
}

function replaced(follower: string): UnderstudyError {
  return new UnderstudyError(
    'CONNECTION_LOST',
    `Another connection asked for a snapshot under the name ${follower}, so this one was given up. What was received is kept; two nodes of one name cannot bootstrap at once.`,
  )
}

function closing(): UnderstudyError {
  return new UnderstudyError(
    'CLOSED',
    'The leader is closing and ended the snapshot. What was received is kept; the transfer goes on with the next leader.',
  )
}

function asError(error: unknown): UnderstudyError {
  if (isUnderstudyError(error)) return error
  return new UnderstudyError(
    'STORAGE_FAILED',
    'The leader could not serve a snapshot. What the follower received is kept; see the cause in the log of the leader.',
    { cause: error },
  )
}
