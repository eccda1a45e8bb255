/**
 * One client's conversation: welcomes it, answers each of its requests once, in whatever order they are done.
 *
 * Decides: how many requests are worked on at once, and when a client is no longer listened to. Leaves to others: what
 * the answers are (`ClientHandlers`), who may connect.
 *
 * 1. While `requestsMax` requests are worked on, or the client does not take its answers, no further request is read:
 *    the network holds it back.
 * 2. Each request gets exactly one response with its id, unless the connection ends first. A write that was begun goes
 *    on when its client is gone; waits of reads and digests are aborted, and what is kept for it ends (kept).
 * 3. Anything but a request is a violation and ends the connection.
 */
import {
  isUnderstudyError,
  UnderstudyError,
  type Clock,
  type EpochStamp,
  type Timer,
} from '@understudy/contracts'
import {
  isWriting,
  negotiateVersion,
  type Connection,
  type Hello,
  type Message,
  type Request,
  type ResponseBody,
  type Role,
} from '@understudy/protocol'
import { mayRead } from './access.ts'
import { answerRequest, tooLarge, type AnswerContext } from './answer.ts'
import { failure } from './failures.ts'
import type { ClientHandlers, NodeIdentity } from './handlers.ts'
import { Kept } from './kept.ts'
import { resolveLimits, type ServerLimits } from './limits.ts'

export interface ServeOptions {
  readonly clock: Clock
  /** For the Welcome. */
  readonly identity: NodeIdentity
  /** What the client may ask: see access.ts. Default: everything. */
  readonly roles?: ReadonlySet<Role>
  /** Name of the client's credential. Default: none. */
  readonly author?: string
  /** The newest epoch that the node knows: it stands in every answer. Default: none is told, and no client is refused for its own. */
  readonly epoch?: () => EpochStamp | undefined
  readonly limits?: Partial<ServerLimits>
  /** Gets errors of handlers that are neither `UnderstudyError` nor SQLite's: defects, for the node's log. Default: dropped. */
  readonly onUnexpectedError?: (error: unknown) => void
}

/** A client that is being served. */
export interface ClientSession {
  /** Resolves when the connection has ended, with the error that ended it if there was one. */
  readonly ended: Promise<UnderstudyError | undefined>
  /** Requests that are worked on. */
  readonly requests: number
  /** Takes no further request, waits up to `graceMs` (default 1,000) for answers to those begun, then ends the connection. */
  close(graceMs?: number): Promise<void>
}

/**
 * Serves the client that sent `hello` (purpose `client`) until either side ends the connection. A hello that cannot be
 * served (`PROTOCOL_VERSION`, `FOREIGN_CLUSTER`, `PROTOCOL_VIOLATION` for another purpose) is refused and the session
 * ends with that error. Throws `INVALID_ARGUMENT` for limits out of range.
 */
export function serveClient(
  connection: Connection,
  hello: Hello,
  handlers: ClientHandlers,
  options: ServeOptions,
): ClientSession {
  const session = new Session(connection, handlers, resolveLimits(options.limits ?? {}), options)
  session.begin(hello)
  return session
}

class Session implements ClientSession {
  readonly ended: Promise<UnderstudyError | undefined>
  requests = 0
  readonly #connection: Connection
  readonly #limits: ServerLimits
  readonly #options: ServeOptions
  readonly #context: AnswerContext
  readonly #gone = new AbortController()
  #resolveEnded!: (error: UnderstudyError | undefined) => void
  /** The client does not take what is sent. */
  #blocked = false
  #paused = false
  #closing = false
  #idleTimer: Timer | undefined
  #idle: (() => void) | undefined

  constructor(connection: Connection, handlers: ClientHandlers, limits: ServerLimits, options: ServeOptions) {
    this.#connection = connection
    this.#limits = limits
    this.#options = options
    const unexpected = options.onUnexpectedError ?? ((): void => {})
    const { roles, author, epoch } = options
    this.#context = {
      handlers,
      limits,
      kept: new Kept({ handlers, limits, clock: options.clock, mayRead: mayRead(roles) }),
      signal: this.#gone.signal,
      unexpected,
      ...(roles && { roles }),
      ...(author !== undefined && { author }),
      ...(epoch && { epoch }),
    }
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve))
  }

  begin(hello: Hello): void {
    const { identity } = this.#options
    let refusal: UnderstudyError | undefined
    try {
      const version = checkHello(hello, identity)
      this.#connection.frameBytesMax = this.#limits.requestBytesMax
      // Without heartbeats: a client may be silent while it asks nothing.
      const silence = { heartbeatMs: 0, deadlineMs: 0 }
      const verdict = { kind: 'continue', from: 1 } as const
      this.#connection.send({ type: 'welcome', version, ...identity, verdict, ...silence })
      this.#waitForIdleness()
    } catch (error) {
      if (!isUnderstudyError(error)) throw error
      refusal = error
    }
    if (refusal !== undefined) this.#connection.close(refusal)
    this.#connection.start({
      message: (message) => this.#message(message),
      drained: () => {
        this.#blocked = false
        this.#updatePause()
      },
      closed: (error) => this.#closed(error),
    })
  }

  async close(graceMs: number = 1000): Promise<void> {
    if (!this.#closing && this.requests > 0) {
      this.#closing = true
      this.#updatePause()
      await new Promise<void>((resolve) => {
        const timer = this.#options.clock.schedule(graceMs, resolve)
        this.#idle = () => {
          timer.cancel()
          resolve()
        }
      })
    }
    this.#closing = true
    this.#connection.close()
    await this.ended
  }

  #message(message: Message): void {
    if (message.type !== 'request')
      throw new UnderstudyError(
        'PROTOCOL_VIOLATION',
        `A client sent a ${message.type} where only requests have a place. The connection was closed; nothing was done.`,
      )
    this.requests += 1
    this.#idleTimer?.cancel()
    this.#updatePause()
    void this.#work(message)
  }

  async #work(request: Request): Promise<void> {
    const body = await answerRequest(request, this.#context)
    this.requests -= 1
    this.#respond(request, body)
    this.#updatePause()
    if (this.requests > 0) return
    this.#idle?.()
    this.#waitForIdleness()
  }

  #respond(request: Request, body: ResponseBody): void {
    if (this.#connection.isClosed) return
    const epoch = this.#context.epoch?.()
    const head = { type: 'response', id: request.id, ...(epoch && { epoch }) } as const
    try {
      this.#blocked = !this.#connection.send({ ...head, body })
    } catch (error) {
      // The body breaks a limit of the protocol that ours do not cover, or a handler returned what is no answer.
      const replacement = isUnderstudyError(error)
        ? unsendable(request, body, error)
        : failure(
            'REQUEST_FAILED',
            'The answer of the node cannot be sent; the log of the node has the error.',
          )
      if (!isUnderstudyError(error)) this.#context.unexpected(error)
      this.#blocked = !this.#connection.send({ ...head, body: replacement })
    }
  }

  #updatePause(): void {
    const pause = this.#closing || this.#blocked || this.requests >= this.#limits.requestsMax
    if (pause === this.#paused) return
    this.#paused = pause
    if (pause) this.#connection.pause()
    else this.#connection.resume()
  }

  #waitForIdleness(): void {
    this.#idleTimer?.cancel()
    if (this.#connection.isClosed) return
    const { idleMs } = this.#limits
    this.#idleTimer = this.#options.clock.schedule(idleMs, () =>
      this.#connection.close(
        new UnderstudyError(
          'PEER_SILENT',
          `The client asked nothing for ${idleMs} ms and was disconnected. Nothing was in progress; connect again.`,
        ),
      ),
    )
  }

  #closed(error: UnderstudyError | undefined): void {
    this.#idleTimer?.cancel()
    this.#gone.abort()
    this.#context.kept.close()
    this.#idle?.()
    this.#resolveEnded(error)
  }
}

function unsendable(request: Request, body: ResponseBody, error: UnderstudyError): ResponseBody {
  const position = body.kind === 'results' ? body.position : undefined
  const isWrite = isWriting(request.body)
  return tooLarge(`a form that no answer may have (${error.message})`, position, isWrite ? 'write' : 'read')
}

function checkHello(hello: Hello, identity: NodeIdentity): number {
  if (hello.purpose !== 'client')
    throw new UnderstudyError(
      'PROTOCOL_VIOLATION',
      `A connection for ${hello.purpose} was handed to what serves clients. It was closed; nothing was done.`,
    )
  if (hello.cluster !== '' && hello.cluster !== identity.cluster)
    throw new UnderstudyError(
      'FOREIGN_CLUSTER',
      `The client asks for cluster ${hello.cluster}; this node, ${identity.node}, belongs to ${identity.cluster}. ` +
        'Nothing was done; check the address.',
    )
  return negotiateVersion(hello)
}
