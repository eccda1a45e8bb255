/**
 * Getting the end of a log from a member whose log is at rest, before this node leads.
 *
 * Decides: when enough has come, what ends it. Leaves to others: which member has it (failover), the checks of records (log), the
 * other side (tail-server).
 *
 * Validity conditions:
 * 1. It only goes on from the end of this log: a member that says anything else than `continue` is not the one that was chosen.
 * 2. The log checks CRC chain, LSNs and epochs of each record; both histories are compared before anything is taken.
 * 3. What it resolves with is durable. What came before it rejects is kept, and becomes durable with the next sync.
 * 4. What it tells of its progress keeps the window open, and acknowledges nothing: the member leads nobody.
 */
import {
  UnderstudyError,
  isUnderstudyError,
  type Clock,
  type Log,
  type LogFormat,
  type Lsn,
} from '@understudy/contracts'
import type { Message, Records, Welcome } from '@understudy/protocol'
import { asFailure } from './failures.ts'
import { findHistoryFault } from './handshake.ts'
import { helloForRecords } from './hello.ts'
import { LINK_LIMITS, withDefaults, type LinkLimits } from './limits.ts'
import type { Link } from './sender.ts'
import { Silence } from './silence.ts'
import { Ticker } from './ticker.ts'

export interface FetchTailOptions<C> {
  /** Makes a connection on which nothing was said yet. */
  readonly dial: (signal: AbortSignal) => Promise<Link>
  readonly log: Log
  readonly formats: readonly LogFormat<C>[]
  readonly connection: C
  /** Name of this node. */
  readonly node: string
  readonly cluster: string
  readonly clock: Clock
  readonly limits?: Partial<LinkLimits>
  readonly signal: AbortSignal
}

/**
 * Resolves once everything up to `upTo` is durable here. Rejects with `FOLLOWER_AHEAD` when that member has not what this log goes on
 * with, `ABORTED`, `PEER_SILENT`, `EPOCH_FORK`, `LOG_GAP`, `FOREIGN_CLUSTER`, or what ended the connection.
 */
export async function fetchTail<C>(options: FetchTailOptions<C>, upTo: Lsn): Promise<void> {
  const { log, signal, dial } = options
  await log.sync()
  if (log.durable >= upTo) return
  const link = await dial(signal)
  await new TailFetch(options, link, upTo).done
  await log.sync()
}

class TailFetch<C> {
  readonly #options: FetchTailOptions<C>
  readonly #link: Link
  readonly #upTo: Lsn
  readonly #outcome = Promise.withResolvers<void>()
  readonly #silence: Silence
  readonly #ticker: Ticker
  #isGreeted = false
  #isSyncing = false
  #isOver = false

  constructor(options: FetchTailOptions<C>, link: Link, upTo: Lsn) {
    const { clock, limits, signal } = options
    const { heartbeatMs, deadlineMs } = withDefaults(LINK_LIMITS, limits)
    this.#options = options
    this.#link = link
    this.#upTo = upTo
    this.#silence = new Silence(deadlineMs, heartbeatMs, clock.monotonic())
    this.#ticker = new Ticker(clock, heartbeatMs, () => this.#tick())
    signal.addEventListener('abort', this.#aborted, { once: true })
    if (signal.aborted) {
      this.#aborted()
      return
    }
    link.start({
      message: (message) => this.#onMessage(message),
      drained: () => undefined,
      closed: (error) => this.#end(error ?? lost(link.remote)),
    })
    link.send(helloForRecords(options, options.connection))
  }

  get done(): Promise<void> {
    return this.#outcome.promise
  }

  readonly #aborted = (): void => this.#end(aborted(this.#options.signal))

  #onMessage(message: Message): void {
    this.#silence.heard(this.#options.clock.monotonic())
    try {
      if (message.type === 'welcome' && !this.#isGreeted) this.#onWelcome(message)
      else if (message.type === 'records' && this.#isGreeted) this.#onRecords(message)
      else if (message.type !== 'heartbeat' || !this.#isGreeted)
        throw new UnderstudyError('PROTOCOL_VIOLATION', `The member sent a ${message.type} out of turn.`)
    } catch (error) {
      this.#end(asFailure(error, 'LOG_FAILED', 'Records could not be appended'))
    }
  }

  #onWelcome({ cluster, history, node, verdict }: Welcome): void {
    const { log, cluster: own } = this.#options
    if (cluster !== own)
      throw new UnderstudyError(
        'FOREIGN_CLUSTER',
        `${node} belongs to cluster ${cluster}, this node to ${own}. Nothing was taken from it.`,
      )
    const fault = findHistoryFault(log.history, history, node)
    if (fault !== undefined) throw new UnderstudyError(fault.code, fault.message)
    if (verdict.kind !== 'continue' || verdict.from !== log.end.lsn + 1)
      throw new UnderstudyError(
        'FOLLOWER_AHEAD',
        `${node} does not go on from the end of this log, at LSN ${log.end.lsn}: ${verdict.kind}. Nothing was changed.`,
      )
    this.#isGreeted = true
    this.#ack()
  }

  #onRecords({ bytes }: Records): void {
    const { log } = this.#options
    log.appendEncoded(bytes)
    if (log.end.lsn >= this.#upTo) return this.#end(undefined)
    void this.#sync()
  }

  /** The window opens by what is durable here. */
  async #sync(): Promise<void> {
    if (this.#isSyncing) return
    this.#isSyncing = true
    try {
      await this.#options.log.sync()
      this.#isSyncing = false
      if (!this.#isOver) this.#ack()
    } catch (error) {
      this.#end(asFailure(error, 'LOG_FAILED', 'The log could not be made durable'))
    }
    if (!this.#isOver && this.#options.log.durable < this.#options.log.end.lsn) void this.#sync()
  }

  #ack(): void {
    const { epoch, lsn: received } = this.#options.log.end
    const { durable } = this.#options.log
    this.#link.send({ type: 'ack', epoch, received, durable, applied: 0 })
  }

  #tick(): void {
    const silentMs = this.#silence.tick(this.#options.clock.monotonic())
    if (silentMs !== undefined) this.#end(silent(silentMs))
    else if (this.#isGreeted) this.#ack()
  }

  #end(error: UnderstudyError | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#ticker.stop()
    this.#options.signal.removeEventListener('abort', this.#aborted)
    this.#link.close()
    if (error === undefined) this.#outcome.resolve()
    else this.#outcome.reject(isUnderstudyError(error) ? error : lost(this.#link.remote))
  }
}

function lost(remote: string): UnderstudyError {
  return new UnderstudyError(
    'CONNECTION_LOST',
    `The connection with ${remote} ended before all records had come. What came is kept; ask again.`,
  )
}

function silent(silentMs: number): UnderstudyError {
  return new UnderstudyError(
    'PEER_SILENT',
    `The member sent nothing for ${Math.round(silentMs)} ms. What came is kept; ask again.`,
    { silentMs },
  )
}

function aborted(signal: AbortSignal): UnderstudyError {
  return new UnderstudyError('ABORTED', 'Fetching the end of the log was given up. What came is kept.', {
    cause: signal.reason,
  })
}
