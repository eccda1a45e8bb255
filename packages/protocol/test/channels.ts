/** A channel and a clock in memory, by hand: a test decides what arrives and when. */
import type {
  Channel,
  ChannelHandler,
  ChannelSecurity,
  Clock,
  Random,
  UnderstudyError,
} from '@understudy/contracts'
import { decodeMessage, encodeMessage, type Message } from '../src/index.ts'

export class TestChannel implements Channel {
  readonly remote = 'test://peer'
  bufferedBytes = 0
  frameBytesMax = 4096
  readonly sent: Message[] = []
  sendReturns = true
  paused = false
  pauses = 0
  closed: { error: UnderstudyError | undefined } | undefined
  handler: ChannelHandler | undefined

  start(handler: ChannelHandler): void {
    this.handler = handler
  }

  send(parts: readonly Uint8Array[]): boolean {
    this.sent.push(decodeMessage(Buffer.concat(parts)))
    return this.sendReturns
  }

  pause(): void {
    this.paused = true
    this.pauses++
  }

  resume(): void {
    this.paused = false
  }

  close(error?: UnderstudyError): void {
    this.closed ??= { error }
  }

  arrive(...messages: Message[]): void {
    for (const message of messages) this.handler?.frame(Buffer.concat(encodeMessage(message)))
  }

  /** The socket is gone: of its own, or after `close`. */
  end(error: UnderstudyError | undefined = this.closed?.error): void {
    this.handler?.closed(error)
  }
}

export class TestClock implements Clock {
  time = 0
  readonly timers: { at: number; run: () => void; cancelled: boolean }[] = []

  now(): number {
    return this.time
  }

  monotonic(): number {
    return this.time
  }

  schedule(delayMs: number, run: () => void): { cancel(): void } {
    const timer = { at: this.time + delayMs, run, cancelled: false }
    this.timers.push(timer)
    return {
      cancel: () => {
        timer.cancelled = true
      },
    }
  }

  advance(ms: number): void {
    this.time += ms
    for (const timer of this.timers.splice(0)) {
      if (timer.cancelled) continue
      if (timer.at <= this.time) timer.run()
      else this.timers.push(timer)
    }
  }
}

/** One end of a link in memory; frames arrive in a later microtask, unless `tamper` changes or drops them. */
export class LinkedChannel implements Channel {
  readonly remote = 'test://peer'
  readonly bufferedBytes = 0
  readonly security: ChannelSecurity | undefined
  frameBytesMax = 4096
  /** Everything this end sent, as it went out. */
  readonly sent: Buffer[] = []
  tamper: (frame: Buffer) => Buffer | undefined = (frame) => frame
  peer: LinkedChannel | undefined
  closed = false
  #handler: ChannelHandler | undefined

  constructor(security?: ChannelSecurity) {
    this.security = security
  }

  start(handler: ChannelHandler): void {
    this.#handler = handler
  }

  send(parts: readonly Uint8Array[]): boolean {
    const frame = this.tamper(Buffer.concat(parts))
    if (frame === undefined) return true
    this.sent.push(frame)
    queueMicrotask(() => this.peer?.receive(frame))
    return true
  }

  receive(frame: Buffer): void {
    if (!this.closed) this.#handler?.frame(frame)
  }

  pause(): void {}

  resume(): void {}

  close(error?: UnderstudyError): void {
    if (this.closed) return
    this.closed = true
    queueMicrotask(() => {
      this.#handler?.closed(error)
      this.peer?.close()
    })
  }
}

/** Two ends that talk to each other. */
export function linked(securities: { dialler?: ChannelSecurity; listener?: ChannelSecurity } = {}): {
  dialler: LinkedChannel
  listener: LinkedChannel
} {
  const dialler = new LinkedChannel(securities.dialler)
  const listener = new LinkedChannel(securities.listener)
  dialler.peer = listener
  listener.peer = dialler
  return { dialler, listener }
}

/** Random numbers that are the same in each run, and different for each seed. */
export function seeded(seed: number): Random {
  let state = seed
  return {
    uint32(): number {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state
    },
  }
}
