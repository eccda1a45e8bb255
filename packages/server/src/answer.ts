/**
 * One request in, the body of its one response out.
 *
 * Decides which handler answers and that a result fits into a response. Leaves order, concurrency and sending to serve.ts.
 */
import { formatPosition, type EpochStamp, type Position } from '@understudy/contracts'
import {
  isSqlRequest,
  isWriting,
  type Request,
  type RequestBody,
  type ResponseBody,
  type ResultSet,
  type Role,
  type SqlRequestBody,
  type Value,
} from '@understudy/protocol'
import { assertMayAsk, mayRead, withoutRows } from './access.ts'
import { assertCurrent } from './epochs.ts'
import { describeFailure, failure, type Failure } from './failures.ts'
import type { ClientHandlers, ResultLimits } from './handlers.ts'
import type { Kept } from './kept.ts'
import type { ServerLimits } from './limits.ts'

export interface AnswerContext {
  readonly handlers: ClientHandlers
  readonly limits: ServerLimits
  /** What is kept for this client. */
  readonly kept: Kept
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal
  /** Of the client; absent when it may do everything. */
  readonly roles?: ReadonlySet<Role>
  /** Name of the client's credential. */
  readonly author?: string
  /** The newest epoch of the node. */
  readonly epoch?: () => EpochStamp | undefined
  /** Gets errors that are defects. */
  readonly unexpected: (error: unknown) => void
}

/** Never rejects. */
export async function answerRequest(
  { body, epoch }: Pick<Request, 'body' | 'epoch'>,
  context: AnswerContext,
): Promise<ResponseBody> {
  try {
    assertMayAsk(body, context.roles)
    if (epoch !== undefined) assertCurrent(body, epoch, context.epoch?.())
    return await dispatch(body, epoch, context)
  } catch (error) {
    return describeFailure(error, isWriting(body) ? 'write' : 'other', context.unexpected)
  }
}

async function dispatch(
  body: RequestBody,
  epoch: EpochStamp | undefined,
  context: AnswerContext,
): Promise<ResponseBody> {
  const { handlers, limits, signal } = context
  if (isSqlRequest(body)) return keptAnswer(body, context)
  switch (body.kind) {
    case 'status':
      return json(await handlers.status())
    case 'write':
      return write(body, epoch, context)
    case 'read':
      return read(body, context)
    case 'whoLeads': {
      const { unlessEpoch } = body
      const waitMs = Math.min(body.waitMs, limits.timeoutMsMax)
      return { kind: 'leadership', ...(await handlers.whoLeads({ unlessEpoch, waitMs, signal })) }
    }
    case 'mark':
      return { kind: 'position', position: await handlers.mark() }
    case 'digest': {
      const timeoutMs = Math.min(body.timeoutMs, limits.timeoutMsMax)
      const { position, tables } = await handlers.digest(body.at, {
        timeoutMs,
        signal,
        keep: body.keep === true,
      })
      return { kind: 'digest', position, tables }
    }
    case 'rows': {
      const page = await handlers.rows(body.at, body.table, body.offset)
      const excess = excessOf([{ ...page, changes: 0 }], limits)
      return excess === undefined ? { kind: 'rows', ...page } : tooLarge(excess, undefined, 'read')
    }
    case 'verdict':
      return json(await handlers.verdict(body.receipt))
    case 'reach': {
      const { receipt, level, count } = body
      const timeoutMs = Math.min(body.timeoutMs, limits.timeoutMsMax)
      return json(await handlers.reach(receipt, { level, count, timeoutMs, signal }))
    }
    case 'release':
      await handlers.release(body.at)
      return json(null)
    case 'slots':
      return json(await handlers.slots())
    case 'exposure': {
      const { after, sinceMs, byChoice } = body
      const asked = { ...(after && { after }), ...(sinceMs !== undefined && { sinceMs }) }
      const timeoutMs = Math.min(body.timeoutMs, limits.timeoutMsMax)
      return json(await handlers.exposure({ ...asked, ...(byChoice && { byChoice }), timeoutMs, signal }))
    }
    case 'switchFormat':
      return { kind: 'position', position: await handlers.switchFormat(body.format) }
    case 'setAcks':
      return { kind: 'position', position: await handlers.setAcks(body) }
    case 'forget':
      await handlers.forget(body.name)
      return json(null)
    case 'promote':
    case 'switchover':
    case 'pauseFailover':
    case 'decisions':
      return json(await failover(body, context))
    case 'dropSlot':
      await handlers.dropSlot(body.name)
      return json(null)
  }
}

/** A result in a transaction that does not fit leaves the transaction as the statement left it. */
async function keptAnswer(body: SqlRequestBody, { kept, limits }: AnswerContext): Promise<ResponseBody> {
  const answer = await kept.answer(body)
  if (answer.kind !== 'results') return answer
  const excess = excessOf(answer.results, limits)
  if (excess === undefined) return answer
  return failure(
    'RESULT_TOO_LARGE',
    `The statement ran, but its result has ${excess}. The transaction is as it left it. Ask for fewer rows or columns at a time.`,
  )
}

/** About who leads. */
async function failover(
  body: Extract<RequestBody, { kind: 'promote' | 'switchover' | 'pauseFailover' | 'decisions' }>,
  { handlers, limits }: AnswerContext,
): Promise<object> {
  if (body.kind === 'decisions')
    return handlers.decisions({ limit: body.limit, bytesMax: limits.decisionsBytesMax })
  if (body.kind === 'pauseFailover') {
    await handlers.pauseFailover(body.paused)
    return { paused: body.paused }
  }
  const timeoutMs = Math.min(body.timeoutMs, limits.timeoutMsMax)
  const asked = { ...(body.target !== undefined && { target: body.target }), timeoutMs }
  if (body.kind === 'switchover') return handlers.switchover(asked)
  return handlers.promote({ ...asked, acceptLoss: body.acceptLoss })
}

async function write(
  body: Extract<RequestBody, { kind: 'write' }>,
  epoch: EpochStamp | undefined,
  { handlers, limits, roles, kept, author = '' }: AnswerContext,
): Promise<ResponseBody> {
  const { kind: _, statements, ...asks } = body
  const ackTimeoutMs = asks.ackTimeoutMs && { ackTimeoutMs: Math.min(asks.ackTimeoutMs, limits.timeoutMsMax) }
  const request = { ...asks, ...ackTimeoutMs, ...(epoch && { epoch }), author, ...resultLimits(limits) }
  const { results, position, ...says } = await handlers.write(
    statements.map((statement) => kept.resolved(statement)),
    request,
  )
  const answer = fit(mayRead(roles) ? results : results.map(withoutRows), position, limits, 'write')
  return answer.kind === 'results' ? { ...answer, ...says } : answer
}

async function read(
  body: Extract<RequestBody, { kind: 'read' }>,
  { handlers, limits, kept, signal }: AnswerContext,
): Promise<ResponseBody> {
  const { after, afterProof, stalenessMsMax, timeoutMs, bigints } = body
  const { result, position, proof } = await handlers.read(kept.resolved(body.statement), {
    after: after && { ...after, ...afterProof },
    ...(stalenessMsMax !== undefined && { stalenessMsMax }),
    timeoutMs: Math.min(timeoutMs, limits.timeoutMsMax),
    ...resultLimits(limits),
    ...(bigints === true && { bigints }),
    signal,
  })
  const answer = fit([result], position, limits, 'read')
  return answer.kind === 'results' && proof !== undefined ? { ...answer, proof } : answer
}

function resultLimits({ rowsMax, resultBytesMax }: ServerLimits): ResultLimits {
  return { rowsMax, bytesMax: resultBytesMax }
}

function json(value: unknown): ResponseBody {
  const text = JSON.stringify(value, (_, field: unknown) =>
    typeof field === 'bigint' ? String(field) : field,
  )
  return { kind: 'json', text }
}

/** The results as a body, or the error that they are too large to be one. */
function fit(
  results: readonly ResultSet[],
  position: Position | undefined,
  limits: ServerLimits,
  request: 'read' | 'write',
): ResponseBody {
  const excess = excessOf(results, limits)
  if (excess !== undefined) return tooLarge(excess, position, request)
  return position === undefined ? { kind: 'results', results } : { kind: 'results', results, position }
}

/** The answer in place of a result that fits into no response. A write that made it is done, and the message says so. */
export function tooLarge(excess: string, position: Position | undefined, request: 'read' | 'write'): Failure {
  const advice = 'Ask for fewer rows or columns at a time.'
  if (request === 'read') return failure('RESULT_TOO_LARGE', `The result has ${excess}. ${advice}`)
  const where =
    position === undefined ? 'The write was done' : `The write was done at ${formatPosition(position)}`
  return failure('RESULT_TOO_LARGE', `${where}, but its result has ${excess}. Do not repeat it. ${advice}`)
}

function excessOf(results: readonly ResultSet[], limits: ServerLimits): string | undefined {
  let rows = 0
  let bytes = 0
  for (const result of results) {
    rows += result.rows.length
    if (rows > limits.rowsMax) return `more than ${limits.rowsMax} rows`
    for (const column of result.columns) bytes += Buffer.byteLength(column)
    for (const row of result.rows) {
      for (const value of row) bytes += valueBytes(value)
      if (bytes > limits.resultBytesMax) return `more than ${limits.resultBytesMax} bytes`
    }
  }
  return bytes > limits.resultBytesMax ? `more than ${limits.resultBytesMax} bytes` : undefined
}

/** Bytes on the wire, at most a few more than they are. */
function valueBytes(value: Value): number {
  if (typeof value === 'string') return Buffer.byteLength(value)
  if (value instanceof Uint8Array) return value.byteLength
  return 8
}
