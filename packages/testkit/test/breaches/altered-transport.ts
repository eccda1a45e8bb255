/** A transport that is sound but for one thing. */
import type {
  Channel,
  ChannelHandler,
  ConnectOptions,
  Listener,
  ListenOptions,
  Transport,
} from '@understudy/contracts'

/** What is done instead. */
export interface Alterations {
  readonly handler?: (handler: ChannelHandler, channel: Channel) => Partial<ChannelHandler>
  readonly send?: (channel: Channel) => (parts: readonly Uint8Array[]) => boolean
  readonly pause?: (channel: Channel) => void
  readonly limit?: (channel: Channel, bytes: number) => void
  readonly listenOptions?: (options: ListenOptions) => ListenOptions
  readonly listener?: (listener: Listener) => Listener
  readonly connected?: (channel: Channel, options: ConnectOptions) => void
}

export function alteredTransport(sound: Transport, alterations: Alterations): Transport {
  const altered = (channel: Channel): Channel => new AlteredChannel(channel, alterations)
  return {
    schemes: sound.schemes,
    async connect(address, options = {}) {
      const channel = await sound.connect(address, options)
      alterations.connected?.(channel, options)
      return altered(channel)
    },
    async listen(address, accept, options = {}) {
      const listener = await sound.listen(
        address,
        (channel) => accept(altered(channel)),
        alterations.listenOptions?.(options) ?? options,
      )
      return alterations.listener?.(listener) ?? listener
    },
  }
}

class AlteredChannel implements Channel {
  readonly #channel: Channel
  readonly #alterations: Alterations
  readonly #send: (parts: readonly Uint8Array[]) => boolean

  constructor(channel: Channel, alterations: Alterations) {
    this.#channel = channel
    this.#alterations = alterations
    this.#send = alterations.send?.(channel) ?? ((parts) => channel.send(parts))
  }

  get remote(): string {
    return this.#channel.remote
  }

  get bufferedBytes(): number {
    return this.#channel.bufferedBytes
  }

  get frameBytesMax(): number {
    return this.#channel.frameBytesMax
  }

  set frameBytesMax(bytes: number) {
    if (this.#alterations.limit === undefined) this.#channel.frameBytesMax = bytes
    else this.#alterations.limit(this.#channel, bytes)
  }

  start(handler: ChannelHandler): void {
    const sound: ChannelHandler = {
      frame: (bytes) => handler.frame(bytes),
      drained: () => handler.drained(),
      closed: (error) => handler.closed(error),
    }
    this.#channel.start({ ...sound, ...this.#alterations.handler?.(handler, this.#channel) })
  }

  send(parts: readonly Uint8Array[]): boolean {
    return this.#send(parts)
  }

  pause(): void {
    if (this.#alterations.pause === undefined) this.#channel.pause()
    else this.#alterations.pause(this.#channel)
  }

  resume(): void {
    this.#channel.resume()
  }

  close(error?: Parameters<Channel['close']>[0]): void {
    this.#channel.close(error)
  }
}
