/** What the tests of the transport suite share: pairs of channels, and the checks at the end of each test. */
import { expect } from 'vitest'
import { UnderstudyError, type Channel, type Listener, type ListenOptions } from '@understudy/contracts'
import { ChannelProbe, type ProbeHooks } from './channel-probe.ts'
import { openRelay, type Relay, type RelayOptions } from './relay.ts'
import type { RawAccess, RawPeer, TransportUnderTest } from './transport.ts'

/** Bytes of the pieces that fill a channel. */
export const PIECE_BYTES = 65_536
/** 256 MiB: no transport may hold this much for a receiver that takes nothing. */
const PIECES_MAX = 4096

export interface PairOptions {
  readonly client?: ProbeHooks
  readonly server?: ProbeHooks
  /** For both sides. Default 1 MiB. */
  readonly frameBytesMax?: number
  /** Called before the server side is started. */
  readonly accepted?: (channel: Channel) => void
}

export interface Pair {
  readonly client: ChannelProbe
  readonly server: ChannelProbe
  readonly listener: Listener
}

export class TransportBench {
  #under: TransportUnderTest | undefined
  readonly #probes: ChannelProbe[] = []
  readonly #listeners: Listener[] = []
  readonly #relays: Relay[] = []

  open(under: TransportUnderTest): void {
    this.#under = under
  }

  get under(): TransportUnderTest {
    if (this.#under === undefined) throw new UnderstudyError('INVALID_ARGUMENT', 'The suite was not opened.')
    return this.#under
  }

  /** Closes everything, and checks the rules that hold for every channel. */
  async close(): Promise<void> {
    for (const listener of this.#listeners.splice(0)) await listener.close()
    for (const relay of this.#relays.splice(0)) await relay.close()
    for (const probe of this.#probes) {
      probe.channel.close()
      await probe.untilClosed()
    }
    // What would come after the end has its turns to come.
    await turns(3)
    await this.under.dispose?.()
    this.#under = undefined
    for (const probe of this.#probes.splice(0)) expect(probe.breaches).toEqual([])
  }

  probe(channel: Channel, hooks?: ProbeHooks): ChannelProbe {
    const probe = new ChannelProbe(channel, hooks)
    this.#probes.push(probe)
    channel.start(probe)
    return probe
  }

  async listen(
    accept: (channel: Channel) => void,
    { address = this.under.listenAddress, ...options }: ListenOptions & { readonly address?: string } = {},
  ): Promise<Listener> {
    const listener = await this.under.transport.listen(address, accept, options)
    this.#listeners.push(listener)
    return listener
  }

  async pair(options: PairOptions = {}): Promise<Pair> {
    const frameBytesMax = options.frameBytesMax ?? 1024 * 1024
    const accepted = Promise.withResolvers<ChannelProbe>()
    const listener = await this.listen(
      (channel) => {
        options.accepted?.(channel)
        accepted.resolve(this.probe(channel, options.server))
      },
      { frameBytesMax },
    )
    const channel = await this.under.transport.connect(listener.address, { frameBytesMax })
    const client = this.probe(channel, options.client)
    return { client, server: await accepted.promise, listener }
  }

  /** A peer whose bytes are the test's, and the channel that was accepted for it. */
  async rawPair(
    raw: RawAccess,
    frameBytesMax: number,
  ): Promise<{ readonly peer: RawPeer; readonly server: ChannelProbe }> {
    const accepted = Promise.withResolvers<ChannelProbe>()
    const listener = await this.listen((channel) => accepted.resolve(this.probe(channel)), { frameBytesMax })
    const peer = await raw.connect(listener.address)
    return { peer, server: await accepted.promise }
  }

  /** Something between a dialler and the listener at `address`. */
  async relay(address: string, options: RelayOptions): Promise<Relay> {
    const relay = await openRelay(address, options)
    this.#relays.push(relay)
    return relay
  }

  /** Waits, over turns of the event loop, for what no one channel tells; not beyond the end of the test. */
  async until(reached: () => boolean): Promise<void> {
    const under = this.#under
    while (!reached() && this.#under === under) await turns(1)
  }

  /** A round trip over a channel of its own, by which time anything sent before on another one had its chance to come. */
  async roundTrips(count: number): Promise<void> {
    const { client, server } = await this.pair({
      server: { frame: (bytes, probe) => void probe.channel.send([bytes]) },
    })
    for (let trip = 1; trip <= count; trip++) {
      client.channel.send([Uint8Array.of(trip)])
      await client.untilFrames(trip)
    }
    client.channel.close()
    await server.untilClosed()
  }
}

/** Lets the event loop go round. */
export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
  }
}

/** A frame that tells which one it is, filled so that a lost or doubled byte shows. */
export function numberedFrame(number: number, length: number): Uint8Array {
  const frame = new Uint8Array(length)
  for (let at = 0; at < length; at++) frame[at] = number * 31 + at * 7 + (at >>> 8)
  return frame
}

/** Compares without the cost of a deep comparison of large arrays. */
export function expectFrames(actual: readonly Uint8Array[], expected: readonly Uint8Array[]): void {
  const isAlike =
    actual.length === expected.length &&
    expected.every((frame, index) => frame.byteLength === actual[index]?.byteLength)
  if (!isAlike)
    expect(actual.map((frame) => frame.byteLength)).toEqual(expected.map((frame) => frame.byteLength))
  for (const [index, frame] of expected.entries()) {
    if (Buffer.compare(actual[index] as Uint8Array, frame) !== 0) {
      throw new Error(
        `Frame ${index} of ${frame.byteLength} bytes arrived with other bytes than it was sent with.`,
      )
    }
  }
}

/** Sends numbered pieces until `send` says false, over turns of the event loop; returns how many. */
export async function fillUntilRefused(client: ChannelProbe): Promise<number> {
  for (let index = 0; index < PIECES_MAX; index++) {
    if (!client.channel.send([numberedFrame(index, PIECE_BYTES)])) return index + 1
    await turns(1)
  }
  throw new Error(
    `send never returned false, though ${PIECES_MAX * PIECE_BYTES} bytes wait for a receiver that takes none.`,
  )
}
