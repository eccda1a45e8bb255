/**
 * Reads at a position: which data answers, and when.
 *
 * Decides: how long a read waits for a snapshot and for its position, that it moves along when a follower's data moves
 * to another generation. Leaves to others: whether a position can still come (`AppliedWaiters`), the reading itself.
 */
import { UnderstudyError, formatPosition, isUnderstudyError, type Clock } from '@understudy/contracts'
import { AppliedWaiters, type PositionToken, type WaitOptions } from '@understudy/replication'
import type { ReadOptions } from './api.ts'
import type { FollowerRole, FollowerView } from './follower-role.ts'
import type { NodeData } from './node-data.ts'
import { READ_TIMEOUT_MS } from './options.ts'

/** Where a node's data is at the moment. */
export interface ReadSource {
  readonly name: string
  readonly clock: Clock
  /** The node takes no further reads. */
  isClosing(): boolean
  /** A leader's. */
  data(): NodeData | undefined
  /** A leader's: positions that wait for acks. */
  waiters(): AppliedWaiters | undefined
  following(): FollowerRole | undefined
}

/**
 * Uses the data of a node once it shows `after`; again with newer data when what it had was closed before `use` said
 * that it began. Rejects with `TIMEOUT`, `ABORTED`, `CLOSED`, `POSITION_LOST`, the reason why there is no data, or what
 * `use` rejects with.
 */
export async function withData<R>(
  source: ReadSource,
  options: ReadOptions,
  use: (data: NodeData, began: () => void) => Promise<R>,
): Promise<R> {
  const { clock } = source
  const deadlineMs = clock.monotonic() + (options.timeoutMs ?? READ_TIMEOUT_MS)
  for (;;) {
    let hasBegun = false
    try {
      const data = await dataAt(source, options, deadlineMs)
      return await use(data, () => (hasBegun = true))
    } catch (error) {
      const mayRetry = !hasBegun && !source.isClosing() && isUnderstudyError(error, 'CLOSED')
      if (!mayRetry || clock.monotonic() >= deadlineMs) throw error
    }
  }
}

async function dataAt(
  source: ReadSource,
  { after, signal }: ReadOptions,
  deadlineMs: number,
): Promise<NodeData> {
  const { name, clock } = source
  const leftMs = (): number => Math.max(0, Math.ceil(deadlineMs - clock.monotonic()))
  const data = source.data()
  const role = source.following()
  if (source.isClosing() || (data === undefined && role === undefined)) throw closedError(name)
  if (data !== undefined) {
    const waiting = { timeoutMs: leftMs(), ...(signal && { signal }) }
    if (after !== undefined) await checkWritten(source, data, after, waiting)
    return data
  }
  const view = role?.view ?? (await arrival(source, role as FollowerRole, leftMs(), signal))
  if (after !== undefined)
    await view.following.waitForApplied(after, { timeoutMs: leftMs(), ...(signal && { signal }) })
  return view.data
}

/**
 * A leader shows everything that it acknowledged: a position above the end of its log was never its own. One that waits for acks may
 * come. Of an epoch after its own nobody but the next leader can say anything.
 */
async function checkWritten(
  source: ReadSource,
  { log, storage }: NodeData,
  after: PositionToken,
  waiting: WaitOptions,
): Promise<void> {
  const newest = log.history.at(-1)?.number ?? 0
  if (after.epoch > newest)
    throw new UnderstudyError(
      'EPOCH_STALE',
      `Position ${formatPosition(after)} is of an epoch after ${newest}, which ${source.name} leads: it was replaced, or the position is of another cluster. Nothing was read; ask the leader of now.`,
      { position: { epoch: after.epoch, lsn: after.lsn } },
    )
  if (after.lsn > log.end.lsn) {
    throw new UnderstudyError(
      'POSITION_LOST',
      `Position ${formatPosition(after)} is above everything that leader ${source.name} has written; nothing was read. Is it of another cluster?`,
      { position: { epoch: after.epoch, lsn: after.lsn } },
    )
  }
  await (source.waiters() ?? new AppliedWaiters(log, source.clock, () => storage.applied)).wait(
    after,
    waiting,
  )
}

async function arrival(
  { name, clock }: ReadSource,
  role: FollowerRole,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<FollowerView> {
  const late = Promise.withResolvers<never>()
  const timer = clock.schedule(timeoutMs, () =>
    late.reject(
      new UnderstudyError(
        'TIMEOUT',
        `Node ${name} has no data to read yet: its snapshot is still on the way. Nothing was read; try again later.`,
      ),
    ),
  )
  try {
    return await unlessAborted(Promise.race([role.arrived, late.promise]), signal, readAborted)
  } finally {
    timer.cancel()
  }
}

/** What comes first: the promise, or the reason for the abort. The promise goes on by itself. */
export async function unlessAborted<R>(
  awaited: Promise<R>,
  signal: AbortSignal | undefined,
  reason: () => UnderstudyError,
): Promise<R> {
  if (signal === undefined) return awaited
  const aborted = Promise.withResolvers<never>()
  const onAbort = (): void => aborted.reject(reason())
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([awaited, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

export function closedError(name: string): UnderstudyError {
  return new UnderstudyError('CLOSED', `Node ${name} is closed, or closing; nothing was done.`)
}

function readAborted(): UnderstudyError {
  return new UnderstudyError('ABORTED', 'The wait for data was aborted; nothing was read.')
}
