/**
 * Where others come in: the listener of a node, and who is inside.
 *
 * Decides: how many may connect, which conversation goes where. Leaves to others: who they are and whether they may (listener), what is
 * said in a conversation (leader-role, server).
 */
import { ORIGIN, type Listener, type Log } from '@understudy/contracts'
import { LIMITS } from '@understudy/protocol'
import type { Connection, Hello } from '@understudy/protocol'
import { serveClient, type ClientSession } from '@understudy/server'
import type { UnderstudyNode } from './api.ts'
import { clientHandlers, type Behind } from './client-handlers.ts'
import type { LeaderRole } from './leader-role.ts'
import { ForwardedWrites } from './forwarded-writes.ts'
import { Forwarder } from './forwarder.ts'
import { LeadershipWatch, newestEpoch } from './leadership.ts'
import { acceptChannel, type Purposes } from './listener.ts'
import { CONNECTION_LIMITS, type Settings } from './options.ts'
import { closedError } from './reads.ts'
import { certificateReport, type NodeStatus } from './status.ts'
import { Strangers } from './strangers.ts'

/** What an entrance needs to know of the node behind it. */
export interface Inside {
  readonly node: UnderstudyNode
  isClosing(): boolean
  /** Throws why this node takes no followers. */
  leading(): LeaderRole
  /** Serves a node that wants records. Throws why not. */
  replicate(connection: Connection, hello: Hello): void
  /** Takes the words of another member. Throws where this node takes no part in elections. */
  member(connection: Connection, hello: Hello): void
  log(): Log | undefined
}

export class Entrance {
  readonly #settings: Settings
  readonly #inside: Inside
  readonly #clients = new Set<ClientSession>()
  readonly #watch: LeadershipWatch
  readonly #forwarder: Forwarder
  readonly #forwarded = new ForwardedWrites()
  #listener: Listener | undefined
  #strangers: Strangers | undefined

  constructor(settings: Settings, inside: Inside) {
    this.#settings = settings
    this.#inside = inside
    const { node } = inside
    this.#watch = new LeadershipWatch(settings.clock, () => node.leadership())
    this.#forwarder = new Forwarder(
      settings,
      () => node.leadership().leader?.address,
      () => node.cluster,
    )
    settings.events.watch(() => this.#watch.look())
  }

  get address(): string | undefined {
    return this.#listener?.address
  }

  /** Where the node listens nowhere nobody comes in. */
  async open(): Promise<void> {
    const { listen, transport, emit, credentials, connections } = this.#settings
    if (listen === undefined) return
    const purposes = this.#purposes()
    const { max, perAddressMax, strangersMax } = { ...CONNECTION_LIMITS, ...connections }
    const strangers = (this.#strangers = new Strangers(strangersMax))
    this.#listener = await transport.listen(
      listen,
      (channel) => void acceptChannel(channel, purposes, strangers, this.#settings),
      {
        frameBytesMax: LIMITS.helloBytesMax,
        channelsMax: max,
        channelsPerAddressMax: perAddressMax,
        authenticated: credentials !== undefined,
      },
    )
    emit({ kind: 'listening', address: this.#listener.address })
  }

  status(): Pick<NodeStatus, 'address' | 'connections' | 'certificate' | 'forwarded'> {
    const listener = this.#listener
    const forwarded = this.#forwarded.list()
    return {
      ...(forwarded.length > 0 && { forwarded }),
      address: listener?.address,
      connections: listener && { clients: this.#clients.size, strangers: this.#strangers?.count ?? 0 },
      certificate: listener && certificateReport(listener),
    }
  }

  /** Clients are told that the node goes. */
  async endClients(): Promise<void> {
    this.#watch.close()
    this.#forwarder.close()
    await Promise.all([...this.#clients].map((session) => session.close()))
  }

  async close(): Promise<void> {
    await this.#listener?.close()
  }

  #purposes(): Purposes {
    const inside = this.#inside
    const { node } = inside
    const behind = this.#behind()
    return {
      replicate: (connection, hello) => inside.replicate(connection, hello),
      snapshot: (connection, hello) => inside.leading().serveSnapshot(connection, hello),
      member: (connection, hello) => inside.member(connection, hello),
      client: (connection, hello, peer) => {
        if (inside.isClosing()) throw closedError(node.name)
        const { history = [], end = ORIGIN } = inside.log() ?? {}
        const { clock, emit } = this.#settings
        const session = serveClient(connection, hello, clientHandlers(node, behind), {
          clock,
          identity: { cluster: node.cluster, node: node.name, history, end },
          ...(peer && { roles: peer.roles, author: peer.name }),
          epoch: () => newestEpoch(behind.history()),
          onUnexpectedError: (error) => emit({ kind: 'requestFailed', error }),
        })
        this.#clients.add(session)
        void session.ended.then(() => this.#clients.delete(session))
      },
    }
  }

  #behind(): Behind {
    const inside = this.#inside
    const { node } = inside
    const { name, forwardWrites } = this.#settings
    return {
      history: () => inside.log()?.history ?? [],
      whoLeads: ({ unlessEpoch, waitMs, signal }) => this.#watch.next(unlessEpoch, waitMs, signal),
      forward: (statements, { author, epoch, forwarded, ack, of, ackTimeoutMs, key, bigints }) => {
        if (forwarded !== undefined && node.leadership().takesWrites) this.#forwarded.count(forwarded)
        if (forwardWrites !== true || forwarded !== undefined || node.leadership().role === 'leader')
          return undefined
        const asks = {
          ...(ack && { ack }),
          ...(of && { of }),
          ...(ackTimeoutMs !== undefined && { ackTimeoutMs }),
          ...(key !== undefined && { key }),
          ...(bigints === true && { bigints }),
        }
        const body = { kind: 'write', statements, ...asks, forwarded: { by: name, author } } as const
        return this.#forwarder.write(body, epoch).then(({ position, ...answer }) => ({ position, ...answer }))
      },
    }
  }
}
