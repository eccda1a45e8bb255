/**
 * A channel handler that keeps what it is told, checks the rules that hold for every channel, and can be waited for.
 *
 * Its rules: nothing comes after `closed`, and `closed` once. A breach is kept in `breaches`, which the suite expects
 * to be empty at the end of every test.
 */
import type { Channel, ChannelHandler, UnderstudyError } from '@understudy/contracts'

export interface ProbeHooks {
  /** After the frame was kept; a throw reaches the transport. */
  readonly frame?: (bytes: Uint8Array, probe: ChannelProbe) => void
  readonly drained?: (probe: ChannelProbe) => void
}

export class ChannelProbe implements ChannelHandler {
  readonly channel: Channel
  readonly frames: Uint8Array[] = []
  readonly breaches: string[] = []
  drainedCount = 0
  /** What `closed` said; `undefined` until it was called. */
  end: { readonly error: UnderstudyError | undefined } | undefined
  readonly #hooks: ProbeHooks
  #waiting: { readonly reached: () => boolean; readonly resolve: () => void }[] = []

  constructor(channel: Channel, hooks: ProbeHooks = {}) {
    this.channel = channel
    this.#hooks = hooks
  }

  frame(bytes: Uint8Array): void {
    if (this.end !== undefined) this.breaches.push('frame after closed')
    this.frames.push(bytes)
    try {
      this.#hooks.frame?.(bytes, this)
    } finally {
      this.#wake()
    }
  }

  drained(): void {
    if (this.end !== undefined) this.breaches.push('drained after closed')
    this.drainedCount += 1
    this.#hooks.drained?.(this)
    this.#wake()
  }

  closed(error: UnderstudyError | undefined): void {
    if (this.end !== undefined) this.breaches.push('closed twice')
    this.end = { error }
    this.#wake()
  }

  /** Resolves once the condition holds; it is asked after every call of the transport. */
  until(reached: (probe: this) => boolean): Promise<void> {
    if (reached(this)) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting.push({ reached: () => reached(this), resolve })
    })
  }

  untilFrames(count: number): Promise<void> {
    return this.until(() => this.frames.length >= count)
  }

  /** For where only a transport that is wrong delivers so many. */
  untilFramesOrEnd(count: number): Promise<void> {
    return this.until(() => this.frames.length >= count || this.end !== undefined)
  }

  /** Resolves with what `closed` was told. */
  async untilClosed(): Promise<UnderstudyError | undefined> {
    await this.until(() => this.end !== undefined)
    return this.end?.error
  }

  /** Sends all frames, waiting for `drained` where the channel asks for it. */
  async sendAll(frames: Iterable<Uint8Array>): Promise<void> {
    for (const frame of frames) {
      const seen = this.drainedCount
      if (!this.channel.send([frame]))
        await this.until(() => this.drainedCount > seen || this.end !== undefined)
    }
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const each of waiting) {
      if (each.reached()) each.resolve()
      else this.#waiting.push(each)
    }
  }
}
