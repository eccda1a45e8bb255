/** A transport whose listening side says something else than the node behind it. */
import type { Channel, Transport } from '@understudy/contracts'
import { decodeMessage, encodeMessage, type Message } from '@understudy/protocol'

/** Sees each message that the node sends; returns what goes in its place. */
export type Lie = (message: Message) => Message

export function lyingTransport(transport: Transport, lie: Lie): Transport {
  return {
    schemes: transport.schemes,
    connect: (address, options) => transport.connect(address, options),
    listen: (address, accept, options) =>
      transport.listen(address, (channel) => accept(lying(channel, lie)), options),
  }
}

function lying(channel: Channel, lie: Lie): Channel {
  return new Proxy(channel, {
    get(target, name) {
      if (name === 'send')
        return (parts: readonly Uint8Array[]) =>
          target.send(encodeMessage(lie(decodeMessage(Buffer.concat(parts)))))
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
    set: (target, name, value) => Reflect.set(target, name, value, target),
  })
}
