/**
 * Connections between members: each member dials every other one, and what it says goes over the connection that it dialled.
 *
 * Decides: when to dial again, whose word something is, what is dropped when a peer is slow. Leaves to others: what is said.
 *
 * 1. Of two connections of one peer only the newer one is listened to: what an older one says may be from before a restart.
 * 2. A word that cannot be sent now is dropped. All of them are repeated by whoever still needs an answer.
 * 3. A peer that says nothing for `silentMs` gets a new connection: an old one may be waiting for a retransmission that comes minutes
 *    after the network does.
 */
import {
  ORIGIN,
  UnderstudyError,
  isUnderstudyError,
  type Clock,
  type Random,
  type Timer,
} from '@understudy/contracts'
import {
  negotiateVersion,
  PROTOCOL_VERSION,
  PROTOCOL_VERSION_MIN,
  type Connection,
  type Hello,
} from '@understudy/protocol'
import { decodeWord, encodeWord, type Word } from './words.ts'

export interface LinksOptions {
  readonly self: string
  /** Empty while the node has no data. */
  readonly cluster: () => string
  readonly peers: readonly { readonly name: string; readonly address: string }[]
  /** A connection on which the Hello is next. */
  readonly dial: (address: string, timeoutMs: number, signal: AbortSignal) => Promise<Connection>
  readonly clock: Clock
  readonly random: Random
  /** A peer that was silent for so long is dialled anew, in milliseconds. */
  readonly silentMs: number
  /** Time for dialling and the handshake, and the longest pause before the next try. */
  readonly dialMs: number
  heard(from: string, word: Word): void
  /** The last connection with it ended, or could not be made. */
  lost(name: string, how: 'connection-lost' | 'connection-refused', error: UnderstudyError | undefined): void
}

/** Bytes that may wait for a slow peer before words are dropped. */
const WAITING_BYTES_MAX = 262_144
const RETRY_MS_MIN = 20
/** So many times longer than `dialMs` a try may take after others were in vain. */
const DIAL_GROWS = 8

interface Link {
  readonly name: string
  readonly address: string
  /** What is said goes here. */
  out: Connection | undefined
  /** What is heard comes from here. */
  in: Connection | undefined
  heardAtMs: number
  failures: number
  retry: Timer | undefined
  isDialling: boolean
}

export class Links {
  readonly #options: LinksOptions
  readonly #links = new Map<string, Link>()
  readonly #abort = new AbortController()

  constructor(options: LinksOptions) {
    this.#options = options
    for (const { name, address } of options.peers) {
      const link: Link = {
        name,
        address,
        out: undefined,
        in: undefined,
        heardAtMs: -Infinity,
        failures: 0,
        retry: undefined,
        isDialling: false,
      }
      this.#links.set(name, link)
      this.#dial(link)
    }
  }

  /** Takes a connection of another member; throws why not. */
  accept(connection: Connection, hello: Hello): void {
    const { self, clock } = this.#options
    const link = this.#links.get(hello.node)
    if (link === undefined) throw stranger(self, hello.node)
    this.#checkCluster(hello.cluster, hello.node)
    const version = negotiateVersion(hello)
    connection.send({
      type: 'welcome',
      version,
      cluster: this.#options.cluster(),
      node: self,
      history: [],
      end: ORIGIN,
      verdict: { kind: 'continue', from: 1 },
      heartbeatMs: 0,
      deadlineMs: 0,
    })
    link.in?.close()
    link.in = connection
    connection.start({
      message: (message) => {
        if (message.type !== 'memberWord') throw outOfTurn(message.type)
        if (link.in !== connection) return
        link.heardAtMs = clock.monotonic()
        const word = decodeWord(message.bytes)
        if (word !== undefined) this.#options.heard(link.name, word)
        // It lives: no reason to wait for the end of a pause.
        if (link.out === undefined) this.#dial(link)
      },
      drained: () => {},
      closed: (error) => {
        if (link.in !== connection) return
        link.in = undefined
        this.#options.lost(link.name, 'connection-lost', error)
      },
    })
  }

  /** False: it was dropped. */
  send(to: string, word: Word): boolean {
    return this.#send(to, encodeWord(word))
  }

  /** To all others. */
  tell(word: Word): void {
    const bytes = encodeWord(word)
    for (const name of this.#links.keys()) this.#send(name, bytes)
  }

  /** When it was heard last, by the clock; `-Infinity`: never. */
  heardAtMs(name: string): number {
    return this.#links.get(name)?.heardAtMs ?? -Infinity
  }

  isConnected(name: string): boolean {
    return this.#links.get(name)?.out !== undefined
  }

  /** Every now and then: gives up connections to peers that are silent. */
  look(): void {
    const { clock, silentMs } = this.#options
    const since = clock.monotonic() - silentMs
    for (const link of this.#links.values()) {
      if (link.out === undefined || link.heardAtMs > since) continue
      const { out } = link
      link.out = undefined
      // Once per silence: the next connection has its own time.
      link.heardAtMs = clock.monotonic()
      out.close()
      this.#dial(link)
    }
  }

  close(): void {
    this.#abort.abort()
    for (const link of this.#links.values()) {
      link.retry?.cancel()
      link.out?.close()
      link.in?.close()
    }
  }

  #send(to: string, bytes: Uint8Array): boolean {
    const out = this.#links.get(to)?.out
    if (out === undefined || out.bufferedBytes > WAITING_BYTES_MAX) return false
    out.send({ type: 'memberWord', bytes })
    out.flush()
    return true
  }

  #dial(link: Link): void {
    if (link.isDialling || this.#abort.signal.aborted) return
    link.retry?.cancel()
    link.retry = undefined
    link.isDialling = true
    this.#connect(link)
      .then((connection) => this.#connected(link, connection))
      .catch((error: unknown) => this.#failed(link, error))
  }

  async #connect(link: Link): Promise<Connection> {
    const { dial, dialMs, self, cluster } = this.#options
    // A peer whose loop is busy for seconds is reached in the end.
    const timeoutMs = dialMs * Math.min(DIAL_GROWS, 1 + link.failures)
    const connection = await dial(link.address, timeoutMs, this.#abort.signal)
    try {
      connection.send({
        type: 'hello',
        versionMin: PROTOCOL_VERSION_MIN,
        versionMax: PROTOCOL_VERSION,
        purpose: 'member',
        cluster: cluster(),
        node: self,
        history: [],
        end: ORIGIN,
        formats: [],
      })
      const welcome = await connection.next({ timeoutMs, signal: this.#abort.signal })
      if (welcome.type !== 'welcome') throw outOfTurn(welcome.type)
      if (welcome.node !== link.name) throw misnamed(link, welcome.node)
      this.#checkCluster(welcome.cluster, welcome.node)
      return connection
    } catch (error) {
      connection.close()
      throw error
    }
  }

  #connected(link: Link, connection: Connection): void {
    link.isDialling = false
    if (this.#abort.signal.aborted) return connection.close()
    link.failures = 0
    link.out = connection
    link.heardAtMs = Math.max(link.heardAtMs, this.#options.clock.monotonic())
    connection.start({
      message: (message) => {
        throw outOfTurn(message.type)
      },
      drained: () => {},
      closed: (error) => {
        if (link.out !== connection) return
        link.out = undefined
        this.#options.lost(link.name, 'connection-lost', error)
        this.#dial(link)
      },
    })
  }

  #failed(link: Link, error: unknown): void {
    link.isDialling = false
    if (this.#abort.signal.aborted) return
    const known = isUnderstudyError(error) ? error : undefined
    const isRefused = known?.code === 'CONNECT_FAILED' && known.details['systemCode'] === 'ECONNREFUSED'
    if (isRefused) this.#options.lost(link.name, 'connection-refused', known)
    else if (link.in === undefined) this.#options.lost(link.name, 'connection-lost', known)
    const { clock, random, dialMs } = this.#options
    const pauseMs = Math.min(dialMs, RETRY_MS_MIN * 2 ** link.failures++)
    link.retry = clock.schedule(pauseMs * (0.5 + random.uint32() / 2 ** 33), () => this.#dial(link))
  }

  #checkCluster(theirs: string, node: string): void {
    const own = this.#options.cluster()
    if (own === '' || theirs === '' || own === theirs) return
    throw new UnderstudyError(
      'FOREIGN_CLUSTER',
      `Member ${node} belongs to cluster ${theirs}, this node to ${own}. Nothing was exchanged; check the addresses of the members.`,
    )
  }
}

function stranger(self: string, node: string): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `${node} is none of the members that ${self} was given. Nothing was exchanged; give all nodes the same list.`,
  )
}

function misnamed(link: { readonly name: string; readonly address: string }, found: string): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `At ${link.address} there is the node ${found}, and ${link.name} was expected. Nothing was exchanged; check the addresses of the members.`,
  )
}

function outOfTurn(type: string): UnderstudyError {
  return new UnderstudyError(
    'PROTOCOL_VIOLATION',
    `A member sent ${type}, which has no place between members. The connection was ended.`,
  )
}
