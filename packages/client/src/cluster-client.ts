/**
 * A client of a cluster: the calls of one node, made wherever they belong.
 *
 * Decides: which calls go to the leader and which to any node, keys of writes, what a session sees. Leaves to others: finding nodes and
 * trying again (router).
 */
import {
  UnderstudyError,
  isUnderstudyError,
  randomId,
  type AckLevel,
  type Exposure,
  type Position,
  type PositionProof,
  type ReceiptReference,
  type ReceiptVerdict,
  type Slot,
} from '@understudy/contracts'
import type { Leadership, TableRows, Value } from '@understudy/protocol'
import type { After } from './after.ts'
import type {
  AckChangeOptions,
  CallOptions,
  Client,
  ClientStep,
  DigestOptions,
  DigestReply,
  ExposureCallOptions,
  ReachReply,
  ReadReply,
  WhoLeadsOptions,
  WriteReply,
} from './client.ts'
import {
  checkMs,
  checkPreference,
  type ClusterClient,
  type ClusterIterateOptions,
  type ClusterReadOptions,
  type ClusterReadReply,
  type ClusterSettings,
  type ClusterTransactionOptions,
  type ClusterTransactionReply,
  type ClusterWriteOptions,
  type ClusterWriteReply,
} from './cluster-options.ts'
import { ClusterSql, type Seen } from './cluster-sql.ts'
import type { NodeClient } from './connect.ts'
import type { SeenEpochs } from './epochs.ts'
import { outcomeOfCommand, outcomeOfRead, outcomeOfWrite, type Outcome } from './outcomes.ts'
import type { Pool } from './pool.ts'
import { prepareText, type PreparedCalls, type PreparedStatement } from './prepared.ts'
import type { NodeCall, Router, Run } from './router.ts'
import type { Preference, Routes } from './routing.ts'
import { ObjectStream, type RowStream } from './row-stream.ts'
import type { Row } from './rows.ts'
import {
  foreignToken,
  formatToken,
  highestOfEach,
  lostToken,
  parseToken,
  Session,
  type Token,
} from './tokens.ts'
import type { ClientTransaction } from './transaction.ts'

export interface ClusterParts {
  readonly settings: ClusterSettings
  readonly routes: Routes
  readonly pool: Pool
  readonly epochs: SeenEpochs
  readonly router: Router
}

export class RoutedClient implements ClusterClient {
  readonly #parts: ClusterParts
  readonly #session = new Session()
  readonly #sql: ClusterSql
  /** Begins every key of this client. */
  readonly #keys: string
  #keyNumber = 0
  #closing: Promise<void> | undefined

  constructor(parts: ClusterParts) {
    this.#parts = parts
    this.#sql = new ClusterSql({
      ...parts,
      highest: (after) => this.#tokens(after).at(-1),
      tokenOf: (seen) => this.#tokenOfReply(seen),
      // What stands below it in other epochs was not judged; the next read does that.
      saw: (token) => this.#saw(token),
      assertHeld: (node, after) => assertHeld(node, this.#tokens(after).slice(0, -1), {}),
      call: (options) => this.#call(options),
    })
    this.#keys = `auto-${randomId(parts.settings.random)}${randomId(parts.settings.random)}`
  }

  get address(): string {
    const { routes, pool } = this.#parts
    const connected = routes.addresses.find((address) => pool.existing(address) !== undefined)
    return routes.leader ?? connected ?? (routes.addresses[0] as string)
  }

  get node(): string {
    return this.#parts.routes.nameOf(this.address)
  }

  get cluster(): string {
    return this.#parts.pool.cluster ?? ''
  }

  get token(): string | undefined {
    const { token } = this.#session
    return token && formatToken(token)
  }

  resetToken(token?: string): void {
    this.#session.reset(token === undefined ? undefined : this.#tokenOf(token))
  }

  batch(steps: readonly ClientStep[], options?: ClusterWriteOptions): Promise<ClusterWriteReply> {
    return this.write(steps, options)
  }

  async transaction<R>(
    body: (tx: ClientTransaction) => R | Promise<R>,
    options: ClusterTransactionOptions = {},
  ): Promise<ClusterTransactionReply<Awaited<R>>> {
    return this.#sql.transaction(body, options)
  }

  prepare(sql: string, options: CallOptions = {}): Promise<PreparedStatement> {
    const calls: PreparedCalls = {
      read: ({ parameters }, { after, ...asks }) =>
        this.read(sql, parameters, { ...asks, ...(after && { after: this.#proven(after) }) }),
      write: ({ parameters }, asks) => this.write([{ sql, params: parameters }], asks),
      iterateArrays: (params, { after, ...asks }) =>
        this.iterateArrays(sql, params, { ...asks, ...(after && { after: this.#proven(after) }) }),
    }
    return prepareText(calls, sql, () => this.#sql.describe(sql, options))
  }

  iterate(sql: string, params?: readonly Value[], options?: ClusterIterateOptions): RowStream<Row> {
    return new ObjectStream(this.iterateArrays(sql, params, options))
  }

  iterateArrays(
    sql: string,
    params: readonly Value[] = [],
    options: ClusterIterateOptions = {},
  ): RowStream<readonly Value[]> {
    return this.#sql.stream(sql, params, options)
  }

  async write(
    statements: readonly ClientStep[],
    options: ClusterWriteOptions = {},
  ): Promise<ClusterWriteReply> {
    const { key: named, retry = true, timeoutMs: _, signal: __, ...asks } = options
    const key = named === false ? undefined : (named ?? this.#ownKey(retry))
    const write = { ...asks, ...(key !== undefined && { key }) }
    const { timeoutMs, signal } = this.#call(options)
    const [reply, node] = await this.#parts.router.onLeader<[WriteReply, string]>(
      async (client, call) => [await client.write(statements, { ...write, ...wholeMs(call) }), client.node],
      {
        timeoutMs,
        signal,
        what: 'write',
        outcomeOf: (error) => withoutRetry(outcomeOfWrite(error), retry),
        isRepeatable: key !== undefined && retry,
        isForwardable: true,
      },
    )
    const { receipt } = reply
    const token = receipt && {
      ...receipt.position,
      crc: receipt.crc,
      runId: receipt.runId,
      cluster: receipt.cluster,
    }
    if (token !== undefined && token.lsn > 0) this.#saw(token)
    return { ...reply, node, token: token && formatToken(token) }
  }

  async read(
    sql: string,
    params: readonly Value[] = [],
    options: ClusterReadOptions = {},
  ): Promise<ClusterReadReply> {
    const { settings, router } = this.#parts
    const { prefer = settings.prefer, maxStalenessMs = settings.maxStalenessMs, after, bigint } = options
    checkPreference(prefer)
    if (maxStalenessMs !== undefined) checkMs('maxStalenessMs', maxStalenessMs, 1)
    const tokens = this.#tokens(after)
    const highest = tokens.at(-1)
    const asks = {
      ...(highest && { after: highest }),
      ...(maxStalenessMs !== undefined && { maxStalenessMs }),
      ...(bigint && { bigint }),
    }
    const run: Run<[ReadReply, string]> = async (client, { timeoutMs, waitMs, signal }) => {
      const ms = Math.max(0, Math.floor(timeoutMs))
      const reply = await client
        .read(sql, params, { ...asks, timeoutMs: ms, waitMs, signal })
        .catch((error: unknown) => {
          throw highest !== undefined && isUnderstudyError(error, 'POSITION_LOST')
            ? lostToken(highest, `the history of ${client.node} holds something else there`, error)
            : error
        })
      await assertHeld(client, tokens.slice(0, -1), { timeoutMs: ms, signal })
      return [reply, client.node]
    }
    const [reply, node] = await router.read(run, { ...this.#call(options), prefer })
    const token = this.#tokenOfReply(reply)
    if (token !== undefined) this.#saw(token, tokens)
    return { ...reply, node, token: token && formatToken(token) }
  }

  async withNode<R>(
    prefer: Preference,
    work: (node: Client) => Promise<R>,
    options: CallOptions = {},
  ): Promise<R> {
    checkPreference(prefer)
    const { timeoutMs, signal } = this.#call(options)
    return work(await this.#parts.router.nodeFor(prefer, timeoutMs, signal))
  }

  // What any node answers

  status(options: CallOptions = {}): Promise<Readonly<Record<string, unknown>>> {
    return this.#onAny((node, call) => node.status(call), options)
  }

  whoLeads(options: WhoLeadsOptions = {}): Promise<Leadership> {
    const { unlessEpoch, waitMs, ...call } = options
    const asks = { ...(unlessEpoch && { unlessEpoch }), ...(waitMs !== undefined && { waitMs }) }
    return this.#onAny((node, each) => node.whoLeads({ ...asks, ...each }), call)
  }

  verdict(receipt: ReceiptReference, options: CallOptions = {}): Promise<ReceiptVerdict> {
    return this.#onAny((node, call) => node.verdict(receipt, call), options)
  }

  // What the leader answers, and changes nothing

  reach(
    receipt: ReceiptReference,
    level: AckLevel,
    count: number,
    options: CallOptions = {},
  ): Promise<ReachReply> {
    return this.#ofLeader(
      'wait for followers',
      (node, call) => node.reach(receipt, level, count, call),
      options,
    )
  }

  digest(at: Position, options: DigestOptions = {}): Promise<DigestReply> {
    const keep = options.keep === true ? { keep: true } : {}
    return this.#ofLeader('digest', (node, call) => node.digest(at, { ...call, ...keep }), options)
  }

  rows(at: Position, table: string, offset: number, options: CallOptions = {}): Promise<TableRows> {
    return this.#ofLeader('page of rows', (node, call) => node.rows(at, table, offset, call), options)
  }

  release(at: Position, options: CallOptions = {}): Promise<void> {
    return this.#ofLeader('release', (node, call) => node.release(at, call), options)
  }

  exposure(options: ExposureCallOptions = {}): Promise<Exposure> {
    const { timeoutMs: _, signal: __, ...asks } = options
    return this.#ofLeader('report', (node, call) => node.exposure({ ...asks, ...call }), options)
  }

  slots(options: CallOptions = {}): Promise<readonly Slot[]> {
    return this.#ofLeader('list of slots', (node, call) => node.slots(call), options)
  }

  // What changes something, and is never done twice

  mark(options: CallOptions = {}): Promise<Position> {
    return this.#command('marker', (node, call) => node.mark(call), options)
  }

  dropSlot(name: string, options: CallOptions = {}): Promise<void> {
    return this.#command('dropping of a slot', (node, call) => node.dropSlot(name, call), options)
  }

  forget(name: string, options: CallOptions = {}): Promise<void> {
    return this.#command('forgetting of a follower', (node, call) => node.forget(name, call), options)
  }

  switchFormat(format: string, options: CallOptions = {}): Promise<Position> {
    return this.#command('change of the format', (node, call) => node.switchFormat(format, call), options)
  }

  setAcks(rule: string, options: AckChangeOptions = {}): Promise<Position> {
    const { timeoutMs: _, signal: __, ...asks } = options
    return this.#command(
      'change of the acks',
      (node, call) => node.setAcks(rule, { ...asks, ...call }),
      options,
    )
  }

  close(): Promise<void> {
    if (this.#closing === undefined) {
      this.#closing = this.#parts.pool.close()
      this.#parts.router.close()
    }
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #onAny<R>(run: (node: NodeClient, call: CallOptions) => Promise<R>, options: CallOptions): Promise<R> {
    const asked = { ...this.#call(options), prefer: 'leader' } as const
    return this.#parts.router.read((node, call) => run(node, wholeMs(call)), asked)
  }

  #ofLeader<R>(
    what: string,
    run: (node: NodeClient, call: CallOptions) => Promise<R>,
    options: CallOptions,
  ): Promise<R> {
    const asked = { what, outcomeOf: outcomeOfRead, isRepeatable: true, isForwardable: false }
    return this.#parts.router.onLeader((node, call) => run(node, wholeMs(call)), {
      ...this.#call(options),
      ...asked,
    })
  }

  #command<R>(
    what: string,
    run: (node: NodeClient, call: CallOptions) => Promise<R>,
    options: CallOptions,
  ): Promise<R> {
    const asked = { what, outcomeOf: outcomeOfCommand, isRepeatable: false, isForwardable: false }
    return this.#parts.router.onLeader((node, call) => run(node, wholeMs(call)), {
      ...this.#call(options),
      ...asked,
    })
  }

  #call({ timeoutMs = this.#parts.settings.timeoutMs, signal }: CallOptions): {
    readonly timeoutMs: number
    readonly signal: AbortSignal | undefined
  } {
    checkMs('timeoutMs', timeoutMs, 0)
    if (signal?.aborted === true)
      throw new UnderstudyError('ABORTED', 'The call was aborted before anything was sent.', {
        cause: signal.reason,
      })
    return { timeoutMs, signal }
  }

  #ownKey(retry: boolean): string | undefined {
    return this.#parts.settings.keys && retry ? `${this.#keys}-${++this.#keyNumber}` : undefined
  }

  #saw(token: Token, implied: readonly Token[] = []): void {
    this.#parts.epochs.raise({ number: token.epoch, runId: token.runId })
    this.#session.saw(token)
    const { token: highest } = this.#session
    // The node that answered holds them, and what it answered.
    this.#session.implied(implied.filter((each) => each.epoch < token.epoch && highest !== each))
  }

  /** What must be seen: of the session, and what is asked for. */
  #tokens(after: ClusterReadOptions['after']): readonly Token[] {
    const given = after === undefined ? [] : [this.#tokenOf(after)]
    return highestOfEach([...(this.#parts.settings.session ? this.#session.tokens : []), ...given])
  }

  #proven({ epoch, lsn, crc, runId }: After): Position & PositionProof {
    if (crc !== undefined && runId !== undefined) return { epoch, lsn, crc, runId }
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      'after is a position alone; any node must be able to tell whether its history holds it. Nothing was sent; give a token, or a receipt.',
    )
  }

  #tokenOf(given: NonNullable<ClusterReadOptions['after']>): Token {
    const token = typeof given === 'string' ? parseToken(given) : { ...given, cluster: this.cluster }
    if (token.cluster !== this.cluster) throw foreignToken(token, this.cluster)
    return token
  }

  #tokenOfReply({ position, proof }: Seen): Token | undefined {
    if (position === undefined || proof === undefined) return undefined
    const { crc, runId } = proof
    return { epoch: position.epoch, lsn: position.lsn, crc, runId, cluster: this.cluster }
  }
}

/** A read that saw the highest token is of a history that has these too, unless they were lost. */
async function assertHeld(client: NodeClient, tokens: readonly Token[], call: CallOptions): Promise<void> {
  for (const { epoch, lsn, ...token } of tokens) {
    const { verdict, reason } = await client.verdict({ ...token, position: { epoch, lsn } }, call)
    if (verdict === 'lost') throw lostToken({ epoch, lsn, ...token }, reason)
  }
}

function wholeMs({ timeoutMs, signal }: NodeCall): CallOptions {
  return { timeoutMs: Math.max(0, Math.floor(timeoutMs)), signal }
}

function withoutRetry(outcome: Outcome, retry: boolean): Outcome {
  return outcome === 'later' && !retry ? 'answer' : outcome
}
