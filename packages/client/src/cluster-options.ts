/** What a client of a cluster is made of: every option, with every default in one place. */
import {
  UnderstudyError,
  systemClock,
  systemRandom,
  type Clock,
  type Position,
  type PositionProof,
  type Random,
  type Transport,
} from '@understudy/contracts'
import { LIMITS, type Credential } from '@understudy/protocol'
import type { CallOptions, Client, ClientStep, ReadReply, WriteOptions, WriteReply } from './client.ts'
import type { FailoverCalls } from './failover-calls.ts'
import type { PreparedStatement } from './prepared.ts'
import type { RowStream } from './row-stream.ts'
import type { Integers, Row } from './rows.ts'
import type { IterateOptions } from './streams.ts'
import type { ClientTransaction, TransactionOptions, TransactionReply } from './transaction.ts'
import { PREFERENCES, type Preference } from './routing.ts'
import type { Value } from '@understudy/protocol'

export interface ClusterOptions {
  /** One for each scheme of the addresses, such as `[tcp(), webSocket()]`. */
  readonly transports?: readonly Transport[]
  /** In place of `transports`, where one is enough. */
  readonly transport?: Transport
  /** Only nodes of this cluster are talked to. Default: that of the first node that answers. */
  readonly cluster?: string
  /** As whom to connect. Default: as nobody, whom only nodes without credentials let in. */
  readonly credential?: Credential
  /** Compress frames when the node wants to, too; needs a credential. Default false. */
  readonly compression?: boolean
  /** Binds authentication to the TLS session. Off only where a reverse proxy ends TLS, and then at both ends. Default true. */
  readonly channelBinding?: boolean
  /** What nodes call this client in their messages. Default `client`. */
  readonly name?: string
  /** Milliseconds for connecting, and for each call that says nothing else, all its tries included. Default 30,000. */
  readonly timeoutMs?: number
  /** Gives up connecting. */
  readonly signal?: AbortSignal
  /**
   * Where reads go that say nothing else: to the `leader`, to a `follower`, to the `nearest` by measured round trip, or to `any` in turn.
   * It is a preference: the others are asked when those do not answer. Default `leader`.
   */
  readonly prefer?: Preference
  /** Reads that say nothing else are answered only by a node that can prove to show nothing older, in milliseconds. Default: any age. */
  readonly maxStalenessMs?: number
  /** Reads see what this client has written and read before, on whatever node. Default true. */
  readonly session?: boolean
  /** Goes on with the session of another client, in this or another process: its `token`. */
  readonly token?: string
  /** Writes that name no key get one of their own, so that they can be sent again after any outcome. Default true. */
  readonly keys?: boolean
  /** A node that does not answer for so long is not waited for alone: reads are sent to another one too, and all are asked who leads. Default 1,000. */
  readonly hedgeAfterMs?: number
  /** Default: real time. */
  readonly clock?: Clock
  /** Default: that of the operating system. */
  readonly random?: Random
}

/** Beside the options of every call. */
export interface ClusterReadOptions extends CallOptions {
  /** Where to read. Default: that of `connect`. */
  readonly prefer?: Preference
  /** A token, or a position with what proves it (a receipt's): the read sees at least that, or is `POSITION_LOST`. */
  readonly after?: string | (Position & PositionProof) | undefined
  /** Default: that of `connect`. */
  readonly maxStalenessMs?: number
  /** What integers become. Default `auto`. */
  readonly bigint?: Integers
}

/** Beside what holds for one node. */
export interface ClusterIterateOptions extends Omit<IterateOptions, 'after'> {
  /** Where to read. Default: that of `connect`. */
  readonly prefer?: Preference
  /** As of a read. */
  readonly after?: ClusterReadOptions['after']
}

export interface ClusterTransactionOptions extends Omit<TransactionOptions, 'after'> {
  /** Read-only: where to read. Default: that of `connect`. */
  readonly prefer?: Preference
  /** Read-only: as of a read. */
  readonly after?: ClusterReadOptions['after']
}

export interface ClusterTransactionReply<R> extends TransactionReply<R> {
  /** Name of the node that ran it. */
  readonly node: string
  /** Position of the write, or what was read. */
  readonly token: string | undefined
}

export interface ClusterWriteOptions extends Omit<WriteOptions, 'key'> {
  /**
   * Names the write: sent again under the same key it is answered as the first time. Default: one of its own. `false`: none; keys cost a
   * row more for each write, and without one an unknown outcome stays unknown.
   */
  readonly key?: string | false
  /** `false`: sent once, without a key of its own; what a node refuses for now is not sent again. Default true. */
  readonly retry?: boolean
}

export interface ClusterReadReply extends ReadReply {
  /** Name of the node that answered. */
  readonly node: string
  /** What this read saw. */
  readonly token: string | undefined
}

export interface ClusterWriteReply extends WriteReply {
  /** Name of the node that answered: the leader, or a follower that sent it on. */
  readonly node: string
  /** Position of the write. */
  readonly token: string | undefined
}

/**
 * A client of a whole cluster. Its calls are those of `Client`; each is made again, elsewhere too, until it is answered or its time is
 * over. What only the leader can do goes to the leader of then. Who is to lead is asked of one node that is meant: `withNode`, or a client of that node.
 */
export interface ClusterClient extends Omit<
  Client,
  'read' | 'write' | 'batch' | 'transaction' | 'prepare' | 'iterate' | 'iterateArrays' | keyof FailoverCalls
> {
  /** Of the leader as far as it is known, else of a node that is connected, else the first that was given. */
  readonly address: string
  /** Name of that node; empty while it is not known. */
  readonly node: string
  /** What this session has seen: a text for another process. `undefined` before it has seen anything. */
  readonly token: string | undefined
  /** All statements as one write, or none, on the leader. */
  write(steps: readonly ClientStep[], options?: ClusterWriteOptions): Promise<ClusterWriteReply>
  /** The same by the name that other clients have for it. */
  batch(steps: readonly ClientStep[], options?: ClusterWriteOptions): Promise<ClusterWriteReply>
  /**
   * On the leader as one write; with `readOnly` on a node by preference as one view. The node is looked for as for any call, until the
   * transaction has begun. After that it is never begun anew: what its callback did elsewhere would be done twice.
   */
  transaction<R>(
    body: (tx: ClientTransaction) => R | Promise<R>,
    options?: ClusterTransactionOptions,
  ): Promise<ClusterTransactionReply<Awaited<R>>>
  /**
   * What a statement is before it runs. Its calls are those of this client: each goes wherever it belongs, so that its text travels. It stays
   * right over reconnects and changes of the leader.
   */
  prepare(sql: string, options?: CallOptions): Promise<PreparedStatement>
  /** One statement on a node by preference, whose rows come as they are used. A stream that breaks off is not begun anew. */
  iterate(sql: string, params?: readonly Value[], options?: ClusterIterateOptions): RowStream<Row>
  /** The same with rows as arrays. */
  iterateArrays(
    sql: string,
    params?: readonly Value[],
    options?: ClusterIterateOptions,
  ): RowStream<readonly Value[]>
  /** One statement, on a node by preference. */
  read(sql: string, params?: readonly Value[], options?: ClusterReadOptions): Promise<ClusterReadReply>
  /** Forgets what this session has seen, or goes on from another token: after `POSITION_LOST`, when the loss is accepted. */
  resetToken(token?: string): void
  /**
   * Runs `work` with a connection to one node, once: for everything that belongs to one connection. The node is found and connected as for
   * a read; what `work` meets is the caller's own. The connection is shared: do not close it.
   */
  withNode<R>(prefer: Preference, work: (node: Client) => Promise<R>, options?: CallOptions): Promise<R>
}

export const TIMEOUT_MS_DEFAULT = 30_000
export const HEDGE_AFTER_MS_DEFAULT = 1_000

/** Options with their defaults. */
export interface ClusterSettings {
  readonly transports: readonly Transport[]
  readonly cluster: string | undefined
  readonly timeoutMs: number
  readonly prefer: Preference
  readonly maxStalenessMs: number | undefined
  readonly session: boolean
  readonly keys: boolean
  readonly hedgeAfterMs: number
  readonly clock: Clock
  readonly random: Random
}

/** Throws `INVALID_ARGUMENT`. */
export function clusterSettings(addresses: readonly string[], options: ClusterOptions): ClusterSettings {
  const { transport, cluster, timeoutMs = TIMEOUT_MS_DEFAULT, prefer = 'leader' } = options
  const { session = true, keys = true, hedgeAfterMs = HEDGE_AFTER_MS_DEFAULT, maxStalenessMs } = options
  if (addresses.length === 0)
    throw invalid('there is no address; give at least one, such as tcp://127.0.0.1:7401')
  const twice = addresses.find((address, index) => addresses.indexOf(address) !== index)
  if (twice !== undefined) throw invalid(`${twice} is given twice; give each address once`)
  checkPreference(prefer)
  checkMs('timeoutMs', timeoutMs, 0)
  checkMs('hedgeAfterMs', hedgeAfterMs, 1)
  if (maxStalenessMs !== undefined) checkMs('maxStalenessMs', maxStalenessMs, 1)
  return {
    transports: options.transports ?? (transport === undefined ? [] : [transport]),
    cluster,
    timeoutMs,
    prefer,
    maxStalenessMs,
    session,
    keys,
    hedgeAfterMs,
    clock: options.clock ?? systemClock(),
    random: options.random ?? systemRandom(),
  }
}

/** Throws `INVALID_ARGUMENT`. */
export function checkPreference(prefer: Preference): void {
  if (!PREFERENCES.includes(prefer))
    throw invalid(`prefer is '${prefer}'; use one of ${PREFERENCES.join(', ')}`)
}

export function checkMs(name: string, ms: number, least: number): void {
  if (Number.isSafeInteger(ms) && ms >= least && ms <= LIMITS.durationMsMax) return
  throw invalid(`${name} is ${ms}; it must be a whole number from ${least} to ${LIMITS.durationMsMax}`)
}

function invalid(what: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `The options of the client: ${what}. Nothing was sent.`)
}
