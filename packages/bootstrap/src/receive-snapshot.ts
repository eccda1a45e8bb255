/**
 * The follower's side of bootstrapping: one call that ends with a verified, durable file or with the reason why not.
 *
 * Decides: which failures are worth another attempt, and when. Leaves to others: one connection (`ReceiveSession`), the
 * file (`TargetFile`), the installation of what was built (the node).
 *
 * 1. What the network or the leader did is tried again, after a growing, jittered pause; each chunk of progress begins
 *    the count anew. What this node's disk did, or what no retry can mend, ends the call.
 * 2. An image whose digest is wrong, or that `check` rejects, is compared with the leader's by hashes, at most `CORRUPT_IMAGES_MAX` times.
 * 3. However it ends, no file stays open and no timer runs.
 */
import {
  isUnderstudyError,
  ORIGIN,
  UnderstudyError,
  type Clock,
  type EpochHistory,
  type ErrorCode,
  type Files,
  type LogPoint,
  type Random,
} from '@understudy/contracts'
import {
  PROTOCOL_VERSION,
  PROTOCOL_VERSION_MIN,
  LIMITS,
  type Connection,
  type SnapshotStart,
  type Welcome,
} from '@understudy/protocol'
import { aborted, backoffMs, pause } from './backoff.ts'
import { KeepAlive } from './keep-alive.ts'
import { ReceiveSession } from './receive-session.ts'
import { Speedometer } from './speedometer.ts'
import { TargetFile } from './target-file.ts'

export interface ReceiveSnapshotOptions {
  /** A new connection to the leader of the moment, before any message. Called for each attempt. */
  readonly dial: (signal: AbortSignal | undefined) => Promise<Connection>
  /** This node's name: its retention slot on the leader. */
  readonly node: string
  /** Cluster that the leader must be of; empty when this node belongs to none yet. */
  readonly cluster: string
  readonly files: Files
  /** Path of the file being built; `.progress` beside it is used too. Nothing else may use either. */
  readonly target: string
  /** An older, closed database file of this node: chunks that it has already do not travel. Only read. */
  readonly seed?: string
  /**
   * Looks into the file `target`, whose digest is the leader's, before it counts; nothing else has opened it so far.
   * Rejects when it must not be used, or when `signal` aborts: the leader is asked again, then the call ends with `SNAPSHOT_CORRUPT`.
   */
  readonly check?: (target: string, announced: AnnouncedImage, signal: AbortSignal) => Promise<void>
  readonly onProgress?: (progress: SnapshotProgress) => void
  /** An attempt failed and another follows. */
  readonly onRetry?: (error: UnderstudyError, delayMs: number) => void
  /** 0 for no limit. Default 0. */
  readonly bytesPerSecondMax?: number
  /** Stops the bootstrap; what was received is kept for the next call. */
  readonly signal?: AbortSignal
  readonly clock: Clock
  readonly random: Random
  /** Attempts in a row without a chunk of progress. Default 20, over about a minute. */
  readonly attemptsMax?: number
  /** Received bytes between syncs that run beside the transfer. Default 64 MiB. */
  readonly flushBytes?: number
}

/** Every default in one place. */
export const RECEIVE_SNAPSHOT_DEFAULTS: {
  readonly bytesPerSecondMax: number
  readonly attemptsMax: number
  readonly flushBytes: number
} = {
  bytesPerSecondMax: 0,
  attemptsMax: 20,
  flushBytes: 64 * 1024 * 1024,
}

/** What the leader said of an image before it sent it. */
export interface AnnouncedImage {
  readonly pageBytes: number
  readonly totalBytes: number
  readonly point: LogPoint
}

export interface SnapshotProgress {
  /** Bytes of the image that are in place, however they came there. */
  readonly receivedBytes: number
  readonly totalBytes: number
  /** Of the last few seconds. */
  readonly bytesPerSecond: number
  /** `undefined` while nothing moves. */
  readonly etaMs: number | undefined
  /** This goes on with what an earlier connection or process left. */
  readonly resumed: boolean
}

/** A database file that is complete, verified and durable under the name `target`. */
export interface ReceivedSnapshot {
  /** Position of the image; the log goes on after it. */
  readonly point: LogPoint
  /** Epoch history up to `point`. */
  readonly history: EpochHistory
  readonly cluster: string
  /** Size of the image. */
  readonly bytes: number
  /** Bytes of it that came over the wire, by all attempts of this call. */
  readonly transferredBytes: number
  /** Bytes that an earlier call had left in place. */
  readonly resumedBytes: number
  /** Bytes that hashes proved to be here already, by all attempts of this call. */
  readonly skippedBytes: number
}

const HANDSHAKE_MS = 10_000
const CORRUPT_IMAGES_MAX = 3

/** No attempt mends these, whoever raised them. */
const FATAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'FOREIGN_CLUSTER',
  'PROTOCOL_VERSION',
  'FORMAT_VERSION',
  'EPOCH_FORK',
  'ADDRESS_INVALID',
  'INSECURE_ADDRESS',
  'INVALID_ARGUMENT',
])
/** The leader, or this node, did not accept who the other is: mended by an operator alone, maybe while this node waits. */
const TURNED_AWAY: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'AUTHENTICATION_REQUIRED',
  'AUTHENTICATION_FAILED',
  'CREDENTIALS_INVALID',
  'FORBIDDEN',
  'TLS_FAILED',
])
/** These are about this node when they were raised here, and about the leader when it refused with them. */
const FATAL_HERE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'ABORTED',
  'DISK_FULL',
  'READ_ONLY_DISK',
  'STORAGE_FAILED',
])

/**
 * Builds `target` from a snapshot of the leader.
 *
 * Rejects with `DISK_FULL`, `READ_ONLY_DISK` or `STORAGE_FAILED` of this node's disk, `FOREIGN_CLUSTER`,
 * `PROTOCOL_VERSION`, `SNAPSHOT_CORRUPT`, `ABORTED`, or what the last of `attemptsMax` attempts met. But for a failed
 * sync, which empties the target, a later call with the same target goes on where this one ended.
 */
export async function receiveSnapshot(options: ReceiveSnapshotOptions): Promise<ReceivedSnapshot> {
  if (options.signal?.aborted === true) throw aborted(options.signal)
  const { files, target: path, seed, flushBytes = RECEIVE_SNAPSHOT_DEFAULTS.flushBytes } = options
  const target = new TargetFile({ files, path, seed, flushBytes })
  try {
    await target.restore(() => pause(options.clock, 0, options.signal))
    return await new Bootstrap(options, target).run()
  } finally {
    await target.leave()
  }
}

class Bootstrap {
  readonly #options: ReceiveSnapshotOptions
  readonly #target: TargetFile
  readonly #speed: Speedometer
  readonly #restored: { readonly id: string; readonly bytes: number }
  #resumedBytes = 0
  #transferredBytes = 0
  #skippedBytes = 0
  /** A chunk came during the attempt in progress. */
  #came = false

  constructor(options: ReceiveSnapshotOptions, target: TargetFile) {
    this.#options = options
    this.#target = target
    this.#speed = new Speedometer(options.clock)
    this.#restored = { id: target.id, bytes: target.offset }
  }

  async run(): Promise<ReceivedSnapshot> {
    const {
      clock,
      random,
      signal,
      onRetry,
      attemptsMax = RECEIVE_SNAPSHOT_DEFAULTS.attemptsMax,
    } = this.#options
    let failures = 0
    let corruptImages = 0
    for (;;) {
      this.#came = false
      const { id, offset } = this.#target
      try {
        return await this.#attempt()
      } catch (error) {
        if (!isUnderstudyError(error) || isFatal(error)) throw error
        // A start tells at once what its operator can mend; a node that has served waits until it is.
        if (Number.isFinite(attemptsMax) && TURNED_AWAY.has(error.code)) throw error
        if (signal?.aborted === true) throw aborted(signal)
        // Chunks that a new snapshot only confirmed were here before: a leader that keeps ending them must not hold us for ever.
        const advanced = this.#came || (this.#target.id === id && this.#target.offset > offset)
        failures = advanced ? 1 : failures + 1
        if (error.details['digest'] === true) corruptImages += 1
        if (failures >= attemptsMax || corruptImages >= CORRUPT_IMAGES_MAX) throw error
        const delayMs = backoffMs(failures, random)
        onRetry?.(error, delayMs)
        await pause(clock, delayMs, signal)
      }
    }
  }

  async #attempt(): Promise<ReceivedSnapshot> {
    const {
      clock,
      signal,
      check,
      target: path,
      bytesPerSecondMax = RECEIVE_SNAPSHOT_DEFAULTS.bytesPerSecondMax,
    } = this.#options
    const connection = await this.#dial()
    let keepAlive: KeepAlive | undefined
    let onAbort: (() => void) | undefined
    try {
      const welcome = await this.#handshake(connection)
      connection.frameBytesMax = LIMITS.frameBytesMax
      const { heartbeatMs, deadlineMs } = welcome
      keepAlive = new KeepAlive({ connection, clock, heartbeatMs, deadlineMs })
      let announced: SnapshotStart | undefined
      let resumed = false
      const session = new ReceiveSession({
        connection,
        keepAlive,
        target: this.#target,
        clock,
        bytesPerSecondMax,
        ackMs: heartbeatMs / 2,
        check:
          check &&
          (({ pageBytes, totalBytes, point }, failed) =>
            check(path, { pageBytes, totalBytes, point }, failed)),
        onStart: (start, goesOn) => {
          announced = start
          resumed = goesOn
          this.#resumedBytes =
            start.id === this.#restored.id ? Math.min(this.#restored.bytes, start.offset) : 0
          this.#report(start, resumed)
        },
        onChunk: (bytes, came) => {
          this.#came ||= came
          if (came) this.#transferredBytes += bytes
          else this.#skippedBytes += bytes
          if (this.#speed.add(bytes) && announced !== undefined) this.#report(announced, resumed)
        },
      })
      onAbort = () => session.fail(aborted(signal))
      signal?.addEventListener('abort', onAbort, { once: true })
      const start = await session.run()
      this.#report(start, resumed)
      return this.#received(start, welcome.cluster)
    } catch (error) {
      connection.close(isUnderstudyError(error) ? error : undefined)
      throw error
    } finally {
      keepAlive?.stop()
      if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort)
    }
  }

  /** Leaves a dialling that does not end to its own deadline when the caller aborts. */
  async #dial(): Promise<Connection> {
    const { dial, signal } = this.#options
    const dialling = dial(signal)
    if (signal === undefined) return dialling
    const { promise, reject } = Promise.withResolvers<never>()
    const onAbort = (): void => {
      reject(aborted(signal))
      dialling.then(
        (connection) => connection.close(),
        () => undefined,
      )
    }
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await Promise.race([dialling, promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async #handshake(connection: Connection): Promise<Welcome> {
    const { node, cluster, signal } = this.#options
    connection.send({
      type: 'hello',
      versionMin: PROTOCOL_VERSION_MIN,
      versionMax: PROTOCOL_VERSION,
      purpose: 'snapshot',
      cluster,
      node,
      history: [],
      end: ORIGIN,
      formats: [],
    })
    const answer = await connection.next({
      timeoutMs: HANDSHAKE_MS,
      ...(signal === undefined ? {} : { signal }),
    })
    if (answer.type !== 'welcome' || answer.heartbeatMs < 1 || answer.deadlineMs < answer.heartbeatMs) {
      throw new UnderstudyError(
        'PROTOCOL_VIOLATION',
        `${connection.remote} answered a Hello with a message of type ${answer.type} that is no usable Welcome. Nothing was begun; check that an Understudy node listens there.`,
      )
    }
    if (cluster === '' || answer.cluster === cluster) return answer
    throw new UnderstudyError(
      'FOREIGN_CLUSTER',
      `${connection.remote} belongs to cluster ${answer.cluster}, this node to ${cluster}. Nothing was taken from it; correct the leader's address, or start with an empty directory.`,
      { expected: cluster, found: answer.cluster },
    )
  }

  #report(start: SnapshotStart, resumed: boolean): void {
    const receivedBytes = this.#target.offset
    this.#options.onProgress?.({
      receivedBytes,
      totalBytes: start.totalBytes,
      bytesPerSecond: this.#speed.bytesPerSecond,
      etaMs: this.#speed.etaMs(start.totalBytes - receivedBytes),
      resumed,
    })
  }

  #received(start: SnapshotStart, cluster: string): ReceivedSnapshot {
    return {
      point: start.point,
      history: start.history,
      cluster,
      bytes: start.totalBytes,
      transferredBytes: this.#transferredBytes,
      resumedBytes: this.#resumedBytes,
      skippedBytes: this.#skippedBytes,
    }
  }
}

function isFatal(error: UnderstudyError): boolean {
  return FATAL.has(error.code) || (FATAL_HERE.has(error.code) && error.details['fromPeer'] !== true)
}
