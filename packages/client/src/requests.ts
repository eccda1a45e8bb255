/**
 * The requests of one connection that wait for their answers.
 *
 * Decides: ids, deadlines, and what a caller learns when no answer comes. Leaves to others: the connection itself, and
 * what an answer means.
 *
 * 1. Each request is answered, times out, is aborted or fails with the connection: exactly one of these, once.
 * 2. A write that was sent and not answered is never reported as failed: `OUTCOME_UNKNOWN`, unless the caller aborted.
 * 3. An answer that comes after its request was given up is dropped; one to a request that never was is a violation.
 */
import { UnderstudyError, type Clock, type EpochStamp, type Timer } from '@understudy/contracts'
import {
  isWriting,
  type Connection,
  type RequestBody,
  type Response,
  type ResponseBody,
} from '@understudy/protocol'

export interface RequestOptions {
  /** Milliseconds until the caller is told that no answer came. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

interface Pending {
  readonly body: RequestBody
  readonly resolve: (body: ResponseBody) => void
  readonly reject: (error: unknown) => void
  readonly timer: Timer
  readonly forget: () => void
}

/** Requests that wait at once on one connection; one more is `OVERLOADED`. */
export const REQUESTS_MAX = 4096

export class Requests {
  readonly #connection: Connection
  readonly #clock: Clock
  readonly #epochs: { readonly seen: EpochStamp | undefined } | undefined
  readonly #pending = new Map<number, Pending>()
  #nextId = 1
  #ended: UnderstudyError | undefined

  /** `epochs`: the highest that was seen goes with every request. */
  constructor(connection: Connection, clock: Clock, epochs?: { readonly seen: EpochStamp | undefined }) {
    this.#connection = connection
    this.#clock = clock
    this.#epochs = epochs
  }

  /** Sends a request; resolves with the body of its answer, which may be an error. */
  send(body: RequestBody, options: RequestOptions): Promise<ResponseBody> {
    const refusal = this.#refusal(options.signal)
    if (refusal !== undefined) return Promise.reject(refusal)
    const id = this.#nextId
    try {
      // False only means that the peer is slow; the limit on requests bounds what waits here.
      const epoch = this.#epochs?.seen
      this.#connection.send({ type: 'request', id, ...(epoch && { epoch }), body })
    } catch (error) {
      return Promise.reject(error)
    }
    this.#nextId += 1
    return new Promise((resolve, reject) => {
      const timer = this.#clock.schedule(options.timeoutMs, () => this.#timedOut(id, options.timeoutMs))
      const onAbort = (): void => this.#aborted(id)
      options.signal?.addEventListener('abort', onAbort, { once: true })
      const forget = (): void => options.signal?.removeEventListener('abort', onAbort)
      this.#pending.set(id, { body, resolve, reject, timer, forget })
    })
  }

  /** Takes an answer, or `refusal` in its place. Throws `PROTOCOL_VIOLATION` when nothing was asked under its id. */
  answered(response: Response, refusal?: UnderstudyError): void {
    if (response.id < 1 || response.id >= this.#nextId)
      throw new UnderstudyError(
        'PROTOCOL_VIOLATION',
        `The node answered request ${response.id}, which was never sent. The connection was closed.`,
      )
    const pending = this.#take(response.id)
    if (pending === undefined) return
    if (refusal === undefined || !isFenced(pending.body, response.body)) return pending.resolve(response.body)
    // What a leader that was replaced says to have done stands in its log, which may be undone.
    const isDone = response.body.kind !== 'error' && isWriting(pending.body)
    pending.reject(isDone ? unknownOutcome(pending.body, refusal.message, refusal) : refusal)
  }

  /** The connection ended: everything that waits fails, and so does what comes later. */
  end(error: UnderstudyError): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    for (const id of this.#pending.keys()) {
      const pending = this.#take(id)
      pending?.reject(isWriting(pending.body) ? unknownOutcome(pending.body, error.message, error) : error)
    }
  }

  #refusal(signal: AbortSignal | undefined): UnderstudyError | undefined {
    if (this.#ended !== undefined) {
      const { code, message } = this.#ended
      return new UnderstudyError(code, `${message} This request was not sent.`, { cause: this.#ended })
    }
    if (signal?.aborted === true)
      return new UnderstudyError('ABORTED', 'The request was aborted before it was sent.', {
        cause: signal.reason,
      })
    if (this.#pending.size >= REQUESTS_MAX)
      return new UnderstudyError(
        'OVERLOADED',
        `${REQUESTS_MAX} requests wait for answers on this connection. This one was not sent; wait for some of them.`,
      )
    return undefined
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id)
    if (pending === undefined) return undefined
    this.#pending.delete(id)
    pending.timer.cancel()
    pending.forget()
    return pending
  }

  #timedOut(id: number, timeoutMs: number): void {
    const pending = this.#take(id)
    if (pending === undefined) return
    const what = `No answer from ${this.#connection.remote} came within ${timeoutMs} ms.`
    if (isWriting(pending.body)) pending.reject(unknownOutcome(pending.body, what, undefined))
    else pending.reject(new UnderstudyError('TIMEOUT', `${what} Nothing was changed by waiting; ask again.`))
  }

  #aborted(id: number): void {
    const pending = this.#take(id)
    if (pending === undefined) return
    const note = isWriting(pending.body) ? ' The write was sent and may be done.' : ''
    pending.reject(new UnderstudyError('ABORTED', `The wait for an answer was aborted.${note}`))
  }
}

/** What a node says of itself, or of who leads, counts whatever its epoch is. */
const UNFENCED: ReadonlySet<RequestBody['kind']> = new Set<RequestBody['kind']>([
  'status',
  'whoLeads',
  'promote',
  'switchover',
  'pauseFailover',
  'decisions',
  'slots',
  'dropSlot',
  'prepare',
  'unprepare',
  'cancel',
])

/** Whether an answer from below the highest epoch must not be used: of errors those that are a verdict on the history. */
function isFenced(asked: RequestBody, answer: ResponseBody): boolean {
  if (answer.kind === 'error') return answer.code === 'POSITION_LOST'
  // What was rolled back is nowhere.
  return asked.kind === 'end' ? asked.commit : !UNFENCED.has(asked.kind)
}

function unknownOutcome(
  { kind }: RequestBody,
  what: string,
  cause: UnderstudyError | undefined,
): UnderstudyError {
  const key = kind === 'write' ? ', or send it again with the key that it had' : ''
  return new UnderstudyError(
    'OUTCOME_UNKNOWN',
    `${what} The write was sent and may be done or not: read before writing it again${key}.`,
    { cause },
  )
}
