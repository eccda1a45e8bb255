/** Stands between a coordinator and a member, and does what a network does on a bad day. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/**
 * `refused`: nobody listens. `silent`: nothing gets through. `unanswered`: what comes back is dropped. `late`: what comes back is
 * kept until it is over.
 */
export type RelayFault = 'refused' | 'silent' | 'unanswered' | 'late'

interface Pair {
  readonly near: Socket
  readonly far: Socket
  readonly kept: Buffer[]
  /** Bytes of it were lost: it cannot go on. */
  torn: boolean
}

export class Relay implements AsyncDisposable {
  readonly #to: number
  readonly #pairs = new Set<Pair>()
  #server: Server | undefined
  #port = 0
  #fault: RelayFault | undefined

  constructor(to: number) {
    this.#to = to
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  async listen(): Promise<void> {
    const server = createServer((near) => this.#join(near)).listen(this.#port, '127.0.0.1')
    await once(server, 'listening')
    this.#server = server
    this.#port = (server.address() as AddressInfo).port
  }

  async begin(fault: RelayFault): Promise<void> {
    this.#fault = fault
    if (fault === 'refused') await this.#stop()
  }

  /** Connections that lost bytes are reset; what was kept is delivered. */
  async end(): Promise<void> {
    const fault = this.#fault
    this.#fault = undefined
    for (const pair of this.#pairs) {
      if (pair.torn) this.#drop(pair)
      for (const chunk of pair.kept.splice(0)) pair.near.write(chunk)
    }
    if (fault === 'refused') await this.listen()
  }

  /** Resets every connection, and goes on. */
  reset(): void {
    for (const pair of this.#pairs) this.#drop(pair)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop()
  }

  #join(near: Socket): void {
    const pair: Pair = { near, far: connect(this.#to, '127.0.0.1'), kept: [], torn: false }
    this.#pairs.add(pair)
    for (const socket of [pair.near, pair.far])
      socket.on('error', () => undefined).on('close', () => this.#drop(pair))
    near.on('data', (chunk: Buffer) => {
      if (this.#fault === 'silent') pair.torn = true
      else pair.far.write(chunk)
    })
    pair.far.on('data', (chunk: Buffer) => {
      if (this.#fault === 'late') pair.kept.push(chunk)
      else if (this.#fault === 'unanswered' || this.#fault === 'silent') pair.torn = true
      else near.write(chunk)
    })
  }

  #drop(pair: Pair): void {
    this.#pairs.delete(pair)
    pair.near.destroy()
    pair.far.destroy()
  }

  async #stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = once(server, 'close')
    server.close()
    this.reset()
    await closed
  }
}

/** A relay to the member at `url`. */
export async function startRelay(url: string): Promise<Relay> {
  const relay = new Relay(Number(new URL(url).port))
  await relay.listen()
  return relay
}
