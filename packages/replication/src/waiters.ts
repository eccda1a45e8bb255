/**
 * Waiting until this node shows a position: reads with a position token.
 *
 * Decides: whether a position can still come, and when it has. Leaves to others: applying.
 */
import {
  UnderstudyError,
  formatPosition,
  type Clock,
  type Log,
  type LogPoint,
  type Position,
  type PositionProof,
  type Timer,
} from '@understudy/contracts'
import { asFailure } from './failures.ts'
import { holdsPosition } from './handshake.ts'

export interface WaitOptions {
  /** Default 10,000. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/**
 * A position token. With the CRC of a receipt a history that lost the record is told apart for certain, with the run id of its
 * epoch also before it has come as far.
 */
export interface PositionToken extends Position, Partial<PositionProof> {}

interface Waiter {
  readonly token: PositionToken
  settle(error: UnderstudyError | undefined): void
}

export class AppliedWaiters {
  readonly #log: Log
  readonly #clock: Clock
  readonly #applied: () => LogPoint
  readonly #waiters = new Set<Waiter>()
  #failure: UnderstudyError | undefined

  constructor(log: Log, clock: Clock, applied: () => LogPoint) {
    this.#log = log
    this.#clock = clock
    this.#applied = applied
  }

  /**
   * Resolves once the position is applied here. Rejects with `TIMEOUT`, `ABORTED`, `CLOSED`, `POSITION_LOST` when
   * this node's history holds another record there, or with what applying stopped for, when it never will be.
   */
  async wait(token: PositionToken, options: WaitOptions = {}): Promise<void> {
    const verdict = this.#judge(token)
    if (verdict === 'applied') return
    if (verdict !== 'wait') throw verdict
    if (this.#failure !== undefined) throw this.#failure
    if (options.signal?.aborted === true) throw aborted(options.signal)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const { signal, timeoutMs = 10_000 } = options
    let timer: Timer | undefined
    const onAbort = (): void => waiter.settle(aborted(signal))
    const waiter: Waiter = {
      token,
      settle: (error) => {
        this.#waiters.delete(waiter)
        timer?.cancel()
        signal?.removeEventListener('abort', onAbort)
        if (error === undefined) resolve()
        else reject(error)
      },
    }
    this.#waiters.add(waiter)
    signal?.addEventListener('abort', onAbort, { once: true })
    timer = this.#clock.schedule(timeoutMs, () => waiter.settle(this.#late(token, timeoutMs)))
    return promise
  }

  /** The applied position, or the history, changed. */
  notify(): void {
    for (const waiter of this.#waiters) {
      const verdict = this.#judge(waiter.token)
      if (verdict !== 'wait') waiter.settle(verdict === 'applied' ? undefined : verdict)
    }
  }

  /** Nothing more will be applied. */
  fail(error: UnderstudyError): void {
    this.#failure ??= error
    for (const waiter of this.#waiters) waiter.settle(this.#failure)
  }

  close(): void {
    const error = new UnderstudyError(
      'CLOSED',
      'The node is closing; the position may still be reached after a restart.',
    )
    for (const waiter of this.#waiters) waiter.settle(error)
  }

  #judge(token: PositionToken): 'applied' | 'wait' | UnderstudyError {
    try {
      return this.#compare(token)
    } catch (error) {
      return asFailure(error, 'LOG_FAILED', 'The log could not be read')
    }
  }

  #compare(token: PositionToken): 'applied' | 'wait' | UnderstudyError {
    const applied = this.#applied()
    const { history, end } = this.#log
    // Of an epoch that began elsewhere: what stands here in its place will be undone.
    if (token.lsn > 0 && token.epoch > (history.at(-1)?.number ?? 0)) return 'wait'
    const isOtherRun =
      token.runId !== undefined &&
      history.some(({ number, runId }) => number === token.epoch && runId !== token.runId)
    const holds = !isOtherRun && holdsPosition(history, end, token.epoch, token.lsn)
    const isHere = token.lsn <= applied.lsn
    const crc = isHere && token.crc !== undefined ? this.#log.crcAt(token.lsn) : undefined
    if (holds === false || (crc !== undefined && crc !== token.crc)) {
      return new UnderstudyError(
        'POSITION_LOST',
        `Position ${formatPosition(token)} is not in the history of this node: a failover lost it, or it is of another cluster. Nothing was read; look at the lost tail of the old leader.`,
        { position: { epoch: token.epoch, lsn: token.lsn } },
      )
    }
    return isHere ? 'applied' : 'wait'
  }

  #late(token: PositionToken, timeoutMs: number): UnderstudyError {
    return new UnderstudyError(
      'TIMEOUT',
      `This node did not reach position ${formatPosition(token)} within ${timeoutMs} ms; it is at ${formatPosition(this.#applied())}. Nothing was read; try again, or read on the leader.`,
      { position: { epoch: token.epoch, lsn: token.lsn }, timeoutMs },
    )
  }
}

function aborted(signal: AbortSignal | undefined): UnderstudyError {
  return new UnderstudyError('ABORTED', 'The wait for a position was aborted; nothing was read.', {
    cause: signal?.reason,
  })
}
