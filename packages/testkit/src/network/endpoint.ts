/**
 * One side of a simulated channel.
 *
 * Decides: order, back-pressure and the end of a channel, as a TCP connection would have them.
 * Leaves to others: how long things travel, and whether they arrive at all (`Wire`, made by network.ts).
 *
 * 1. Outgoing frames wait here while more than `windowBytes` are on their way or lie undelivered at the peer; these
 *    waiting bytes are `bufferedBytes`. Acknowledgements travel back like everything else, so a cut in one direction
 *    soon stops the other.
 * 2. `close` sends what waits and then an end mark. The peer that gets it delivers all frames before it first, also
 *    when it is paused. When the waiting bytes are not gone after a second, the channel is reset.
 * 3. A reset throws away what is undelivered on both sides.
 * 4. The handler hears nothing after `closed`, and `closed` once, never from within a call of its own.
 */
import {
  isUnderstudyError,
  UnderstudyError,
  type Channel,
  type ChannelHandler,
  type Clock,
  type Timer,
} from '@understudy/contracts'

/** What travels: a frame, the end mark, a reset, or how many bytes the peer has taken. */
export type Parcel =
  | { readonly kind: 'frame'; readonly bytes: Uint8Array }
  | { readonly kind: 'end' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'taken'; readonly bytes: number }

/** One direction of a channel; delivers in order, or not at all. */
export type Wire = (parcel: Parcel) => void

export interface EndpointOptions {
  readonly remote: string
  readonly clock: Clock
  readonly frameBytesMax: number
  readonly windowBytes: number
  readonly highMarkBytes: number
  /** Called when the channel has ended on this side. */
  readonly ended: () => void
}

const CLOSE_WITHIN_MS = 1000
/** What a frame without bytes takes of the window, so that it cannot be flooded with empty ones. */
const FRAME_OVERHEAD_BYTES = 4

export class Endpoint implements Channel {
  readonly remote: string
  frameBytesMax: number
  readonly #options: EndpointOptions
  readonly #clock: Clock
  #wire: Wire | undefined
  #handler: ChannelHandler | undefined
  /** `closing`: `close` was called, its end mark waits. `ended`: nothing more goes out or comes in. */
  #state: 'open' | 'closing' | 'ended' = 'open'
  #closedError: UnderstudyError | undefined
  #died = false

  readonly #outgoing = new FrameQueue()
  #unacknowledgedBytes = 0
  #blocked = false
  #closeTimer: Timer | undefined

  readonly #incoming = new FrameQueue()
  #peerEnded = false
  #paused = false
  #delivering = false

  constructor(options: EndpointOptions) {
    this.#options = options
    this.#clock = options.clock
    this.remote = options.remote
    this.frameBytesMax = options.frameBytesMax
  }

  /** Where this side's parcels go. Called once, before anything else. */
  attach(wire: Wire): void {
    this.#wire = wire
  }

  get bufferedBytes(): number {
    return this.#outgoing.bytes
  }

  start(handler: ChannelHandler): void {
    if (this.#handler !== undefined)
      throw new UnderstudyError('INVALID_ARGUMENT', 'The channel was started already.')
    this.#handler = handler
    if (this.#state === 'ended') this.#scheduleClosed()
    else this.#scheduleDelivery()
  }

  send(parts: readonly Uint8Array[]): boolean {
    if (this.#state !== 'open') return false
    // One copy: the receiver owns its frame, the sender keeps its parts.
    this.#outgoing.push(joinParts(parts))
    this.#pump()
    const free = this.#outgoing.bytes <= this.#options.highMarkBytes
    if (!free) this.#blocked = true
    return free
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#scheduleDelivery()
  }

  close(error?: UnderstudyError): void {
    if (this.#state !== 'open') return
    this.#state = 'closing'
    this.#closedError = error
    this.#closeTimer = this.#clock.schedule(CLOSE_WITHIN_MS, () => this.reset(undefined))
    this.#pump()
  }

  /** Takes what the wire brought. */
  take(parcel: Parcel): void {
    if (parcel.kind === 'taken') this.#acknowledged(parcel.bytes)
    else if (parcel.kind === 'reset') this.#end(connectionLost('was reset by the peer'))
    else if (this.#state === 'ended') this.#takeAfterEnd()
    else if (parcel.kind === 'end') {
      this.#peerEnded = true
      this.#deliver()
    } else if (this.#state === 'open') this.#takeFrame(parcel.bytes)
  }

  /** Ends the channel at once on this side, and tells the peer. */
  reset(error: UnderstudyError | undefined): void {
    if (this.#state === 'ended') return
    this.#wire?.({ kind: 'reset' })
    this.#end(error)
  }

  /** The node died: no handler is called any more. What already left goes on its way. `tell`: its system resets the connection. */
  die(options: { readonly tell: boolean }): void {
    if (this.#state === 'ended') return
    if (options.tell) this.#wire?.({ kind: 'reset' })
    this.#died = true
    this.#end(undefined)
  }

  /** A node that lost its memory answers what it does not know with a reset. */
  #takeAfterEnd(): void {
    if (this.#died) this.#wire?.({ kind: 'reset' })
  }

  #takeFrame(bytes: Uint8Array): void {
    if (bytes.byteLength > this.frameBytesMax) {
      this.reset(
        new UnderstudyError(
          'FRAME_TOO_LARGE',
          `A frame of ${bytes.byteLength} bytes from ${this.remote} is over the limit of ${this.frameBytesMax}; the connection was closed.`,
        ),
      )
      return
    }
    this.#incoming.push(bytes)
    this.#deliver()
  }

  #acknowledged(bytes: number): void {
    this.#unacknowledgedBytes -= bytes
    this.#pump()
    if (!this.#blocked || this.#state !== 'open' || this.#outgoing.bytes > this.#options.highMarkBytes / 2)
      return
    this.#blocked = false
    this.#handler?.drained()
  }

  /** Sends what the window allows, then the end mark if that is due. */
  #pump(): void {
    if (this.#state === 'ended') return
    while (this.#outgoing.length > 0 && this.#unacknowledgedBytes < this.#options.windowBytes) {
      const bytes = this.#outgoing.shift()
      this.#unacknowledgedBytes += bytes.byteLength + FRAME_OVERHEAD_BYTES
      this.#wire?.({ kind: 'frame', bytes })
    }
    if (this.#state === 'closing' && this.#outgoing.length === 0) {
      this.#wire?.({ kind: 'end' })
      this.#end(undefined)
    }
  }

  #scheduleDelivery(): void {
    this.#clock.schedule(0, () => this.#deliver())
  }

  #deliver(): void {
    if (this.#handler === undefined || this.#delivering || this.#state === 'ended') return
    this.#delivering = true
    let taken = 0
    try {
      while (this.#incoming.length > 0 && !this.#paused && this.#state === 'open') {
        const bytes = this.#incoming.shift()
        taken += bytes.byteLength + FRAME_OVERHEAD_BYTES
        this.#handler.frame(bytes)
      }
    } catch (error) {
      this.reset(handlerError(error))
    } finally {
      this.#delivering = false
    }
    if (taken > 0 && !this.#peerEnded) this.#wire?.({ kind: 'taken', bytes: taken })
    if (this.#peerEnded && (this.#incoming.length === 0 || this.#state !== 'open')) this.#end(undefined)
  }

  #end(error: UnderstudyError | undefined): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#closeTimer?.cancel()
    this.#outgoing.clear()
    this.#incoming.clear()
    this.#options.ended()
    this.#closedError ??= error
    if (this.#handler !== undefined) this.#scheduleClosed()
  }

  #scheduleClosed(): void {
    this.#clock.schedule(0, () => {
      if (this.#died) return
      this.#handler?.closed(this.#closedError)
    })
  }
}

/** A queue of frames that takes from the front without moving the rest each time. */
class FrameQueue {
  bytes = 0
  #frames: Uint8Array[] = []
  #head = 0

  get length(): number {
    return this.#frames.length - this.#head
  }

  push(frame: Uint8Array): void {
    this.#frames.push(frame)
    this.bytes += frame.byteLength
  }

  /** The queue must not be empty. */
  shift(): Uint8Array {
    const frame = this.#frames[this.#head++] as Uint8Array
    this.bytes -= frame.byteLength
    if (this.#head > 1024 && this.#head * 2 > this.#frames.length) {
      this.#frames = this.#frames.slice(this.#head)
      this.#head = 0
    }
    return frame
  }

  clear(): void {
    this.#frames = []
    this.#head = 0
    this.bytes = 0
  }
}

export function connectionLost(what: string): UnderstudyError {
  return new UnderstudyError(
    'CONNECTION_LOST',
    `The connection ${what}; frames on their way may be lost. Connect again.`,
  )
}

function handlerError(error: unknown): UnderstudyError {
  if (isUnderstudyError(error)) return error
  return new UnderstudyError('CONNECTION_LOST', 'The handler of a frame threw; the connection was closed.', {
    cause: error,
  })
}

function joinParts(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.byteLength
  const bytes = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.byteLength
  }
  return bytes
}
