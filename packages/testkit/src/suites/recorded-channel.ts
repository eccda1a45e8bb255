/** Ends of real connections that write down what happens to them. */
import type { Socket } from 'node:net'
import type { Channel, Listener, UnderstudyError } from '@understudy/contracts'

/** A channel that writes down what happens to it, and can be waited for. */
export class Recorded {
  readonly channel: Channel
  readonly frames: Uint8Array[] = []
  drains = 0
  closes = 0
  error: UnderstudyError | undefined
  onFrame: (frame: Uint8Array) => void = () => {}
  #waiting: (() => void)[] = []

  constructor(channel: Channel) {
    this.channel = channel
    channel.start({
      frame: (bytes) => {
        this.frames.push(bytes)
        this.#wake()
        this.onFrame(bytes)
      },
      drained: () => {
        this.drains++
        this.#wake()
      },
      closed: (error) => {
        this.closes++
        this.error = error
        this.#wake()
      },
    })
  }

  /** Waits for something to be true after an event of this channel. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  framesArrived(count: number): Promise<void> {
    return this.until(() => this.frames.length >= count)
  }

  closed(): Promise<void> {
    return this.until(() => this.closes > 0)
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

export interface Pair extends AsyncDisposable {
  readonly dialler: Recorded
  readonly acceptor: Recorded
  readonly listener: Listener
}

export interface RawPair extends AsyncDisposable {
  readonly socket: Socket
  readonly channel: Recorded
  readonly listener: Listener
}

/** Bytes that depend on their place, so that a shifted or repeated byte shows. */
export function pattern(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + seed * 131) & 0xff
  return bytes
}
