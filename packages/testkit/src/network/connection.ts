/**
 * One connection of a simulated network, from its first sign to its end: two directions, and an endpoint at each host
 * once it is made.
 *
 * 1. Making one takes a round trip: a sign to the listener, which accepts or refuses, and its answer back. A cut in
 *    either direction leaves the dialler waiting; one in the way back leaves the listener with a channel that the
 *    dialler knows nothing of, until the dialler gives up and its reset arrives.
 * 2. Everything of a connection, the end included, travels in order.
 */
import { UnderstudyError } from '@understudy/contracts'
import type { TraceSink } from '../trace.ts'
import { formatAddress } from './address.ts'
import { Direction } from './direction.ts'
import { connectionLost, Endpoint, type Parcel } from './endpoint.ts'
import type { Host, HostListener } from './host.ts'
import type { SimulatedNetwork } from './network.ts'

type Signal =
  | Parcel
  | { readonly kind: 'dial' }
  | { readonly kind: 'accepted' }
  | { readonly kind: 'refused' }

export interface ConnectionOptions {
  readonly network: SimulatedNetwork
  readonly dialler: Host
  readonly listener: Host
  readonly port: number
  readonly ended: () => void
  readonly trace: TraceSink
}

/** What the dialler is told. */
export interface DialOutcome {
  readonly connected: (channel: Endpoint) => void
  readonly failed: (error: UnderstudyError) => void
}

export class Connection {
  readonly #options: ConnectionOptions
  readonly #there: Direction<Signal>
  readonly #back: Direction<Signal>
  #dialler: Endpoint | undefined
  #listener: Endpoint | undefined
  #dialling: { readonly outcome: DialOutcome; readonly frameBytesMax: number } | undefined
  /** The dialler gave up, or died while it was dialling. */
  #abandoned = false
  #openSides = 0

  constructor(options: ConnectionOptions) {
    this.#options = options
    const { dialler, listener } = options
    this.#there = this.#direction(dialler, listener, (signal) => this.#atListener(signal))
    this.#back = this.#direction(listener, dialler, (signal) => this.#atDialler(signal))
  }

  dial(frameBytesMax: number, outcome: DialOutcome): void {
    this.#dialling = { outcome, frameBytesMax }
    this.#there.send({ kind: 'dial' })
  }

  /** The dialler waits no longer. */
  giveUp(): void {
    if (this.#dialling === undefined) return
    this.#dialling = undefined
    this.#abandoned = true
    this.#there.send({ kind: 'reset' })
  }

  joins(a: string, b: string): boolean {
    const names = [this.#there.from, this.#there.to]
    return names.includes(a) && names.includes(b) && (a !== b || names[0] === names[1])
  }

  /** What waits on this link goes on its way again. */
  again(from: string, to: string): void {
    for (const direction of [this.#there, this.#back]) {
      if (direction.from === from && direction.to === to) direction.again()
    }
  }

  againTo(host: string): void {
    for (const direction of [this.#there, this.#back]) if (direction.to === host) direction.again()
  }

  reset(): void {
    const lost = connectionLost('was reset')
    const dialling = this.#dialling
    this.#dialling = undefined
    this.#dialler?.reset(lost)
    this.#listener?.reset(lost)
    dialling?.outcome.failed(
      new UnderstudyError('CONNECT_FAILED', 'The connection was reset while it was being made.', {
        cause: lost,
      }),
    )
    this.#drop()
  }

  hostDied(name: string, options: { readonly tell: boolean }): void {
    if (this.#there.from === name) {
      this.#dialler?.die(options)
      if (this.#dialling !== undefined) this.#abandoned = true
      if (this.#dialling !== undefined && options.tell) this.#there.send({ kind: 'reset' })
      this.#dialling = undefined
    }
    if (this.#there.to === name) this.#listener?.die(options)
  }

  #atListener(signal: Signal): void {
    if (signal.kind === 'dial') {
      this.#accept()
      return
    }
    if (this.#listener !== undefined && isParcel(signal)) this.#hand(this.#listener, signal)
    // The listener's side may have ended before the dialler gave up: then nobody else notices that it is over.
    if (signal.kind === 'reset') this.#dropWhenOver()
  }

  #atDialler(signal: Signal): void {
    if (isParcel(signal)) {
      if (this.#dialler !== undefined) this.#hand(this.#dialler, signal)
      else if (this.#abandoned && signal.kind === 'frame') this.#there.send({ kind: 'reset' })
      return
    }
    const dialling = this.#dialling
    this.#dialling = undefined
    if (signal.kind === 'refused') {
      this.#drop()
      const address = this.#addressOf(this.#there.to, this.#options.port)
      dialling?.outcome.failed(new UnderstudyError('CONNECT_FAILED', `Nobody listens at ${address}.`))
      return
    }
    if (dialling === undefined) {
      // Accepted for someone who is gone: as to any sign of an unknown connection, the answer is a reset.
      this.#there.send({ kind: 'reset' })
      return
    }
    const { dialler, listener } = this.#options
    const side = this.#side(
      dialler,
      dialling.frameBytesMax,
      this.#addressOf(listener.name, this.#options.port),
      this.#there,
    )
    this.#dialler = side
    dialling.outcome.connected(side)
  }

  #accept(): void {
    const { dialler, listener, port } = this.#options
    const door = listener.listeners.get(port)
    if (door === undefined) {
      this.#back.send({ kind: 'refused' })
      return
    }
    this.#back.send({ kind: 'accepted' })
    const side = this.#side(listener, door.frameBytesMax, this.#addressOf(dialler.name, 1), this.#back, door)
    this.#listener = side
    this.#options.trace(`accept ${dialler.name}>${listener.name}`)
    if (isFull(door, dialler.name)) {
      side.reset(undefined)
      return
    }
    door.channels.set(side, dialler.name)
    door.accept(side)
  }

  #side(
    host: Host,
    frameBytesMax: number,
    remote: string,
    wire: Direction<Signal>,
    door?: HostListener,
  ): Endpoint {
    const { network } = this.#options
    const clock = host.clock ?? network.clock
    const endpoint = new Endpoint({
      remote,
      clock,
      frameBytesMax,
      windowBytes: network.windowBytes,
      highMarkBytes: network.highMarkBytes,
      ended: () => {
        door?.channels.delete(endpoint)
        this.#openSides -= 1
        this.#dropWhenOver()
      },
    })
    endpoint.attach((parcel) => wire.send(parcel))
    this.#openSides += 1
    return endpoint
  }

  #hand(side: Endpoint, parcel: Parcel): void {
    if (parcel.kind === 'frame') this.#options.trace(`frame from ${side.remote} ${parcel.bytes.byteLength}`)
    else if (parcel.kind !== 'taken') this.#options.trace(`${parcel.kind} from ${side.remote}`)
    side.take(parcel)
  }

  /** Over when no side has it any more and nothing can answer. */
  #dropWhenOver(): void {
    if (this.#openSides === 0 && (this.#abandoned || this.#dialler !== undefined)) this.#drop()
  }

  #drop(): void {
    this.#there.drop()
    this.#back.drop()
    this.#options.ended()
  }

  #direction(from: Host, to: Host, receive: (signal: Signal) => void): Direction<Signal> {
    const { network } = this.#options
    return new Direction<Signal>({
      from: from.name,
      to: to.name,
      now: () => network.clock.monotonic(),
      arrivalClock: () => to.clock ?? network.clock,
      latencyMs: () => network.latencyMs(from.name, to.name),
      // A machine that is off is as silent as a cut: its peers' systems go on trying.
      cut: () => to.state === 'silent' || network.isCut(from.name, to.name),
      receive,
    })
  }

  #addressOf(host: string, port: number): string {
    return formatAddress(this.#options.network.scheme, { host, port })
  }
}

function isParcel(signal: Signal): signal is Parcel {
  return signal.kind !== 'dial' && signal.kind !== 'accepted' && signal.kind !== 'refused'
}

function isFull(door: HostListener, from: string): boolean {
  if (door.channels.size >= door.channelsMax) return true
  let same = 0
  for (const name of door.channels.values()) if (name === from) same += 1
  return same >= door.channelsPerAddressMax
}
