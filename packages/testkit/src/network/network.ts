/**
 * A simulated network: hosts with a transport each, whose connections are slow, cut, reset or dead as a test says.
 *
 * Decides: who can reach whom, how long it takes, how connections begin.
 * Leaves to others: order within a direction (direction.ts), the life of a channel (endpoint.ts).
 *
 * 1. Channels are streams, as over TCP: a cut loses nothing by itself, it delays until it is healed; what is lost is
 *    lost with its channel. Both sides must find out by their own deadlines.
 * 2. Bandwidth has no limit; every batch draws its latency alone.
 * 3. Give `transport` the node's clock view: then a paused node takes nothing, and a stopped one calls nobody.
 * 4. One seed, one sequence of calls: one order of everything.
 */
import { UnderstudyError, type Clock, type Transport } from '@understudy/contracts'
import { drawSpan, type SeededRandom, type Span } from '../random.ts'
import type { TraceSink } from '../trace.ts'
import { Host } from './host.ts'
import { Connection } from './connection.ts'
import { HostTransport } from './host-transport.ts'

export interface SimulatedNetworkOptions {
  readonly clock: Clock
  readonly random: SeededRandom
  /** Milliseconds that a batch travels in one direction, drawn for each. Default 0.2 to 2. */
  readonly latencyMs?: Span
  /** Bytes on their way or undelivered in one direction of a channel before the sender has to wait. Default 256 KiB. */
  readonly windowBytes?: number
  /** `send` returns false while more than this waits at the sender. Default 1 MiB; the low mark is half of it. */
  readonly highMarkBytes?: number
  /** Scheme of the addresses. Default `sim`. */
  readonly scheme?: string
  readonly trace?: TraceSink
}

export interface CrashOptions {
  /**
   * `process`: the operating system lives and resets the connections. `machine`: the peers hear nothing; after a new
   * `transport` of that name they are reset when they send. Default `process`.
   */
  readonly of?: 'process' | 'machine'
}

export class SimulatedNetwork {
  readonly scheme: string
  readonly windowBytes: number
  readonly highMarkBytes: number
  readonly clock: Clock
  readonly #options: SimulatedNetworkOptions
  readonly #hosts = new Map<string, Host>()
  readonly #connections = new Set<Connection>()
  readonly #cuts = new Set<string>()
  readonly #latencies = new Map<string, Span>()

  constructor(options: SimulatedNetworkOptions) {
    this.#options = options
    this.clock = options.clock
    this.scheme = options.scheme ?? 'sim'
    this.windowBytes = options.windowBytes ?? 256 * 1024
    this.highMarkBytes = options.highMarkBytes ?? 1024 * 1024
  }

  /**
   * The transport of the node `name`, which listens at `sim://name` and `sim://name:port`. After `crash(name)` the next
   * call makes the transport of its next life.
   */
  transport(name: string, options: { readonly clock?: Clock } = {}): Transport {
    const host = this.host(name)
    if (!host.up) {
      host.boot(options.clock ?? this.clock)
      this.#trace(`boot ${name}`)
      for (const connection of this.#connections) connection.againTo(name)
    }
    return new HostTransport(this, host)
  }

  /** Nothing gets from `from` to `to` any more; the other direction stays. */
  cut(from: string, to: string): void {
    this.#cuts.add(linkOf(from, to))
    this.#trace(`cut ${from}>${to}`)
  }

  heal(from: string, to: string): void {
    if (!this.#cuts.delete(linkOf(from, to))) return
    this.#trace(`heal ${from}>${to}`)
    for (const connection of this.#connections) connection.again(from, to)
  }

  /** Cuts both directions between every node of one group and every node of the other. */
  partition(groupA: readonly string[], groupB: readonly string[]): void {
    for (const a of groupA) {
      for (const b of groupB) {
        this.cut(a, b)
        this.cut(b, a)
      }
    }
  }

  /** Heals every cut. */
  healAll(): void {
    for (const link of this.#cuts) {
      const [from, to] = link.split('>') as [string, string]
      this.heal(from, to)
    }
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.has(linkOf(from, to))
  }

  /** Latency of one direction, from the next batch on. */
  setLatency(from: string, to: string, latencyMs: Span): void {
    this.#latencies.set(linkOf(from, to), latencyMs)
  }

  /** Breaks every connection between the two: both sides get `CONNECTION_LOST` at once, what was on its way is lost. */
  reset(a: string, b: string): void {
    this.#trace(`reset ${a} ${b}`)
    for (const connection of this.#connections) if (connection.joins(a, b)) connection.reset()
  }

  /** The node dies: its handlers are not called any more, its listeners are gone. */
  crash(name: string, options: CrashOptions = {}): void {
    const of = options.of ?? 'process'
    this.#trace(`crash ${name} ${of}`)
    const host = this.host(name)
    for (const connection of this.#connections) connection.hostDied(name, { tell: of === 'process' })
    host.crash(of)
  }

  /** Connections that at least one side still has. */
  get connectionCount(): number {
    return this.#connections.size
  }

  /** Used by the transports of this network. */
  host(name: string): Host {
    const known = this.#hosts.get(name)
    if (known !== undefined) return known
    const host = new Host(name)
    this.#hosts.set(name, host)
    return host
  }

  /** Used by the transports of this network: a connection from `from`, which has not said anything yet. */
  dial(from: Host, to: { readonly host: string; readonly port: number }): Connection {
    const connection = new Connection({
      network: this,
      dialler: from,
      listener: this.host(to.host),
      port: to.port,
      ended: () => this.#connections.delete(connection),
      trace: (line) => this.#trace(line),
    })
    this.#connections.add(connection)
    return connection
  }

  /** Used by connections: milliseconds for the next batch. */
  latencyMs(from: string, to: string): number {
    return drawSpan(
      this.#options.random,
      this.#latencies.get(linkOf(from, to)) ?? this.#options.latencyMs ?? { min: 0.2, max: 2 },
    )
  }

  #trace(line: string): void {
    this.#options.trace?.(`net ${line}`)
  }
}

function linkOf(from: string, to: string): string {
  if (from.includes('>') || to.includes('>'))
    throw new UnderstudyError('INVALID_ARGUMENT', 'A node name must not contain ">".')
  return `${from}>${to}`
}
