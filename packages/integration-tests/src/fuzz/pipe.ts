/**
 * A transport inside one process whose frames a fuzzer may change on their way.
 *
 * Decides: order, limits and the end of a channel, as a socket would have them. Leaves to others: what becomes of a frame
 * (`Tap`), time.
 *
 * 1. Frames are delivered in a later microtask, never from within `send`; a paused end gets them when it resumes.
 * 2. A frame over the receiver's limit closes it with `FRAME_TOO_LARGE`, as its length alone does on a socket.
 * 3. What handling a frame threw closes the channel with that error; each is told to the watch.
 */
import {
  isUnderstudyError,
  UnderstudyError,
  type Channel,
  type ChannelHandler,
  type ConnectOptions,
  type Listener,
  type ListenOptions,
  type Transport,
} from '@understudy/contracts'
import type { Frame } from './mutator.ts'
import type { Watch } from './watch.ts'

/** Which frames arrive in place of one that was sent. */
export type Tap = (frame: Frame) => readonly Frame[]

export class PipeEnd implements Channel {
  readonly remote: string
  frameBytesMax: number
  readonly bufferedBytes = 0
  /** Changes what this end sends. */
  tap: Tap | undefined
  readonly #incoming: Frame[] = []
  readonly #watch: Watch
  #peer: PipeEnd | undefined
  #handler: ChannelHandler | undefined
  #paused = false
  #delivering = false
  #peerEnded = false
  #closing = false
  #closingError: UnderstudyError | undefined
  #told = false

  constructor(remote: string, frameBytesMax: number, watch: Watch) {
    this.remote = remote
    this.frameBytesMax = frameBytesMax
    this.#watch = watch
  }

  /** Two ends that are each other's peer. */
  static pair(
    near: { readonly remote: string; readonly frameBytesMax: number },
    far: { readonly remote: string; readonly frameBytesMax: number },
    watch: Watch,
  ): [PipeEnd, PipeEnd] {
    const a = new PipeEnd(near.remote, near.frameBytesMax, watch)
    const b = new PipeEnd(far.remote, far.frameBytesMax, watch)
    a.#peer = b
    b.#peer = a
    return [a, b]
  }

  /** Whether the channel is over at this end. */
  get isOver(): boolean {
    return this.#told
  }

  /** Whether this end closes or closed: nothing that is sent to it is heard. */
  get isDeaf(): boolean {
    return this.#closing
  }

  /** Frames that came and were not read yet. */
  get backlog(): number {
    return this.#incoming.length
  }

  start(handler: ChannelHandler): void {
    this.#handler = handler
    queueMicrotask(this.#deliver)
  }

  send(parts: readonly Uint8Array[]): boolean {
    if (this.#closing) return false
    const frame = join(parts)
    if (this.tap === undefined) this.#peer?.push(frame)
    else for (const each of this.tap(frame)) this.#peer?.push(each)
    return true
  }

  /** A frame arrives here. */
  push(frame: Frame): void {
    if (this.#closing) return
    this.#incoming.push(frame)
    if (this.#incoming.length === 1) queueMicrotask(this.#deliver)
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    queueMicrotask(this.#deliver)
  }

  close(error?: UnderstudyError): void {
    if (this.#closing) return
    this.#closing = true
    this.#closingError = error
    this.#incoming.length = 0
    const peer = this.#peer
    if (peer !== undefined) {
      peer.#peerEnded = true
      queueMicrotask(peer.#deliver)
    }
    queueMicrotask(this.#deliver)
  }

  readonly #deliver = (): void => {
    const handler = this.#handler
    if (handler === undefined || this.#delivering || this.#told) return
    this.#delivering = true
    try {
      while (!this.#closing && !this.#paused) {
        const frame = this.#incoming.shift()
        if (frame === undefined) break
        this.#handle(handler, frame)
      }
    } finally {
      this.#delivering = false
    }
    // The end of the peer is heard after its frames, by a paused end too.
    const isOver = this.#closing || (this.#peerEnded && this.#incoming.length === 0)
    if (!isOver) return
    this.#closing = true
    this.#told = true
    this.#watch.ended(this.#closingError)
    handler.closed(this.#closingError)
  }

  #handle(handler: ChannelHandler, frame: Frame): void {
    if (frame.length > this.frameBytesMax) {
      return this.close(
        new UnderstudyError('FRAME_TOO_LARGE', `A frame of ${frame.length} bytes is over the limit.`, {
          length: frame.length,
          frameBytesMax: this.frameBytesMax,
        }),
      )
    }
    try {
      this.#watch.handling(frame, () => handler.frame(frame))
    } catch (error) {
      this.#watch.escaped(error)
      this.close(isUnderstudyError(error) ? error : undefined)
    }
  }
}

function join(parts: readonly Uint8Array[]): Frame {
  let length = 0
  for (const part of parts) length += part.length
  const frame = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    frame.set(part, at)
    at += part.length
  }
  return frame
}

/** `pipe://name` addresses; every channel is seen by `opened` before either end is used. */
export class PipeTransport implements Transport {
  readonly schemes: readonly string[] = ['pipe', 'tcp']
  /** Sees each connection: set taps here. `near` dialled. */
  opened: ((near: PipeEnd, far: PipeEnd) => void) | undefined
  readonly #accepting = new Map<string, { accept: (channel: Channel) => void; frameBytesMax: number }>()
  readonly #watch: Watch

  constructor(watch: Watch) {
    this.#watch = watch
  }

  async connect(address: string, options: ConnectOptions = {}): Promise<Channel> {
    return this.dial(address, options.frameBytesMax)
  }

  /** The dialling end, at once. */
  dial(address: string, frameBytesMax: number = 16 * 1024 * 1024): PipeEnd {
    const listener = this.#accepting.get(address)
    if (listener === undefined) throw new UnderstudyError('CONNECT_FAILED', `Nobody listens at ${address}.`)
    const [near, far] = PipeEnd.pair(
      { remote: address, frameBytesMax },
      { remote: 'pipe://fuzzer', frameBytesMax: listener.frameBytesMax },
      this.#watch,
    )
    this.opened?.(near, far)
    listener.accept(far)
    return near
  }

  async listen(
    address: string,
    accept: (channel: Channel) => void,
    options: ListenOptions = {},
  ): Promise<Listener> {
    this.#accepting.set(address, { accept, frameBytesMax: options.frameBytesMax ?? 4096 })
    const close = async (): Promise<void> => void this.#accepting.delete(address)
    return { address, close, [Symbol.asyncDispose]: close }
  }
}
