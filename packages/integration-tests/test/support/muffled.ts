/** The transport of one node, on which frames get lost in one direction or both, and no end is told. */
import type { Channel, ChannelHandler, Transport } from '@understudy/contracts'
import { FailoverNodes, type FailoverNodesOptions } from './failover-nodes.ts'

export class MuffledTransport implements Transport {
  readonly #inner: Transport
  /** Nothing that the node sends arrives. */
  isMute = false
  /** Nothing arrives that is sent to the node. */
  isDeaf = false

  constructor(inner: Transport) {
    this.#inner = inner
  }

  get schemes(): readonly string[] {
    return this.#inner.schemes
  }

  async connect(...[address, options]: Parameters<Transport['connect']>): Promise<Channel> {
    return this.#muffled(await this.#inner.connect(address, options))
  }

  listen(...[address, accept, options]: Parameters<Transport['listen']>): ReturnType<Transport['listen']> {
    return this.#inner.listen(address, (channel) => accept(this.#muffled(channel)), options)
  }

  #muffled(channel: Channel): Channel {
    return new Proxy(channel, {
      get: (target, name) => {
        if (name === 'send')
          return (parts: readonly Uint8Array[]) => (this.isMute ? true : target.send(parts))
        if (name === 'start') return (handler: ChannelHandler) => target.start(this.#heard(handler))
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
      set: (target, name, value) => Reflect.set(target, name, value, target),
    })
  }

  #heard(handler: ChannelHandler): ChannelHandler {
    return {
      frame: (bytes) => {
        if (!this.isDeaf) handler.frame(bytes)
      },
      drained: () => handler.drained(),
      closed: (error) => handler.closed(error),
    }
  }
}

/** A busy machine does not take the lease of a leader whose followers cannot answer for it. */
const LEASE_MS = 4000

/** A cluster in which each node has such a transport of its own. */
export class MuffledCluster {
  readonly cluster: FailoverNodes
  readonly #transports = new Map<string, MuffledTransport>()

  constructor(options: FailoverNodesOptions = {}) {
    this.cluster = new FailoverNodes({
      ...options,
      failover: { leaseMs: LEASE_MS, ...options.failover },
      each: (name) => ({ transport: this.of(name), ...options.each?.(name) }),
    })
  }

  of(name: string): MuffledTransport {
    const found = this.#transports.get(name) ?? new MuffledTransport(this.cluster.transport)
    this.#transports.set(name, found)
    return found
  }
}
