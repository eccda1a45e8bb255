/**
 * Sends the writes of a follower's clients on to its leader.
 *
 * Decides: when a write is sent on, over which connection, what a client is told when no answer comes. Leaves to others: whether the client
 * may write (server), whether this node may send it on (the leader, by this node's credential), what the write does.
 *
 * 1. Only lists of statements come here: a callback cannot travel.
 * 2. A write that was sent on before is not sent on again, so that none goes in circles.
 * 3. One that was sent and not answered is `OUTCOME_UNKNOWN`; one that never left this node is `NOT_LEADER`, and nothing was done.
 */
import {
  ORIGIN,
  UnderstudyError,
  isUnderstudyError,
  type EpochStamp,
  type Timer,
} from '@understudy/contracts'
import {
  dial,
  PROTOCOL_VERSION,
  PROTOCOL_VERSION_MIN,
  type Connection,
  type Message,
  type RequestBody,
  type ResponseBody,
} from '@understudy/protocol'
import { DIAL_TIMEOUT_MS, FRAME_BYTES_MAX, type Settings } from './options.ts'

type WriteBody = Extract<RequestBody, { kind: 'write' }>
type Results = Extract<ResponseBody, { kind: 'results' }>

interface Pending {
  readonly resolve: (body: ResponseBody) => void
  readonly reject: (error: UnderstudyError) => void
  readonly timer: Timer
}

interface Link {
  readonly connection: Connection
  readonly pending: Map<number, Pending>
}

/** Writes that wait for the leader's answers at once. */
const PENDING_MAX = 4096
/** How long an answer is waited for beyond the time that the write itself gives its acks. */
const ANSWER_TIMEOUT_MS = 60_000

export class Forwarder {
  readonly #settings: Settings
  readonly #leader: () => string | undefined
  readonly #cluster: () => string
  readonly #abort = new AbortController()
  #link: Promise<Link> | undefined
  #linkedTo: string | undefined
  #nextId = 1

  /** `leader`: where it is at the moment. */
  constructor(settings: Settings, leader: () => string | undefined, cluster: () => string) {
    this.#settings = settings
    this.#leader = leader
    this.#cluster = cluster
  }

  /** The leader's answer. Rejects with the leader's own errors, with `NOT_LEADER`, or with `OUTCOME_UNKNOWN`. */
  async write(body: WriteBody, epoch: EpochStamp | undefined): Promise<Results> {
    const { name } = this.#settings
    const link = await this.#connected()
    if (link.pending.size >= PENDING_MAX)
      throw new UnderstudyError(
        'OVERLOADED',
        `${PENDING_MAX} writes that node ${name} sent on wait for the leader. This one was not sent; try again later.`,
      )
    const answer = await this.#ask(link, body, epoch)
    if (answer.kind === 'results') return answer
    if (answer.kind === 'error') throw errorOf(answer, name)
    const error = new UnderstudyError(
      'OUTCOME_UNKNOWN',
      `The leader answered a write that node ${name} sent on with a ${answer.kind}. It may be done or not; the connection was closed.`,
    )
    link.connection.close(error)
    throw error
  }

  close(): void {
    this.#abort.abort()
    void this.#link?.then(
      ({ connection }) => connection.close(),
      () => {},
    )
    this.#link = undefined
  }

  /** One connection, to the leader of now. */
  async #connected(): Promise<Link> {
    const address = this.#leader()
    const { name } = this.#settings
    if (address === undefined) throw unsent(name, undefined, 'it knows no leader')
    if (this.#link === undefined || this.#linkedTo !== address) {
      this.#drop()
      this.#linkedTo = address
      const link = (this.#link = this.#connect(address))
      link.catch(() => {
        if (this.#link === link) this.#link = undefined
      })
    }
    try {
      return await this.#link
    } catch (error) {
      const why = isUnderstudyError(error) ? `${error.code}: ${error.message}` : String(error)
      throw unsent(name, address, why, error)
    }
  }

  #drop(): void {
    const old = this.#link
    this.#link = undefined
    void old?.then(
      ({ connection }) => connection.close(),
      () => {},
    )
  }

  async #connect(address: string): Promise<Link> {
    const { transport, clock, random, name, credential, compression, channelBinding } = this.#settings
    const connection = await dial({
      transport,
      address,
      clock,
      timeoutMs: DIAL_TIMEOUT_MS,
      signal: this.#abort.signal,
      frameBytesMax: FRAME_BYTES_MAX,
      as: credential && { credential, compression, channelBinding, random },
    })
    try {
      connection.send({
        type: 'hello',
        versionMin: PROTOCOL_VERSION_MIN,
        versionMax: PROTOCOL_VERSION,
        purpose: 'client',
        cluster: this.#cluster(),
        node: name,
        history: [],
        end: ORIGIN,
        formats: [],
      })
      const welcome = await connection.next({ timeoutMs: DIAL_TIMEOUT_MS, signal: this.#abort.signal })
      if (welcome.type !== 'welcome')
        throw new UnderstudyError(
          'PROTOCOL_VIOLATION',
          `${address} answered a greeting with a ${welcome.type}.`,
        )
    } catch (error) {
      connection.close()
      throw error
    }
    return this.#opened(connection)
  }

  #opened(connection: Connection): Link {
    const link: Link = { connection, pending: new Map() }
    connection.start({
      message: (message) => answered(link, message),
      // The limit on pending writes bounds what waits to be sent.
      drained: () => {},
      closed: (error) => {
        void this.#link?.then(
          (current) => {
            if (current === link) this.#link = undefined
          },
          () => {},
        )
        for (const { reject, timer } of link.pending.values()) {
          timer.cancel()
          reject(
            unanswered(this.#settings.name, `the connection to the leader ended${reasonOf(error)}`, error),
          )
        }
        link.pending.clear()
      },
    })
    return link
  }

  #ask(link: Link, body: WriteBody, epoch: EpochStamp | undefined): Promise<ResponseBody> {
    const { name, clock } = this.#settings
    const id = this.#nextId++
    if (link.connection.isClosed) throw unsent(name, this.#linkedTo, 'the connection to it ended')
    link.connection.send({ type: 'request', id, ...(epoch && { epoch }), body })
    return new Promise((resolve, reject) => {
      const waitMs = (body.ackTimeoutMs ?? 0) + ANSWER_TIMEOUT_MS
      const timer = clock.schedule(waitMs, () => {
        link.pending.delete(id)
        reject(unanswered(name, `the leader did not answer within ${waitMs} ms`))
      })
      link.pending.set(id, { resolve, reject, timer })
    })
  }
}

function answered({ pending }: Link, message: Message): void {
  if (message.type !== 'response')
    throw new UnderstudyError(
      'PROTOCOL_VIOLATION',
      `The leader sent a ${message.type} where only answers have a place. The connection was closed.`,
    )
  const waiting = pending.get(message.id)
  if (waiting === undefined) return
  pending.delete(message.id)
  waiting.timer.cancel()
  waiting.resolve(message.body)
}

/** The leader's own error, with the record that it names and the leader that it knows. */
function errorOf(answer: Extract<ResponseBody, { kind: 'error' }>, name: string): UnderstudyError {
  const { code, point, leader } = answer
  const message =
    code === 'FORBIDDEN'
      ? `${answer.message} It is the credential of node ${name}, which sends writes on: give it the role write.`
      : answer.message
  return new UnderstudyError(code, message, {
    fromPeer: true,
    ...(point && { position: { epoch: point.epoch, lsn: point.lsn }, crc: point.crc }),
    ...(leader !== undefined && { leader }),
  })
}

function unsent(name: string, leader: string | undefined, why: string, cause?: unknown): UnderstudyError {
  return new UnderstudyError(
    'NOT_LEADER',
    `Node ${name} is a follower and could not send the write on to its leader: ${why}. Nothing was changed; try again, or write to the leader.`,
    { leader, cause },
  )
}

function unanswered(name: string, why: string, cause?: unknown): UnderstudyError {
  return new UnderstudyError(
    'OUTCOME_UNKNOWN',
    `Node ${name} sent the write on to its leader, and ${why}. It may be done or not: read before writing it again, or send it again with the key that it had.`,
    { cause },
  )
}

function reasonOf(error: UnderstudyError | undefined): string {
  return error === undefined ? '' : ` (${error.code})`
}
