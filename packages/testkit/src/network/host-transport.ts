/** The transport of one host of a simulated network, for one life of it. */
import {
  UnderstudyError,
  type Channel,
  type ConnectOptions,
  type Listener,
  type ListenOptions,
  type Transport,
} from '@understudy/contracts'
import { formatAddress, parseAddress } from './address.ts'
import type { Host, HostListener } from './host.ts'
import type { SimulatedNetwork } from './network.ts'
import type { Endpoint } from './endpoint.ts'

export class HostTransport implements Transport {
  readonly schemes: readonly string[]
  readonly #network: SimulatedNetwork
  readonly #host: Host
  readonly #life: number
  readonly #anyName: boolean

  /** `anyName`: may listen at every host, for a transport that is the whole network. */
  constructor(network: SimulatedNetwork, host: Host, options: { readonly anyName?: boolean } = {}) {
    this.schemes = [network.scheme]
    this.#network = network
    this.#host = host
    this.#life = host.life
    this.#anyName = options.anyName ?? false
  }

  async connect(address: string, options: ConnectOptions = {}): Promise<Channel> {
    const { signal, timeoutMs = 5000, frameBytesMax = 16 * 1024 * 1024 } = options
    const to = parseAddress(this.#network.scheme, address)
    const clock = this.#aliveClock()
    if (signal?.aborted === true) throw abortedError(address, signal)
    const connection = this.#network.dial(this.#host, to)
    return new Promise<Channel>((resolve, reject) => {
      const finish = (): void => {
        timer.cancel()
        signal?.removeEventListener('abort', abort)
      }
      const fail = (error: UnderstudyError): void => {
        finish()
        connection.giveUp()
        reject(error)
      }
      const abort = (): void => fail(abortedError(address, signal))
      const timer = clock.schedule(timeoutMs, () =>
        fail(new UnderstudyError('TIMEOUT', `${address} did not answer within ${timeoutMs} ms.`)),
      )
      signal?.addEventListener('abort', abort)
      connection.dial(frameBytesMax, {
        connected: (channel) => {
          finish()
          resolve(channel)
        },
        failed: (error) => {
          finish()
          reject(error)
        },
      })
    })
  }

  async listen(
    address: string,
    accept: (channel: Channel) => void,
    options: ListenOptions = {},
  ): Promise<Listener> {
    const { host: name, port: asked } = parseAddress(this.#network.scheme, address)
    const clock = this.#aliveClock()
    if (name !== this.#host.name && !this.#anyName) {
      throw new UnderstudyError(
        'ADDRESS_INVALID',
        `${address} is not an address of the node ${this.#host.name}.`,
      )
    }
    const host = this.#anyName ? this.#network.host(name) : this.#host
    if (!host.up) host.boot(clock)
    const port = asked === 0 ? host.freePort() : asked
    if (host.listeners.has(port)) throw new UnderstudyError('CONNECT_FAILED', `${address} is taken already.`)
    const door: HostListener = {
      frameBytesMax: options.frameBytesMax ?? 4096,
      channelsMax: options.channelsMax ?? 1024,
      // Within one process nothing tells one dialler from another.
      channelsPerAddressMax: this.#anyName ? Infinity : (options.channelsPerAddressMax ?? 256),
      channels: new Map<Endpoint, string>(),
      accept,
    }
    host.listeners.set(port, door)
    const close = async (): Promise<void> => {
      if (host.listeners.get(port) === door) host.listeners.delete(port)
      for (const channel of door.channels.keys()) channel.close()
    }
    return {
      address: formatAddress(this.#network.scheme, { host: name, port }),
      close,
      [Symbol.asyncDispose]: close,
    }
  }

  #aliveClock(): SimulatedNetwork['clock'] {
    const clock = this.#host.clock
    if (clock === undefined || this.#host.life !== this.#life) {
      throw new UnderstudyError(
        'CLOSED',
        `The node ${this.#host.name} crashed; its transport is of an earlier life.`,
      )
    }
    return clock
  }
}

function abortedError(address: string, signal: AbortSignal | undefined): UnderstudyError {
  return new UnderstudyError('ABORTED', `Connecting to ${address} was aborted.`, { cause: signal?.reason })
}
