/** A channel and a clock in memory, by hand: a test decides what arrives and when. */
import type { Channel, ChannelHandler, Clock, UnderstudyError } from '@understudy/contracts'
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
