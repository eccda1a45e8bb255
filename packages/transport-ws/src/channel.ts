/**
 * One WebSocket connection as a channel of frames: a binary message each.
 *
 * Decides: when frames are delivered, and how the connection ends. Leaves to others: when bytes are written (outgoing),
 * what of the peer's bytes `ws` gets to see (the gate), what frames mean, deadlines for a peer that is silent between
 * them. Leaves to `ws`: the WebSocket protocol.
 *
 * 1. No frame is delivered while paused, nor after `close`.
 * 2. `closed` is called once, after `start`, when the socket is gone.
 * 3. After `close` data is read over until the peer closed too: unread bytes would make the operating system reset the
 *    connection, and the peer could lose what was sent last.
 * 4. `ws` listens to the socket with three functions: for data, which may be any piece of the stream, the peer's end and
 *    the socket's. They are called from here instead, so that frames behind a pause still reach `ws` before the end does.
 */
import type { Socket } from 'node:net'
import { WebSocket } from 'ws'
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
import { messageTimedOut, violation } from './errors.ts'
import { FrameGate } from './frame-gate.ts'
import { Outgoing, type OutgoingMarks } from './outgoing.ts'

/** How long the peer may take to accept the last bytes, and to answer that the connection closes. */
const CLOSE_TIMEOUT_MS = 1000
/** RFC 6455, section 7.4.1. */
const STATUS_NORMAL = 1000
const STATUS_VIOLATION = 1002
const STATUS_POLICY = 1008
const STATUS_TOO_LARGE = 1009
/** The peer closed in order: as we do, because it goes away, or without a word. */
const IN_ORDER: readonly number[] = [STATUS_NORMAL, 1001, 1005]
/** No closing handshake came. */
const STATUS_NONE = 1006

export interface ChannelOptions extends OutgoingMarks {
  readonly frameBytesMax: number
  readonly frameMs: number
  readonly clock: Clock
  /** This side accepted the connection. */
  readonly accepted: boolean
  readonly remote: string
  readonly security: ChannelSecurity | undefined
}

export class WebSocketChannel implements Channel {
  readonly remote: string
  readonly security: ChannelSecurity | undefined
  frameBytesMax: number
  readonly #ws: WebSocket
  readonly #socket: Socket
  readonly #outgoing: Outgoing
  readonly #options: ChannelOptions
  readonly #gate: FrameGate
  readonly #deadline: FrameDeadline
  readonly #feed: (frame: Buffer) => void
  readonly #tellEnd: () => void
  readonly #tellClose: () => void
  #handler: ChannelHandler | undefined
  #paused = false
  #delivering = false
  #flowScheduled = false
  /** This side closed: nothing is sent or delivered any more. */
  #closing = false
  /** What comes is of no interest any more, the peer's closing included. */
  #dropping = false
  /** There may be frames that `ws` has not seen. */
  #hasRest = false
  /** The peer sends no more; whether `ws` knows. */
  #peerEnded: 'no' | 'untold' | 'told' = 'no'
  /** The socket is gone; whether `ws` knows. */
  #socketClosed: 'no' | 'untold' | 'told' = 'no'
  /** All is over, and the handler knows if there is one. */
  #ended = false
  #endedWith: { readonly error: UnderstudyError | undefined } | undefined
  #error: UnderstudyError | undefined
  #socketError: SystemError | undefined
  #closeTimer: Timer | undefined
  #pongWaits = false
  #nextPong: Buffer | undefined
  readonly #gone = Promise.withResolvers<void>()

  /** Takes a connection over as soon as `ws` has it: before any of its bytes were read. */
  constructor(ws: WebSocket, socket: Socket, options: ChannelOptions) {
    this.#ws = ws
    this.#socket = socket
    this.#options = options
    this.#outgoing = new Outgoing(ws, socket, options, () => {
      if (!this.#closing && this.#outgoing.isOpen) this.#handler?.drained()
    })
    this.#gate = new FrameGate(options.accepted)
    this.#deadline = new FrameDeadline(options.clock, options.frameMs, (allowedMs) =>
      this.#refuse(messageTimedOut(options.remote, allowedMs)),
    )
    this.#feed = takeOver(socket, 'data', this.#received)
    this.#tellEnd = takeOver(socket, 'end', () => this.#endedBySocket())
    this.#tellClose = takeOver(socket, 'close', () => this.#closedBySocket())
    this.frameBytesMax = options.frameBytesMax
    this.remote = options.remote
    this.security = options.security
    ws.pause()
    ws.on('message', (data) => this.#message(data as Buffer))
    ws.on('ping', (data) => this.#pinged(data))
    ws.on('error', (error) => this.#failed(error))
    ws.on('close', (status, reason) => this.#closed(status, reason))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#socketError ??= error
    })
  }

  get bufferedBytes(): number {
    return this.#outgoing.bufferedBytes
  }

  /** Settles when the socket is gone, after `closed`. */
  get gone(): Promise<void> {
    return this.#gone.promise
  }

  start(handler: ChannelHandler): void {
    if (this.#handler !== undefined) throw startedTwice()
    this.#handler = handler
    if (this.#ended) process.nextTick(() => this.#deliverClosed())
    else this.#flow()
  }

  send(parts: readonly Uint8Array[]): boolean {
    return !this.#closing && this.#outgoing.isOpen && this.#outgoing.send(parts)
  }

  flush(): void {
    this.#outgoing.flush()
  }

  pause(): void {
    this.#paused = true
    if (this.#closing) return
    this.#ws.pause()
    this.#watchMessage()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    if (this.#handler !== undefined) this.#flow()
  }

  close(error?: UnderstudyError): void {
    if (this.#closing) return
    this.#closing = true
    this.#error ??= error
    if (this.#ended) return
    this.#gate.skipData()
    this.#endSending(statusOf(error), error)
    this.#deadline.cancel()
    // Flows also without a handler: see 3 above.
    this.#flow()
  }

  /** Not at once: the caller may be inside `frame`, or hold half-changed state of its own. */
  #flow(): void {
    if (this.#flowScheduled) return
    this.#flowScheduled = true
    process.nextTick(() => {
      this.#flowScheduled = false
      this.#deliver()
      if ((!this.#paused || this.#closing) && !this.#socket.destroyed) this.#ws.resume()
    })
  }

  #endSending(status: number, error: UnderstudyError | undefined): void {
    this.#outgoing.flush()
    this.#ws.close(status, error?.code)
    this.#limitClosing()
  }

  #limitClosing(): void {
    this.#closeTimer ??= this.#options.clock.schedule(CLOSE_TIMEOUT_MS, () => this.#closeTimedOut())
  }

  #closeTimedOut(): void {
    const bytes = this.bufferedBytes
    if (bytes > 0)
      this.#error ??= connectionLost(this.remote, `the peer did not take the last ${bytes} bytes in time`)
    this.#ws.terminate()
  }

  readonly #received = (chunk: Buffer): void => {
    if (this.#dropping) return
    this.#gate.push(chunk)
    this.#hasRest = true
    this.#deliver()
  }

  #deliver(): void {
    if (this.#delivering || this.#ended || (this.#handler === undefined && !this.#closing)) return
    this.#delivering = true
    try {
      while ((!this.#paused || this.#closing) && !this.#dropping) {
        const frame = this.#gate.take(this.frameBytesMax)
        if (frame === undefined) {
          if (this.#takeLast()) continue
          this.#hasRest = false
          break
        }
        const isClose = this.#gate.isClose
        this.#feed(frame)
        if (isClose) this.#endedByPeer()
      }
    } catch (error) {
      this.#refuse(error as UnderstudyError)
    } finally {
      this.#delivering = false
    }
    this.#watchMessage()
    this.#tellEnds()
  }

  /** What a socket that broke off has read and not told. */
  #takeLast(): boolean {
    if (!this.#socket.destroyed) return false
    this.#socket.off('data', this.#received)
    const rest = this.#socket.read() as Buffer | null
    if (rest !== null) this.#gate.push(rest)
    return rest !== null
  }

  #endedBySocket(): void {
    this.#peerEnded = 'untold'
    this.#tellEnds()
  }

  #closedBySocket(): void {
    this.#socketClosed = 'untold'
    this.#hasRest = true
    this.#deliver()
    this.#tellEnds()
  }

  /** `ws` takes no frames after an end: it hears of it when there are none left, or nobody wants them. */
  #tellEnds(): void {
    if (this.#hasRest && !this.#closing && !this.#dropping) return
    if (this.#peerEnded === 'untold') {
      this.#peerEnded = 'told'
      this.#tellEnd()
      this.#limitClosing()
    }
    if (this.#socketClosed === 'untold') {
      this.#socketClosed = 'told'
      this.#tellClose()
    }
  }

  #message(data: Buffer): void {
    if (this.#closing) return
    try {
      this.#handler?.frame(data)
    } catch (error) {
      this.close(isUnderstudyError(error) ? error : handlerFailed(this.remote, error))
    }
  }

  /** `ws` has the peer's Close frame and answers it; nothing comes after. */
  #endedByPeer(): void {
    this.#dropping = true
    this.#outgoing.flush()
    this.#limitClosing()
  }

  /** The peer sent what it must not. */
  #refuse(error: UnderstudyError): void {
    this.#closing = true
    this.#dropping = true
    this.#error ??= error
    this.#endSending(statusOf(error), error)
    // The peer's own Close frame will not be found among its bytes, so it is not waited for.
    this.#socket.end()
  }

  /** What `ws` could not make sense of; it closes by itself. */
  #failed(cause: Error): void {
    if (this.#ended) return
    if (!this.#closing) this.#error ??= violation(cause.message, cause)
    this.#closing = true
    this.#dropping = true
    this.#outgoing.flush()
    this.#limitClosing()
  }

  /** Only the last of many pings needs an answer (RFC 6455, section 5.5.3), so that a peer cannot make answers pile up. */
  #pinged(data: Buffer): void {
    if (this.#ws.readyState !== WebSocket.OPEN) return
    if (this.#pongWaits) {
      this.#nextPong = data
      return
    }
    this.#pongWaits = true
    this.#ws.pong(data, undefined, () => {
      this.#pongWaits = false
      const next = this.#nextPong
      this.#nextPong = undefined
      if (next !== undefined) this.#pinged(next)
    })
  }

  #watchMessage(): void {
    if (this.#gate.isBetweenMessages || this.#paused || this.#closing || this.#ended) this.#deadline.rests()
    else this.#deadline.waitsFor(this.#gate.completed, this.#gate.announcedBytes)
  }

  #closed(status: number, reason: Buffer): void {
    if (!this.#closing) this.#error ??= this.#errorOf(status, reason.toString('latin1'))
    this.#ended = true
    this.#closeTimer?.cancel()
    this.#deadline.cancel()
    this.#endedWith = { error: this.#error }
    if (this.#handler !== undefined) this.#deliverClosed()
    this.#gone.resolve()
  }

  #deliverClosed(): void {
    this.#handler?.closed(this.#endedWith?.error)
  }

  /** Why the connection ended, when this side did not close it. */
  #errorOf(status: number, reason: string): UnderstudyError | undefined {
    if (IN_ORDER.includes(status)) return undefined
    if (status !== STATUS_NONE) {
      // The peer wrote the reason: only one that looks like a code of ours is shown.
      const code = /^[A-Z_]{1,40}$/.test(reason) ? ` (${reason})` : ''
      return connectionLost(this.remote, `the peer closed it with status ${status}${code}`)
    }
    const cause = this.#socketError
    if (cause !== undefined) return connectionLost(this.remote, cause.message, cause)
    return connectionLost(
      this.remote,
      this.#gate.isBetweenMessages ? 'it ended without a word' : 'it ended inside a frame, which was dropped',
    )
  }
}

/** Puts `own` in the place of the function by which `ws` listens to an event of the socket, and returns that one. */
function takeOver<T extends unknown[]>(
  socket: Socket,
  event: 'data' | 'end' | 'close',
  own: (...values: T) => void,
): (...values: T) => void {
  const listener = socket.listeners(event).at(-1) as ((this: Socket, ...values: T) => void) | undefined
  if (listener === undefined)
    throw new UnderstudyError(
      'UNSUPPORTED_RUNTIME',
      'This version of ws does not listen to its socket as 8.23 does. No channel was made; install the version that package.json names.',
    )
  socket.on(event, own as (...values: unknown[]) => void)
  socket.off(event, listener)
  return (...values) => listener.apply(socket, values)
}

function statusOf(error: UnderstudyError | undefined): number {
  if (error === undefined) return STATUS_NORMAL
  if (error.code === 'FRAME_TOO_LARGE') return STATUS_TOO_LARGE
  return error.code === 'PROTOCOL_VIOLATION' ? STATUS_VIOLATION : STATUS_POLICY
}
