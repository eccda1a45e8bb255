/** Ways in which a transport can break its contract, and the test of the suite that must notice each. */
import type { Alterations } from './altered-transport.ts'
import type { StreamFaults } from './stream-transport.ts'

export interface Breach {
  readonly name: string
  /** Part of the test's name. */
  readonly caughtBy: string
  /** Of the transport in memory. */
  readonly alterations?: Alterations
  /** Of a transport over sockets. */
  readonly faults?: StreamFaults
}

const DROPS_LAST: Alterations = {
  send: (channel) => {
    let held: readonly Uint8Array[] | undefined
    return (parts) => {
      const before = held
      held = parts
      return before === undefined || channel.send(before)
    }
  },
}

export const BREACHES: readonly Breach[] = [
  {
    name: 'swaps two frames',
    caughtBy: 'frames of every size arrive in order',
    alterations: {
      handler: (handler) => {
        let held: Uint8Array | undefined
        const frame = (bytes: Uint8Array): void => {
          const first = held
          held = first === undefined ? bytes : undefined
          if (first === undefined) return
          handler.frame(bytes)
          handler.frame(first)
        }
        return { frame }
      },
    },
  },
  {
    name: 'splits long frames',
    caughtBy: 'frames of every size arrive in order',
    alterations: {
      send: (channel) => (parts) => {
        const frame = Buffer.concat(parts)
        if (frame.byteLength < 65_536) return channel.send([frame])
        channel.send([frame.subarray(0, 65_536)])
        return channel.send([frame.subarray(65_536)])
      },
    },
  },
  {
    name: 'writes into frames that it handed out',
    caughtBy: 'frames belong to the handler',
    alterations: {
      handler: (handler) => {
        const memory = new Uint8Array(10_000)
        const frame = (bytes: Uint8Array): void => {
          memory.set(bytes)
          handler.frame(memory.subarray(0, bytes.byteLength))
        }
        return { frame }
      },
    },
  },
  {
    name: 'exchanges one of many messages',
    caughtBy: '100,000 small messages',
    alterations: {
      handler: (handler) => {
        let count = 0
        let last = new Uint8Array(0)
        const frame = (bytes: Uint8Array): void => {
          count += 1
          handler.frame(count === 70_001 ? last : bytes)
          last = new Uint8Array(bytes)
        }
        return { frame }
      },
    },
  },
  {
    name: 'drops the last frame when it closes',
    caughtBy: 'close delivers what was sent before',
    alterations: DROPS_LAST,
  },
  {
    name: 'says closed twice',
    caughtBy: 'both sides may close at once',
    alterations: {
      handler: (handler) => ({
        closed: (error) => {
          handler.closed(error)
          setImmediate(() => handler.closed(error))
        },
      }),
    },
  },
  {
    name: 'delivers after closed',
    caughtBy: 'both sides may close at once',
    alterations: {
      handler: (handler) => ({
        closed: (error) => {
          handler.closed(error)
          setImmediate(() => handler.frame(new Uint8Array(1)))
        },
      }),
    },
  },
  {
    name: 'forgets the error that it was closed with',
    caughtBy: 'the error given to close is what closed tells',
    alterations: { handler: (handler) => ({ closed: () => handler.closed(undefined) }) },
  },
  {
    name: 'delivers while it is paused',
    caughtBy: 'nothing is delivered between pause and resume',
    alterations: { pause: () => undefined },
  },
  {
    name: 'says drained twice',
    caughtBy: 'drained comes once for each time',
    alterations: {
      handler: (handler) => ({
        drained: () => {
          handler.drained()
          handler.drained()
        },
      }),
    },
  },
  {
    name: 'closes an open channel when the signal of its connecting aborts',
    caughtBy: 'a signal that aborts after the connection was made',
    alterations: {
      connected: (channel, { signal }) => signal?.addEventListener('abort', () => channel.close()),
    },
  },
  {
    name: 'accepts any number of channels',
    caughtBy: 'one channel more than channelsMax',
    alterations: { listenOptions: ({ channelsMax: _ignored, ...options }) => options },
  },
  {
    name: 'goes on when its listener was closed',
    caughtBy: 'a closed listener accepts nobody and closes what it accepted',
    alterations: { listener: (listener) => ({ ...listener, close: async () => undefined }) },
  },
  {
    name: 'accepts frames of any length',
    caughtBy: 'a frame over the limit closes the channel',
    alterations: { listenOptions: (options) => ({ ...options, frameBytesMax: 2 ** 30 }) },
  },
  {
    name: 'keeps the first limit of frames',
    caughtBy: 'a limit raised from outside',
    alterations: { limit: () => undefined },
  },
  {
    name: 'closes a channel when the signal aborts that made it',
    caughtBy: 'a signal that aborts at any stage',
    alterations: {
      connected: (channel, { signal }) => {
        if (signal?.aborted === true) channel.close()
        else signal?.addEventListener('abort', () => channel.close())
      },
    },
  },
  {
    name: 'drops the last frame before its end',
    caughtBy: 'close in the midst of traffic both ways',
    alterations: DROPS_LAST,
  },
  {
    name: 'drops the only frame',
    caughtBy: 'channels that are opened and closed one after another',
    alterations: DROPS_LAST,
  },
  {
    name: 'allows a byte less than it says',
    caughtBy: 'one message of 16 MiB arrives both ways',
    alterations: {
      listenOptions: (options) => ({ ...options, frameBytesMax: (options.frameBytesMax ?? 4096) - 1 }),
    },
  },
  {
    name: 'gives a channel the frame of another',
    caughtBy: '200 channels at once',
    alterations: mixedFrames(),
  },
  {
    name: 'loses a frame under load',
    caughtBy: 'a listener closed under load',
    alterations: {
      handler: (handler) => {
        let count = 0
        const frame = (bytes: Uint8Array): void => {
          count += 1
          if (count !== 15) handler.frame(bytes)
        }
        return { frame }
      },
    },
  },
  {
    name: 'forgets a part of a length when a piece ends',
    caughtBy: 'small frames split in two at every byte',
    faults: { forgetsPartOfLength: true },
  },
  {
    name: 'delivers a frame when its first piece is there',
    caughtBy: 'large frames split at every byte of their heads',
    faults: { deliversPieces: true },
  },
  {
    name: 'takes the memory that a length announces',
    caughtBy: '32 announced frames of 16 MiB',
    faults: { believesLengths: true },
  },
  {
    name: 'calls a stream that ends within a frame an orderly end',
    caughtBy: 'a stream that ends within a frame',
    faults: { endsQuietly: true },
  },
  {
    name: 'forgets a part of a length, when dialling too',
    caughtBy: 'bytes that come one at a time',
    faults: { forgetsPartOfLength: true },
  },
  {
    name: 'calls any reset an orderly end',
    caughtBy: 'a connection that is reset at any byte back',
    faults: { resetsQuietly: true },
  },
  {
    name: 'calls a reset an orderly end',
    caughtBy: 'a reset within a frame',
    faults: { resetsQuietly: true },
  },
  {
    name: 'forgets a part of a length after each byte',
    caughtBy: 'frames that come byte by byte',
    faults: { forgetsPartOfLength: true },
  },
  {
    name: 'takes memory before it looks at the limit',
    caughtBy: 'an announced length of 1000000000 bytes',
    faults: { takesMemoryFirst: true },
  },
  {
    name: 'stays open when the peer ended its side',
    caughtBy: 'a peer that ends its side is the end',
    faults: { staysHalfOpen: true },
  },
  {
    name: 'ends before what waits was delivered',
    caughtBy: 'a peer that ends its side while we are paused',
    faults: { forgetsWhatWaits: true },
  },
  {
    name: 'takes any number from one address',
    caughtBy: 'one channel more from an address',
    faults: { admitsAll: true },
  },
]

/** One value for all channels, as the memory that a transport shares among them may be. */
function mixedFrames(): Alterations {
  let count = 0
  let last = new Uint8Array(0)
  return {
    handler: (handler) => ({
      frame: (bytes) => {
        count += 1
        handler.frame(count % 1001 === 0 ? last : bytes)
        last = new Uint8Array(bytes)
      },
    }),
  }
}
