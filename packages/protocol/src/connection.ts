/**
 * A channel that speaks messages: what every side of every conversation uses instead of a bare `Channel`.
 *
 * Decides: when bytes are no message, how an error is told to the peer (a Refuse, then the end), that no message is
 * lost between waiting for the handshake with `next` and installing a handler with `start`, and what a stranger may
 * send. Leaves to others: which message may come when, heartbeats and deadlines of an open conversation.
 *
 * 1. The constructor starts the channel, so it runs in the same turn as `accept`.
 * 2. Until `start`, messages queue; while any are queued the channel is paused, so that the queue stays short.
 * 3. `closed` is delivered once, after every message that came before it. After `close` no message is delivered.
 * 4. Of a stranger, only messages of the handshake are decoded at all. `trust` ends that, and allows compressed frames
 *    where both ends asked for them.
 * 5. A Refuse from the peer is never delivered as a message: it ends the connection with its code and message.
 */
import {
  isUnderstudyError,
  UnderstudyError,
  type Channel,
  type ChannelSecurity,
  type Clock,
} from '@understudy/contracts'
import { decodeMessage, encodeMessage, MESSAGE_TYPES } from './codec.ts'
import { COMPRESSED, Compressor } from './compression.ts'
import type { Message } from './messages.ts'
import { violation } from './wire.ts'

export interface ConnectionHandler {
  /** One message. Large byte fields are views of the frame and belong to the handler. A throw closes the connection with that error. */
  message(message: Message): void
  /** Sending may go on after `send` had returned false. */
  drained(): void
  /** The connection ended; called exactly once, last. Without an error when either side closed it in order. */
  closed(error: UnderstudyError | undefined): void
}

export interface NextOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

export interface ConnectionOptions {
  /** Decode nothing but messages of the handshake until `trust`. Default false. */
  readonly stranger?: boolean
}

export interface TrustOptions {
  /** Compress frames where that makes them shorter, and take compressed ones. Default false. */
  readonly compression?: boolean
}

const HANDSHAKE: ReadonlySet<number | undefined> = new Set([
  MESSAGE_TYPES.hello,
  MESSAGE_TYPES.welcome,
  MESSAGE_TYPES.refuse,
  MESSAGE_TYPES.authBegin,
  MESSAGE_TYPES.authChallenge,
  MESSAGE_TYPES.authProof,
  MESSAGE_TYPES.authDone,
])

interface Waiter {
  resolve(message: Message): void
  reject(error: UnderstudyError): void
}

export class Connection {
  readonly #channel: Channel
  readonly #clock: Clock
  /** Messages that nobody took yet: before `start`, while paused, or while one is being delivered. */
  readonly #queue: Message[] = []
  #stranger: boolean
  #compressor: Compressor | undefined
  #handler: ConnectionHandler | undefined
  #waiter: Waiter | undefined
  #drainedEarly = false
  #pausedByUser = false
  #channelPaused = false
  #delivering = false
  /** The peer refused or this side closed: no further frame counts. */
  #deaf = false
  /** This side closed: no message is delivered any more, queued ones neither. */
  #closedHere = false
  /** The channel is gone. */
  #ended = false
  #endedWith: UnderstudyError | undefined
  #closedDelivered = false

  constructor(channel: Channel, clock: Clock, options: ConnectionOptions = {}) {
    this.#channel = channel
    this.#stranger = options.stranger ?? false
    this.#clock = clock
    channel.start({
      frame: (bytes) => this.#frame(bytes),
      drained: () => this.#drained(),
      closed: (error) => this.#closed(error),
    })
  }

  /** For people: where the peer is. */
  get remote(): string {
    return this.#channel.remote
  }

  /** What the channel's encryption proves. */
  get security(): ChannelSecurity | undefined {
    return this.#channel.security
  }

  /** Bytes sent that the operating system has not taken yet. */
  get bufferedBytes(): number {
    return this.#channel.bufferedBytes
  }

  get frameBytesMax(): number {
    return this.#channel.frameBytesMax
  }

  /** The longest frame accepted, in bytes: raise it once the peer is known. */
  set frameBytesMax(bytes: number) {
    this.#channel.frameBytesMax = bytes
  }

  /** Whether the connection ended, or is ending: nothing can be sent. */
  get isClosed(): boolean {
    return this.#deaf || this.#ended
  }

  /** The peer is known: everything it sends is decoded from here on. */
  trust(options: TrustOptions = {}): void {
    this.#stranger = false
    if (options.compression === true) this.#compressor ??= new Compressor()
  }

  /**
   * The next message, for handshakes; one call at a time, and none after `start`. Rejects with `PEER_SILENT` when none
   * comes in time, `ABORTED`, the peer's own error when it refused, or what ended the connection (`CONNECTION_LOST` when
   * it ended in order). After `PEER_SILENT` and `ABORTED` the connection is still open: close it, or wait again.
   */
  async next(options: NextOptions): Promise<Message> {
    const { timeoutMs, signal } = options
    if (this.#handler !== undefined || this.#waiter !== undefined)
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        'Connection.next was called while a handler or another call waits for messages. Nothing was taken.',
      )
    if (signal?.aborted === true) throw abortedError(signal)
    const queued = this.#queue.shift()
    if (queued !== undefined) {
      this.#updatePause()
      return queued
    }
    if (this.isClosed) throw this.#endError()
    const { promise, resolve, reject } = Promise.withResolvers<Message>()
    const waiter: Waiter = { resolve, reject }
    this.#waiter = waiter
    const timer = this.#clock.schedule(timeoutMs, () => reject(this.#silentError(timeoutMs)))
    const onAbort = (): void => reject(abortedError(signal))
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      return await promise
    } finally {
      timer.cancel()
      signal?.removeEventListener('abort', onAbort)
      if (this.#waiter === waiter) this.#waiter = undefined
    }
  }

  /** Installs the handler. What came before is delivered before this returns; called once. */
  start(handler: ConnectionHandler): void {
    if (this.#handler !== undefined || this.#waiter !== undefined)
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        'Connection.start was called twice, or during Connection.next. The first caller still gets the messages.',
      )
    this.#handler = handler
    if (this.#drainedEarly) handler.drained()
    this.#deliver()
  }

  /**
   * Sends one message. False: the peer is slow, send no more until `drained`; also after the connection ended, when the
   * message is dropped. Throws `INVALID_ARGUMENT` for a message that breaks a limit.
   */
  send(message: Message): boolean {
    if (this.isClosed) return false
    const parts = encodeMessage(message)
    return this.#channel.send(this.#compressor?.compress(parts) ?? parts)
  }

  /** What was sent in this turn leaves now, where the transport would gather it until the end of the turn. */
  flush(): void {
    if (!this.isClosed) this.#channel.flush?.()
  }

  /** Stops delivery, and soon the peer's sending. The end of a paused connection may be noticed only after `resume`. */
  pause(): void {
    this.#pausedByUser = true
    this.#updatePause()
  }

  /** Goes on; what is queued is delivered before this returns. */
  resume(): void {
    this.#pausedByUser = false
    this.#deliver()
  }

  /** Tells the peer why it is turned away, then ends the connection: `close(error)`, as a handshake would say it. */
  refuse(error: UnderstudyError): void {
    this.close(error)
  }

  /**
   * Ends the connection after what was sent is out. With an error the peer is told first (its code and message, nothing
   * else), and this side's `closed` gets it too.
   */
  close(error?: UnderstudyError): void {
    if (this.#closedHere) return
    if (error !== undefined) this.send({ type: 'refuse', code: error.code, message: error.message })
    this.#closedHere = true
    this.#queue.length = 0
    this.#end(error)
    this.#deliver()
  }

  /** Ends the channel; what is queued stays. */
  #end(error: UnderstudyError | undefined): void {
    this.#endedWith ??= error
    if (!this.#deaf) {
      this.#deaf = true
      this.#channel.close(error)
    }
    this.#waiter?.reject(this.#endError())
  }

  #frame(bytes: Uint8Array): void {
    if (this.#deaf) return
    let message: Message
    try {
      message = this.#decode(bytes)
    } catch (error) {
      this.close(asUnderstudyError(error))
      return
    }
    const waiter = this.#waiter
    if (message.type === 'refuse') {
      this.#end(new UnderstudyError(message.code, message.message, { remote: this.remote, fromPeer: true }))
    } else if (waiter === undefined) {
      this.#queue.push(message)
      this.#deliver()
    } else {
      // The promise settles in a later microtask: a second message of the same read must find no waiter.
      this.#waiter = undefined
      waiter.resolve(message)
    }
  }

  #decode(frame: Uint8Array): Message {
    if (this.#stranger && !HANDSHAKE.has(frame[0]))
      throw violation(`a message of type ${frame[0]} came before the handshake was over`)
    if (frame[0] !== COMPRESSED || this.#compressor === undefined) return decodeMessage(frame)
    return decodeMessage(this.#compressor.expand(frame, this.frameBytesMax))
  }

  #drained(): void {
    if (this.#handler === undefined) this.#drainedEarly = true
    else this.#handler.drained()
  }

  #closed(error: UnderstudyError | undefined): void {
    this.#ended = true
    this.#endedWith ??= error
    this.#waiter?.reject(this.#endError())
    this.#deliver()
  }

  /** Hands over what is queued, then the end. A handler that causes a call of this only lengthens the running loop. */
  #deliver(): void {
    const handler = this.#handler
    if (this.#delivering || handler === undefined) {
      this.#updatePause()
      return
    }
    this.#delivering = true
    try {
      while (!this.#pausedByUser) {
        const message = this.#queue.shift()
        if (message === undefined) break
        handler.message(message)
      }
    } catch (error) {
      this.close(asUnderstudyError(error))
    } finally {
      this.#delivering = false
    }
    this.#updatePause()
    if (this.#ended && this.#queue.length === 0 && !this.#closedDelivered) {
      this.#closedDelivered = true
      handler.closed(this.#endedWith)
    }
  }

  /** Keeps the queue short: the channel rests while something waits in it. */
  #updatePause(): void {
    const paused = !this.#deaf && (this.#pausedByUser || this.#queue.length > 0)
    if (paused === this.#channelPaused || this.#delivering || this.#ended) return
    this.#channelPaused = paused
    if (paused) this.#channel.pause()
    else this.#channel.resume()
  }

  #endError(): UnderstudyError {
    return (
      this.#endedWith ??
      new UnderstudyError(
        'CONNECTION_LOST',
        `The connection with ${this.remote} ended before the awaited message came. Dial again.`,
        { remote: this.remote },
      )
    )
  }

  #silentError(timeoutMs: number): UnderstudyError {
    return new UnderstudyError(
      'PEER_SILENT',
      `${this.remote} sent nothing within ${timeoutMs} ms. Nothing was lost; check that an Understudy node listens there.`,
      { remote: this.remote, timeoutMs },
    )
  }
}

function abortedError(signal: AbortSignal | undefined): UnderstudyError {
  return new UnderstudyError('ABORTED', 'The wait for a message was aborted; the connection goes on.', {
    cause: signal?.reason,
  })
}

function asUnderstudyError(error: unknown): UnderstudyError {
  if (isUnderstudyError(error)) return error
  return new UnderstudyError(
    'CONNECTION_LOST',
    'The connection was ended because handling a message failed. What was handled before is kept; see the cause.',
    { cause: error },
  )
}
