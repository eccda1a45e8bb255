/**
 * The connections of a client: one to each node, made when it is needed.
 *
 * Decides: when a connection is made, and what is asked on it first. Leaves to others: which node is asked (routing).
 *
 * 1. Who asks for a node that is being dialled waits for the same connection.
 * 2. A connection counts once its node has said who leads; that is the first measure of its distance, too.
 * 3. On each connection one question stays open: tell me when somebody else leads. So news of a failover come from every node that is
 *    connected, without polling.
 */
import { UnderstudyError, type Clock, type Transport } from '@understudy/contracts'
import { connectNode, type ConnectOptions, type NodeClient } from './connect.ts'
import type { SeenEpochs } from './epochs.ts'
import type { Routes } from './routing.ts'
import { pause, type News } from './waiting.ts'

/** How long a node is given to be connected, to authenticate and to say who leads. */
export const DIAL_TIMEOUT_MS = 5_000
/** How long an open question waits at the node. */
const WATCH_MS = 25_000
/** A node that answers sooner than it should is asked again after this. */
const WATCH_PAUSE_MS = 500
/** How long a node is given to say who leads. */
const ASK_TIMEOUT_MS = 2_000

export interface PoolOptions {
  readonly transport: Transport
  readonly connect: Omit<
    ConnectOptions,
    'address' | 'transport' | 'timeoutMs' | 'signal' | 'clock' | 'cluster'
  >
  readonly clock: Clock
  readonly routes: Routes
  readonly epochs: SeenEpochs
  /** Told when another node leads. */
  readonly news: News
  /** The cluster that every node must be of; unknown before the first one. */
  readonly cluster: string | undefined
}

export class Pool {
  readonly #options: PoolOptions
  readonly #open = new Map<string, NodeClient>()
  readonly #dialling = new Map<string, Promise<NodeClient>>()
  /** Why the last try to reach a node failed. */
  readonly failures: Map<string, unknown> = new Map()
  readonly #abort = new AbortController()
  #cluster: string | undefined
  #asking: Promise<void> | undefined

  constructor(options: PoolOptions) {
    this.#options = options
    this.#cluster = options.cluster
  }

  get cluster(): string | undefined {
    return this.#cluster
  }

  /** The connection to a node, if there is one. */
  existing(address: string): NodeClient | undefined {
    return this.#open.get(address)
  }

  /** The connection to a node. Rejects with why there is none; the node is left alone for a while then. */
  get(address: string): Promise<NodeClient> {
    const open = this.#open.get(address)
    if (open !== undefined) return Promise.resolve(open)
    const dialling = this.#dialling.get(address)
    if (dialling !== undefined) return dialling
    if (this.#abort.signal.aborted) return Promise.reject(closedError())
    const made = this.#dial(address).finally(() => this.#dialling.delete(address))
    this.#dialling.set(address, made)
    return made
  }

  /** Asks a node again who leads, if it is connected. Never rejects. */
  async ask(address: string): Promise<void> {
    const open = this.#open.get(address)
    // What it does not say, its connection tells, or a later call.
    if (open !== undefined) await this.#ask(address, open).catch(() => {})
  }

  /** Asks every node that is not left alone who leads. Resolves when each has answered or failed. */
  askAll(): Promise<void> {
    const { routes, clock } = this.#options
    this.#asking ??= Promise.allSettled(
      routes.toAsk(clock.monotonic()).map(async (address) => {
        const open = this.#open.get(address)
        if (open === undefined) await this.get(address)
        else await this.#ask(address, open)
      }),
    ).then(() => (this.#asking = undefined))
    return this.#asking
  }

  async close(): Promise<void> {
    const closing = [...this.#open.values()].map((node) => node.close())
    this.#abort.abort()
    await Promise.all(closing)
    await Promise.allSettled(this.#dialling.values())
  }

  async #dial(address: string): Promise<NodeClient> {
    const { connect, transport, clock, routes, epochs } = this.#options
    let node: NodeClient | undefined
    try {
      node = await connectNode({
        ...connect,
        transport,
        address,
        clock,
        epochs,
        timeoutMs: DIAL_TIMEOUT_MS,
        signal: this.#abort.signal,
        ...(this.#cluster !== undefined && { cluster: this.#cluster }),
      })
      this.#assertCluster(node)
      routes.connected(address, node.node)
      await this.#ask(address, node)
    } catch (error) {
      routes.failed(address, clock.monotonic())
      this.failures.set(address, error)
      await node?.close()
      throw this.#abort.signal.aborted ? closedError() : error
    }
    this.#opened(address, node)
    return node
  }

  #opened(address: string, node: NodeClient): void {
    this.#open.set(address, node)
    this.failures.delete(address)
    void node.ended.then(() => {
      this.#open.delete(address)
      if (this.#abort.signal.aborted) return
      this.#options.routes.failed(address, this.#options.clock.monotonic())
      // Whoever waits for a leader need not wait for its time.
      this.#options.news.tell()
    })
    void this.#watch(address, node)
  }

  /** The first one says which cluster this is. One that follows for the first time may not know it yet. */
  #assertCluster(node: NodeClient): void {
    if (this.#cluster === undefined && node.cluster !== '') this.#cluster = node.cluster
    if (node.cluster === '' || node.cluster === this.#cluster) return
    throw new UnderstudyError(
      'FOREIGN_CLUSTER',
      `${node.address} belongs to cluster ${node.cluster}, the others to ${this.#cluster}. It was not used; check the addresses.`,
    )
  }

  async #ask(address: string, node: NodeClient): Promise<void> {
    const { clock, routes } = this.#options
    const begunMs = clock.monotonic()
    const said = await node.whoLeads({ timeoutMs: ASK_TIMEOUT_MS })
    routes.measured(address, clock.monotonic() - begunMs)
    if (routes.learn(address, said)) this.#options.news.tell()
  }

  /** Until the connection ends. */
  async #watch(address: string, node: NodeClient): Promise<void> {
    const { clock, routes, news } = this.#options
    const over = new AbortController()
    void node.ended.then(() => over.abort())
    const signal = AbortSignal.any([this.#abort.signal, over.signal])
    while (!signal.aborted) {
      const unlessEpoch = routes.epochOf(address)
      const begunMs = clock.monotonic()
      try {
        const wait = { ...(unlessEpoch && { unlessEpoch }), waitMs: unlessEpoch === undefined ? 0 : WATCH_MS }
        const said = await node.whoLeads({ ...wait, signal })
        if (routes.learn(address, said)) news.tell()
      } catch (error) {
        if (!signal.aborted && isTimeout(error)) await node.close()
        // Any other error is of a node that does not want to say more than it did.
      }
      const early = WATCH_PAUSE_MS - (clock.monotonic() - begunMs)
      if (early > 0) await pause(clock, early, signal)
    }
  }
}

/** The node holds a connection open and is silent on it. */
function isTimeout(error: unknown): boolean {
  return error instanceof UnderstudyError && error.code === 'TIMEOUT'
}

function closedError(): UnderstudyError {
  return new UnderstudyError('CLOSED', 'This client was closed. Connect again to ask more.')
}
