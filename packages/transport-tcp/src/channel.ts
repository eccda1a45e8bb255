/**
 * One connection, plain or encrypted, as a channel of frames.
 *
 * Decides: when bytes are written (at the end of the turn, or sooner when many wait or somebody asks), when the sender is
 * told to wait, and how the connection ends. Leaves to others: what frames mean, and deadlines for a peer that is silent between two.
 *
 * 1. No frame is delivered while paused, nor after `close`.
 * 2. `closed` is called once, after `start`, when the socket is gone.
 * 3. After `close` incoming bytes are read and dropped: unread bytes would make the operating system reset the
 *    connection, and the peer could lose what was sent last.
 */
import type { Socket } from 'node:net'
import {
  isUnderstudyError,
  UnderstudyError,
  type Channel,
  type ChannelHandler,
  type ChannelSecurity,
  type Clock,
  type Timer,
} from '@understudy/contracts'
import {
  connectionLost,
  FrameDeadline,
  handlerFailed,
  startedTwice,
  type SystemError,
} from '@understudy/sockets'
import { FrameReader } from './frame-reader.ts'
import { LENGTH_MAX, refusalOf } from './refusal.ts'
import { FrameWriter, type Batch, type SlabPool } from './frame-writer.ts'

/** Bytes gathered in one turn that are written without waiting for its end. */
const FLUSH_BYTES = 256 * 1024
/** How long the peer may take to accept the last bytes. */
const CLOSE_TIMEOUT_MS = 1000

export interface ChannelOptions {
  /** The address of the peer. */
  readonly remote: string
  readonly security?: ChannelSecurity | undefined
  /** The listener may say, instead of a first frame, that it refuses this side's certificate. Default false. */
  readonly mayBeRefused?: boolean
  readonly frameBytesMax: number
  readonly frameMs: number
  readonly highBytes: number
  readonly lowBytes: number
  readonly clock: Clock
  readonly pool: SlabPool
  /**
   * Without it the channel reads by itself. With one, whoever gives it the bytes of the socket calls `received` then, and
   * has paused the socket.
   */
  readonly reader?: FrameReader
}

export class TcpChannel implements Channel {
  readonly remote: string
  readonly security?: ChannelSecurity
  frameBytesMax: number
  readonly #socket: Socket
  readonly #options: ChannelOptions
  readonly #reader: FrameReader
  readonly #writer: FrameWriter
  readonly #deadline: FrameDeadline
  #frames = 0
  #handler: ChannelHandler | undefined
  #bufferedBytes = 0
  #flushScheduled = false
  #mustReportDrained = false
  #paused = false
  #delivering = false
  #resumeScheduled = false
  /** The reader may hold frames that came before a pause. */
  #hasRest = false
  /** This side closed: nothing is sent or delivered any more. */
  #closing = false
  /** The peer closed its side: nothing is sent any more, but what came is delivered. */
  #peerEnded = false
  /** The socket is gone. */
  #ended = false
  #closedDelivered = false
  #error: UnderstudyError | undefined
  #closeTimer: Timer | undefined
  readonly #gone = Promise.withResolvers<void>()

  constructor(socket: Socket, options: ChannelOptions) {
    const { remote, security, reader, clock, frameMs } = options
    this.#socket = socket
    this.#reader = reader ?? new FrameReader()
    this.#options = options
    this.#writer = new FrameWriter(options.pool)
    this.#deadline = new FrameDeadline(clock, frameMs, (allowedMs) => this.close(this.#silent(allowedMs)))
    this.frameBytesMax = options.frameBytesMax
    this.remote = remote
    if (security !== undefined) this.security = security
    if (reader === undefined) {
      socket.pause()
      socket.on('data', (chunk: Uint8Array) => {
        if (this.#closing) return
        this.#reader.push(chunk)
        this.received()
      })
    }
    socket.on('error', (error: NodeJS.ErrnoException) => this.#failed(error))
    socket.on('end', () => this.#endedByPeer())
    socket.on('close', () => this.#closed())
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes
  }

  /** Settles when the socket is gone, after `closed` unless frames wait behind a pause. */
  get gone(): Promise<void> {
    return this.#gone.promise
  }

  start(handler: ChannelHandler): void {
    if (this.#handler !== undefined) throw startedTwice()
    this.#handler = handler
    if (this.#ended) {
      process.nextTick(() => this.#deliver())
      return
    }
    if (!this.#paused) this.#socket.resume()
  }

  send(parts: readonly Uint8Array[]): boolean {
    if (this.#closing || this.#peerEnded || this.#ended) return false
    let length = 0
    for (const part of parts) length += part.length
    if (length > LENGTH_MAX)
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `A frame of ${length} bytes is longer than a length prefix can say. Nothing was sent.`,
      )
    this.#bufferedBytes += this.#writer.add(parts, length)
    if (this.#writer.bytes >= FLUSH_BYTES) this.#flush()
    else if (!this.#flushScheduled) {
      this.#flushScheduled = true
      setImmediate(() => {
        this.#flushScheduled = false
        this.#flush()
      })
    }
    if (this.#bufferedBytes <= this.#options.highBytes) return true
    this.#mustReportDrained = true
    return false
  }

  flush(): void {
    this.#flush()
  }

  pause(): void {
    this.#paused = true
    this.#deadline.rests()
    if (!this.#closing) this.#socket.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    if (this.#handler === undefined || this.#resumeScheduled) return
    // Not at once: the caller may be inside `frame`, or hold half-changed state of its own.
    this.#resumeScheduled = true
    process.nextTick(() => {
      this.#resumeScheduled = false
      this.#deliver()
    })
  }

  close(error?: UnderstudyError): void {
    if (this.#closing) return
    this.#closing = true
    this.#deadline.cancel()
    this.#error ??= error
    if (this.#ended) {
      // Frames that came before the end still wait behind a pause: they are dropped.
      process.nextTick(() => this.#deliver())
      return
    }
    this.#endSending()
    // Flows also without a handler: see 3 above.
    this.#socket.resume()
  }

  #endSending(): void {
    if (this.#closeTimer !== undefined) return
    this.#flush()
    this.#closeTimer = this.#options.clock.schedule(CLOSE_TIMEOUT_MS, () => this.#closeTimedOut())
    this.#socket.end()
  }

  #closeTimedOut(): void {
    if (this.#bufferedBytes > 0)
      this.#error ??= this.#lost(`the peer did not take the last ${this.#bufferedBytes} bytes in time`)
    this.#socket.destroy()
  }

  #flush(): void {
    if (this.#writer.bytes === 0) return
    const batch = this.#writer.take()
    if (this.#ended) return
    const socket = this.#socket
    const last = batch.buffers.length - 1
    if (last > 0) socket.cork()
    for (let i = 0; i < last; i++) socket.write(batch.buffers[i]!)
    socket.write(batch.buffers[last]!, (error) => this.#written(batch, error))
    if (last > 0) socket.uncork()
  }

  #written(batch: Batch, error: Error | null | undefined): void {
    if (error !== null && error !== undefined) return
    this.#options.pool.recycle(batch)
    this.#bufferedBytes -= batch.bytes
    if (!this.#mustReportDrained || this.#bufferedBytes >= this.#options.lowBytes) return
    this.#mustReportDrained = false
    if (!this.#closing && !this.#peerEnded) this.#handler?.drained()
  }

  /** The reader got bytes. */
  received(): void {
    if (this.#closing) return
    this.#hasRest = true
    this.#deliver()
  }

  #deliver(): void {
    const handler = this.#handler
    if (handler === undefined || this.#delivering) return
    this.#delivering = true
    try {
      while (this.#hasRest && !this.#paused && !this.#closing) {
        const frame = this.#reader.take(this.frameBytesMax)
        if (frame === undefined) this.#hasRest = false
        else {
          this.#frames++
          handler.frame(frame)
        }
      }
    } catch (error) {
      const { mayBeRefused = false } = this.#options
      const refusal = mayBeRefused && this.#frames === 0 ? refusalOf(error, this.remote) : undefined
      this.close(refusal ?? (isUnderstudyError(error) ? error : handlerFailed(this.remote, error)))
    } finally {
      this.#delivering = false
    }
    if (this.#ended) this.#deliverClosed(handler)
    else if (!this.#paused && !this.#hasRest) this.#readOn()
  }

  /** Everything that came was delivered. */
  #readOn(): void {
    if (this.#socket.isPaused()) this.#socket.resume()
    if (this.#closing || this.#peerEnded || this.#reader.isBetweenFrames) this.#deadline.rests()
    else this.#deadline.waitsFor(this.#frames, this.#reader.announced)
  }

  /** The end comes after every frame that came, unless this side closed. */
  #deliverClosed(handler: ChannelHandler): void {
    if (this.#closedDelivered || (this.#hasRest && !this.#closing)) return
    this.#closedDelivered = true
    if (!this.#closing && !this.#reader.isBetweenFrames)
      this.#error ??= this.#lost('it ended inside a frame, which was dropped')
    handler.closed(this.#error)
  }

  #endedByPeer(): void {
    this.#peerEnded = true
    this.#endSending()
  }

  #failed(cause: NodeJS.ErrnoException): void {
    // Of a connection that this side is closing, only what it was closed with matters.
    if (this.#closing) return
    this.#error ??= this.#lost(cause.message, cause)
  }

  #closed(): void {
    this.#ended = true
    this.#deadline.cancel()
    this.#closeTimer?.cancel()
    this.#deliver()
    this.#gone.resolve()
  }

  #lost(reason: string, cause?: SystemError): UnderstudyError {
    return connectionLost(this.remote, reason, cause)
  }

  #silent(allowedMs: number): UnderstudyError {
    return new UnderstudyError(
      'PEER_SILENT',
      `${this.remote} did not complete a frame within ${allowedMs} ms. It was dropped, whole frames before it were delivered, ` +
        'and the connection was closed; dial again.',
      { remote: this.remote, allowedMs },
    )
  }
}
