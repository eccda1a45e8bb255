/**
 * The same faults without rights: a proxy over TCP for each ordered pair of places, in the process of the test.
 *
 * 1. A cut direction holds what is sent, as a network that loses packets does until it is healed; nobody is told of an end either. A connection can still be
 *    begun, unlike over a real cut, but nothing is heard on it.
 * 2. Both directions of a pair count whoever dialled: what `a` sends to `b` goes there on connections that `a` made, and back on those of `b`.
 * 3. Only who is told the addresses of the proxies goes through them. Packets cannot be lost.
 */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { pairsOf, type FaultNetwork } from './network.ts'

/** One direction of one connection. */
interface Flow {
  readonly source: Socket
  readonly target: Socket
  /** The source ended while nothing got through. */
  ended: boolean
}

class Direction {
  delayMs = 0
  readonly flows = new Set<Flow>()
  #cut = false

  get isCut(): boolean {
    return this.#cut
  }

  cut(): void {
    this.#cut = true
    for (const { source } of this.flows) source.pause()
  }

  heal(): void {
    this.#cut = false
    for (const flow of this.flows) {
      if (flow.ended) finish(this, flow)
      else if (!flow.target.writableNeedDrain) flow.source.resume()
    }
  }

  join(source: Socket, target: Socket): void {
    const flow: Flow = { source, target, ended: false }
    this.flows.add(flow)
    source.on('error', () => {})
    source.on('data', (chunk: Buffer) => {
      const { delayMs } = this
      if (delayMs === 0) this.#pass(flow, chunk)
      else setTimeout(() => this.#pass(flow, chunk), delayMs)
    })
    target.on('drain', () => {
      if (!this.#cut) source.resume()
    })
    source.once('close', () => {
      flow.ended = true
      if (!this.#cut) setTimeout(() => finish(this, flow), this.delayMs)
    })
    if (this.#cut) source.pause()
  }

  #pass(flow: Flow, chunk: Buffer): void {
    if (!flow.target.destroyed && !flow.target.write(chunk)) flow.source.pause()
  }
}

function finish(direction: Direction, flow: Flow): void {
  if (direction.isCut) return
  direction.flows.delete(flow)
  flow.target.end(() => flow.target.destroy())
}

async function listening(server: Server): Promise<Server> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}

export class Proxies implements FaultNetwork {
  readonly kind = 'proxies'
  readonly can = { delay: true, lose: false }
  readonly places: readonly string[]
  readonly #directions = new Map<string, Direction>()
  readonly #servers = new Map<string, Server>()
  readonly #targets = new Map<string, string>()
  readonly #sockets = new Set<Socket>()
  /** Where nodes listen: a port that was free, the same in each life of a node. */
  readonly #ports = new Map<string, number>()

  private constructor(places: readonly string[]) {
    this.places = places
  }

  static async open(places: readonly string[]): Promise<Proxies> {
    const network = new Proxies(places)
    for (const [from, to] of pairsOf(places)) network.#directions.set(`${from} ${to}`, new Direction())
    for (const [from, to] of pairsOf(places)) await network.#serve(from, to)
    const free = await Promise.all(places.map(() => listening(createServer())))
    for (const [index, server] of free.entries()) {
      network.#ports.set(places[index] ?? '', portOf(server))
      server.close()
      await once(server, 'close')
    }
    return network
  }

  async #serve(from: string, to: string): Promise<void> {
    const server = createServer((near) => {
      const target = this.#targets.get(to)
      if (target === undefined) {
        near.destroy()
        return
      }
      const { hostname, port } = new URL(target)
      const far = connect(Number(port), hostname)
      for (const socket of [near, far]) {
        this.#sockets.add(socket)
        socket.setNoDelay(true).once('close', () => this.#sockets.delete(socket))
      }
      this.#direction(from, to).join(near, far)
      this.#direction(to, from).join(far, near)
    })
    await listening(server)
    this.#servers.set(`${from} ${to}`, server)
  }

  #direction(from: string, to: string): Direction {
    const direction = this.#directions.get(`${from} ${to}`)
    if (direction === undefined) throw new Error(`nothing goes from ${from} to ${to}`)
    return direction
  }

  listenAddress(place: string): string {
    return `tcp://127.0.0.1:${this.#ports.get(place) ?? 0}`
  }

  listens(place: string, address: string): void {
    this.#targets.set(place, address)
  }

  address(from: string, to: string): string {
    const server = this.#servers.get(`${from} ${to}`)
    if (server === undefined) throw new Error(`nothing goes from ${from} to ${to}`)
    return `tcp://127.0.0.1:${portOf(server)}`
  }

  async control(place: string): Promise<string> {
    const address = this.#targets.get(place)
    if (address === undefined) throw new Error(`${place} does not listen yet`)
    return address
  }

  command(
    _place: string,
    [file = '', ...args]: readonly string[],
  ): { file: string; args: readonly string[] } {
    return { file, args }
  }

  cut(from: string, to: string): void {
    this.#direction(from, to).cut()
  }

  heal(from: string, to: string): void {
    this.#direction(from, to).heal()
  }

  delay(from: string, delayMs: number): void {
    for (const to of this.places) if (to !== from) this.#direction(from, to).delayMs = delayMs
  }

  lose(): void {
    throw new Error('a proxy over TCP cannot lose packets')
  }

  healAll(): void {
    for (const direction of this.#directions.values()) {
      direction.delayMs = 0
      direction.heal()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    for (const server of this.#servers.values()) {
      const closed = once(server, 'close')
      server.close()
      await closed
    }
  }
}
