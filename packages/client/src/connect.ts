/**
 * Connecting to a node, and the calls of the connection.
 *
 * Decides: the handshake of a client, and which answer fits which request. Leaves to requests.ts what happens when no
 * answer comes.
 */
import {
  ORIGIN,
  UnderstudyError,
  systemClock,
  systemRandom,
  type AckLevel,
  type Clock,
  type EpochStamp,
  type Exposure,
  type Position,
  type Random,
  type ReceiptReference,
  type ReceiptVerdict,
  type Slot,
  type Transport,
} from '@understudy/contracts'
import {
  dial,
  LIMITS,
  PROTOCOL_VERSION,
  PROTOCOL_VERSION_MIN,
  type Connection,
  type Credential,
  type Leadership,
  type Message,
  type RequestBody,
  type ResponseBody,
  type SqlStatement,
  type TableRows,
  type Value,
  type Welcome,
} from '@understudy/protocol'
import type {
  AckChangeOptions,
  CallOptions,
  Client,
  ClientStep,
  DigestOptions,
  DigestReply,
  ExposureCallOptions,
  ReadOptions,
  ReachReply,
  ReadReply,
  WriteOptions,
  WhoLeadsOptions,
  WriteReply,
} from './client.ts'
import type { Calls, Waiting } from './calls.ts'
import { prepare, type PreparedCalls, type PreparedStatement } from './prepared.ts'
import {
  failoverCalls,
  type ChangedLeader,
  type FailoverCalls,
  type PromoteCallOptions,
  type SwitchoverCallOptions,
} from './failover-calls.ts'
import { Requests } from './requests.ts'
import { ArrayStream, ObjectStream, type RowStream, type StreamAsks } from './row-stream.ts'
import { checkIntegers, integersOf, type Row } from './rows.ts'
import { streamAsks, type IterateOptions } from './streams.ts'
import {
  runTransaction,
  type ClientTransaction,
  type TransactionOptions,
  type TransactionReply,
} from './transaction.ts'

export interface ConnectOptions {
  readonly transport: Transport
  /** Of the node, such as `tcp://127.0.0.1:7401`. */
  readonly address: string
  /** Only a node of this cluster is talked to. Default: any. */
  readonly cluster?: string
  /** As whom to connect. Default: as nobody, whom only a node without credentials lets in. */
  readonly credential?: Credential
  /** Compress frames when the node wants to, too; needs a credential. Default false. */
  readonly compression?: boolean
  /** Binds authentication to the TLS session. Off only where a reverse proxy ends TLS, and then at both ends. Default true. */
  readonly channelBinding?: boolean
  /** What the node calls this client in its messages. Default `client`. */
  readonly name?: string
  /** Milliseconds for connecting, and for each call that says nothing else. Default 30,000. */
  readonly timeoutMs?: number
  /** Gives up connecting. */
  readonly signal?: AbortSignal
  /** Default: real time. */
  readonly clock?: Clock
  /** Default: that of the operating system. */
  readonly random?: Random
}

const DEFAULT_TIMEOUT_MS = 30_000
/** The node waits as long as the caller asked for; its own answer that this was not enough needs time to travel. */
const TRAVEL_MS = 250
const WAITING: ReadonlySet<RequestBody['kind']> = new Set([
  'read',
  'digest',
  'reach',
  'promote',
  'switchover',
])

/**
 * Connects to one node. Rejects with the transport's `ADDRESS_INVALID`, `CONNECT_FAILED`, `TIMEOUT` or `ABORTED`, with
 * `PEER_SILENT` when the node does not answer in time, with `CONNECTION_LOST`, with the code that the node refused the
 * client with (`FOREIGN_CLUSTER`, `AUTHENTICATION_REQUIRED`, `AUTHENTICATION_FAILED`, `FORBIDDEN`, `PROTOCOL_VERSION`, …), or with
 * `PROTOCOL_VIOLATION`.
 */
export async function connectNode(
  options: ConnectOptions & { readonly epochs?: Epochs },
): Promise<NodeClient> {
  const clock = options.clock ?? systemClock()
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
  checkTimeout(timeoutMs)
  const signal = options.signal === undefined ? {} : { signal: options.signal }
  const deadline = clock.monotonic() + timeoutMs
  const { transport, address, credential, compression, channelBinding, random = systemRandom() } = options
  const { epochs } = options
  if (credential === undefined && (compression === true || channelBinding !== undefined))
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      'compression and channelBinding are parts of authentication and need a credential. Nothing was sent.',
    )
  const connection = await dial({
    transport,
    address,
    clock,
    timeoutMs,
    ...signal,
    frameBytesMax: LIMITS.frameBytesMax,
    as: credential && { credential, compression, channelBinding, random },
  })
  try {
    connection.send({
      type: 'hello',
      versionMin: PROTOCOL_VERSION_MIN,
      versionMax: PROTOCOL_VERSION,
      purpose: 'client',
      cluster: options.cluster ?? '',
      node: options.name ?? 'client',
      history: [],
      end: ORIGIN,
      formats: [],
    })
    const leftMs = Math.max(0, deadline - clock.monotonic())
    const welcome = checkWelcome(await connection.next({ ...signal, timeoutMs: leftMs }), options.address)
    // An old leader is welcome too: what it answers is judged.
    epochs?.judge(welcome.node, welcome.history.at(-1))
    return new NodeClient({ address, welcome, connection, clock, timeoutMs, epochs })
  } catch (error) {
    connection.close()
    throw error
  }
}

function checkWelcome(message: Message, address: string): Welcome {
  if (message.type !== 'welcome')
    throw new UnderstudyError(
      'PROTOCOL_VIOLATION',
      `${address} answered the greeting with a ${message.type}. Nothing was asked; is it a node of Understudy?`,
    )
  if (message.version < PROTOCOL_VERSION_MIN || message.version > PROTOCOL_VERSION)
    throw new UnderstudyError(
      'PROTOCOL_VERSION',
      `${address} chose protocol version ${message.version}, which this client does not speak. Nothing was asked; install a matching release.`,
    )
  return message
}

function checkTimeout(timeoutMs: number): void {
  if (Number.isSafeInteger(timeoutMs) && timeoutMs >= 0 && timeoutMs <= LIMITS.durationMsMax) return
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `timeoutMs is ${timeoutMs}; it must be a whole number from 0 to ${LIMITS.durationMsMax}. Nothing was sent.`,
  )
}

/** What the protocol would drop without a word, because it stands for nothing there. */
function checkAsks({ ackTimeoutMs, key }: WriteOptions): void {
  if (key === '') throw asksInvalid('the key is empty', "use such as 'order-17'")
  if (ackTimeoutMs === undefined) return
  if (Number.isSafeInteger(ackTimeoutMs) && ackTimeoutMs > 0 && ackTimeoutMs <= LIMITS.durationMsMax) return
  throw asksInvalid(`ackTimeoutMs is ${ackTimeoutMs}`, `use a whole number from 1 to ${LIMITS.durationMsMax}`)
}

function asksInvalid(what: string, advice: string): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `The options of the write: ${what}; ${advice}. Nothing was sent.`,
  )
}

/** What the connections of one client share: the highest epoch that any of them has seen. */
export interface Epochs {
  /** Goes with every request. */
  readonly seen: EpochStamp | undefined
  /** Of an answer; the error that takes its place when it came from below what was seen. */
  judge(node: string, epoch: EpochStamp | undefined): UnderstudyError | undefined
}

interface NodeClientParts {
  readonly address: string
  readonly welcome: Welcome
  readonly connection: Connection
  readonly clock: Clock
  readonly timeoutMs: number
  readonly epochs: Epochs | undefined
}

export class NodeClient implements Client {
  readonly address: string
  readonly node: string
  readonly cluster: string
  readonly #connection: Connection
  readonly #requests: Requests
  readonly #timeoutMs: number
  readonly #epochs: Epochs | undefined
  /** Resolves when the connection has ended. */
  readonly ended: Promise<void>
  readonly #failover: FailoverCalls
  readonly #calls: Calls
  #handle = 0

  constructor({ address, welcome, connection, clock, timeoutMs, epochs }: NodeClientParts) {
    this.address = address
    this.node = welcome.node
    this.cluster = welcome.cluster
    this.#connection = connection
    this.#timeoutMs = timeoutMs
    this.#epochs = epochs
    this.#requests = new Requests(connection, clock, epochs)
    this.#calls = {
      ask: (kind, body, options) => this.#answer(kind, body, options),
      timeoutMs,
      travelMs: TRAVEL_MS,
      nextHandle: () => (this.#handle += 1),
    }
    this.#failover = failoverCalls(async (body, options, fits) => {
      const value = this.#parse((await this.#ask('json', body, options)).text)
      if (!fits(value)) throw this.#violation(`something else to a ${body.kind}`)
      return value as never
    }, timeoutMs)
    this.ended = new Promise((resolve) => {
      connection.start({
        message: (message) => this.#message(message),
        // The limit on requests bounds what waits to be sent.
        drained: () => {},
        closed: (error) => {
          this.#requests.end(lost(address, error))
          resolve()
        },
      })
    })
  }

  async status(options: CallOptions = {}): Promise<Readonly<Record<string, unknown>>> {
    const { text } = await this.#ask('json', { kind: 'status' }, options)
    return this.#parse(text) as Readonly<Record<string, unknown>>
  }

  async write(steps: readonly ClientStep[], options: WriteOptions = {}): Promise<WriteReply> {
    return this.#write(steps.map(statementOf), options)
  }

  batch(steps: readonly ClientStep[], options?: WriteOptions): Promise<WriteReply> {
    return this.write(steps, options)
  }

  async #write(statements: readonly SqlStatement[], options: WriteOptions): Promise<WriteReply> {
    const { timeoutMs: _, signal: __, bigint, ...asks } = options
    checkAsks(asks)
    const integers = integersOf(bigint)
    const bigints = integers === 'bigint' ? { bigints: true } : {}
    const body = { kind: 'write', statements, ...asks, ...bigints } as const
    const reply = await this.#ask('results', body, options)
    const { results, position, receipt, replayed = false, valueKept } = reply
    for (const { columns, rows } of results) checkIntegers(columns, rows, integers)
    return { results, position, receipt, replayed, valueKept: !replayed || valueKept === true }
  }

  async transaction<R>(
    body: (tx: ClientTransaction) => R | Promise<R>,
    options: TransactionOptions = {},
  ): Promise<TransactionReply<Awaited<R>>> {
    return runTransaction(this.#calls, body, options)
  }

  async prepare(sql: string, { signal }: CallOptions = {}): Promise<PreparedStatement> {
    const through: PreparedCalls = {
      read: (statement, options) => this.#read(statement, options),
      write: (statement, options) => this.#write([statement], options),
      iterateArrays: (_, options, use) => this.#stream(use, options),
    }
    return prepare(this.#calls, through, sql, signal)
  }

  iterate(sql: string, params?: readonly Value[], options?: IterateOptions): RowStream<Row> {
    return new ObjectStream(this.iterateArrays(sql, params, options))
  }

  iterateArrays(sql: string, parameters: readonly Value[] = [], options: IterateOptions = {}): ArrayStream {
    return this.#stream((use) => use({ sql, parameters }), options)
  }

  #stream(statement: StreamAsks['statement'], options: IterateOptions): ArrayStream {
    return new ArrayStream(this.#calls, streamAsks(this.#calls, options, statement))
  }

  async verdict(receipt: ReceiptReference, options: CallOptions = {}): Promise<ReceiptVerdict> {
    const { text } = await this.#ask('json', { kind: 'verdict', receipt }, options)
    const verdict = this.#parse(text) as ReceiptVerdict
    if (!['committed', 'lost', 'unknown'].includes(verdict.verdict)) throw this.#violation('no verdict')
    return verdict
  }

  async reach(
    receipt: ReceiptReference,
    level: AckLevel,
    count: number,
    options: CallOptions = {},
  ): Promise<ReachReply> {
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs
    const { text } = await this.#ask('json', { kind: 'reach', receipt, level, count, timeoutMs }, options)
    const reply = this.#parse(text) as ReachReply
    if (!Array.isArray(reply.members)) throw this.#violation('no list of followers')
    return reply
  }

  async read(sql: string, params: readonly Value[] = [], options: ReadOptions = {}): Promise<ReadReply> {
    return this.#read({ sql, parameters: params }, options)
  }

  async #read(statement: SqlStatement, options: ReadOptions): Promise<ReadReply> {
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs
    const integers = integersOf(options.bigint)
    const bigints = integers === 'bigint' ? { bigints: true } : {}
    const waitMs = Math.floor(Math.min(options.waitMs ?? timeoutMs, timeoutMs))
    const body = { kind: 'read', statement, ...readAsks(options), ...bigints, timeoutMs: waitMs } as const
    const reply = await this.#ask('results', body, options)
    const [result, ...more] = reply.results
    if (result === undefined || more.length > 0)
      throw this.#violation(`${reply.results.length} results for one statement`)
    checkIntegers(result.columns, result.rows, integers)
    return { ...result, position: reply.position, ...(reply.proof && { proof: reply.proof }) }
  }

  async whoLeads(options: WhoLeadsOptions = {}): Promise<Leadership> {
    const { unlessEpoch, waitMs = 0, ...asked } = options
    // The node waits as long as it was told to; its answer needs time to travel.
    const call = { ...asked, timeoutMs: waitMs + (asked.timeoutMs ?? this.#timeoutMs) }
    const body = { kind: 'whoLeads', ...(unlessEpoch && { unlessEpoch }), waitMs } as const
    const { kind: _, ...leadership } = await this.#ask('leadership', body, call)
    return leadership
  }

  async mark(options: CallOptions = {}): Promise<Position> {
    return (await this.#ask('position', { kind: 'mark' }, options)).position
  }

  async digest(at: Position, options: DigestOptions = {}): Promise<DigestReply> {
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs
    const keep = options.keep === true ? { keep: true } : {}
    const body = { kind: 'digest', at, timeoutMs, ...keep } as const
    const { position, tables } = await this.#ask('digest', body, options)
    return { position, tables }
  }

  async rows(at: Position, table: string, offset: number, options: CallOptions = {}): Promise<TableRows> {
    const { key, columns, rows } = await this.#ask('rows', { kind: 'rows', at, table, offset }, options)
    return { key, columns, rows }
  }

  async release(at: Position, options: CallOptions = {}): Promise<void> {
    await this.#ask('json', { kind: 'release', at }, options)
  }

  async slots(options: CallOptions = {}): Promise<readonly Slot[]> {
    const { text } = await this.#ask('json', { kind: 'slots' }, options)
    const slots = this.#parse(text)
    if (!Array.isArray(slots)) throw this.#violation('a list of slots that is no list')
    return slots as Slot[]
  }

  async exposure(options: ExposureCallOptions = {}): Promise<Exposure> {
    const { after, sinceMs, byChoice = false } = options
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs
    const asked = {
      ...(after && { after }),
      ...(sinceMs !== undefined && { sinceMs: Math.max(0, Math.trunc(sinceMs)) }),
    }
    const body = { kind: 'exposure', ...asked, ...(byChoice && { byChoice }), timeoutMs } as const
    const { text } = await this.#ask('json', body, options)
    const exposure = this.#parse(text) as Exposure | null
    if (!Array.isArray(exposure?.ranges)) throw this.#violation('an exposure without ranges')
    return exposure
  }

  async dropSlot(name: string, options: CallOptions = {}): Promise<void> {
    await this.#ask('json', { kind: 'dropSlot', name }, options)
  }

  async forget(name: string, options: CallOptions = {}): Promise<void> {
    await this.#ask('json', { kind: 'forget', name }, options)
  }

  async switchFormat(format: string, options: CallOptions = {}): Promise<Position> {
    return (await this.#ask('position', { kind: 'switchFormat', format }, options)).position
  }

  async setAcks(rule: string, options: AckChangeOptions = {}): Promise<Position> {
    const { onUnmet, visibility, ackTimeoutMs, acceptLoss = false, ...call } = options
    const body: RequestBody = {
      kind: 'setAcks',
      rule,
      ...(onUnmet !== undefined && { onUnmet }),
      ...(visibility !== undefined && { visibility }),
      ...(ackTimeoutMs !== undefined && { ackTimeoutMs }),
      acceptLoss,
    }
    return (await this.#ask('position', body, call)).position
  }

  promote(options?: PromoteCallOptions): Promise<ChangedLeader> {
    return this.#failover.promote(options)
  }

  switchover(options?: SwitchoverCallOptions): Promise<ChangedLeader> {
    return this.#failover.switchover(options)
  }

  pauseFailover(paused: boolean, options?: CallOptions): Promise<void> {
    return this.#failover.pauseFailover(paused, options)
  }

  decisions(limit?: number, options?: CallOptions): Promise<readonly string[]> {
    return this.#failover.decisions(limit, options)
  }

  async close(): Promise<void> {
    this.#requests.end(
      new UnderstudyError('CLOSED', `This client of ${this.address} was closed. Connect again to ask more.`),
    )
    this.#connection.close()
    await this.ended
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Asks, and returns the answer of that kind. */
  async #ask<K extends ResponseBody['kind']>(
    kind: K,
    body: RequestBody,
    options: CallOptions,
  ): Promise<Extract<ResponseBody, { kind: K }>> {
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs
    checkTimeout(timeoutMs)
    const waitMs = WAITING.has(body.kind) ? timeoutMs + TRAVEL_MS : timeoutMs
    return this.#answer(kind, body, { timeoutMs: waitMs, signal: options.signal })
  }

  async #answer<K extends ResponseBody['kind']>(
    kind: K,
    body: RequestBody,
    waiting: Waiting,
  ): Promise<Extract<ResponseBody, { kind: K }>> {
    const reply = await this.#requests.send(body, waiting)
    if (reply.kind === 'error') throw this.#failure(reply)
    if (reply.kind !== kind) throw this.#violation(`a ${reply.kind} to a ${body.kind}`)
    return reply as Extract<ResponseBody, { kind: K }>
  }

  /** The node's own error, with the record that it names. */
  #failure({ code, message, point, leader }: Extract<ResponseBody, { kind: 'error' }>): UnderstudyError {
    const about = point && {
      position: { epoch: point.epoch, lsn: point.lsn },
      crc: point.crc,
      cluster: this.cluster,
    }
    const where = leader === undefined ? {} : { leader }
    return new UnderstudyError(code, message, { node: this.node, fromPeer: true, ...about, ...where })
  }

  #parse(text: string): unknown {
    try {
      const value: unknown = JSON.parse(text)
      if (typeof value === 'object' && value !== null) return value
    } catch {
      // Said below: the text may be long and is not for people.
    }
    throw this.#violation('text that is no JSON object or list')
  }

  /** Ends the connection: a node that answers one request wrongly cannot be trusted with the others. */
  #violation(what: string): UnderstudyError {
    const error = new UnderstudyError(
      'PROTOCOL_VIOLATION',
      `${this.address} answered with ${what}. The connection was closed; is the node of the same release?`,
    )
    this.#connection.close(error)
    return error
  }

  #message(message: Message): void {
    if (message.type === 'response')
      return this.#requests.answered(message, this.#epochs?.judge(this.node, message.epoch))
    throw new UnderstudyError(
      'PROTOCOL_VIOLATION',
      `${this.address} sent a ${message.type} where only answers have a place. The connection was closed.`,
    )
  }
}

/** What a read asks for beside its statement. Throws `INVALID_ARGUMENT`. */
function readAsks({ after, maxStalenessMs }: ReadOptions): Partial<Extract<RequestBody, { kind: 'read' }>> {
  if (
    maxStalenessMs !== undefined &&
    !(Number.isSafeInteger(maxStalenessMs) && maxStalenessMs > 0 && maxStalenessMs <= LIMITS.durationMsMax)
  )
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `maxStalenessMs is ${maxStalenessMs}; it must be a whole number from 1 to ${LIMITS.durationMsMax}. Nothing was sent.`,
    )
  const { crc, runId } = after ?? {}
  return {
    ...(after && { after: { epoch: after.epoch, lsn: after.lsn } }),
    ...(crc !== undefined && runId !== undefined && { afterProof: { crc, runId } }),
    ...(maxStalenessMs !== undefined && { stalenessMsMax: maxStalenessMs }),
  }
}

function statementOf(step: ClientStep): SqlStatement {
  if ('require' in step) return { sql: '', parameters: [], require: step.require }
  const { sql, params = [], expect, when } = step
  return { sql, parameters: params, ...(expect !== undefined && { expect }), ...(when && { when }) }
}

/** What a call learns when the connection ended. */
function lost(address: string, cause: UnderstudyError | undefined): UnderstudyError {
  if (cause?.code === 'PROTOCOL_VIOLATION') return cause
  const reason = cause === undefined ? '' : ` (${cause.code}: ${cause.message})`
  return new UnderstudyError(
    'CONNECTION_LOST',
    `The connection to ${address} ended${reason}. Nothing waits there any more; connect again.`,
    { cause },
  )
}
