/**
 * Whether a node can be sent work now: a function of its status and of what is asked.
 *
 * Decides: what counts as ready for reads, which on a follower is a matter of how stale they may be, and for writes, which only a leader
 * takes. What is not known makes a node not ready: a follower whose leader is silent may be behind by anything.
 */
import type { NodeStatus } from '@understudy/node'
import type { Reason } from './health.ts'

export interface ReadinessQuestion {
  /** Default: writes for a leader, reads for a follower. */
  readonly for?: 'reads' | 'writes'
  /** Reads: how stale they may be, in milliseconds. */
  readonly stalenessMsMax: number
  /** Writes: for how long the oldest one may have waited, in milliseconds. */
  readonly waitMsMax: number
}

export interface Readiness {
  readonly ready: boolean
  readonly for: 'reads' | 'writes'
  readonly reasons: readonly Reason[]
  /** Reads: how stale they are at most, in milliseconds; `undefined` when nobody knows. 0 on a leader. */
  readonly stalenessMs: number | undefined
}

export const STALENESS_MS_DEFAULT = 10_000
export const WAIT_MS_DEFAULT = 10_000

/** The question of a query string, or what is wrong with it. */
export function readQuestion(query: URLSearchParams): ReadinessQuestion | string {
  const known = new Set(['for', 'stalenessMsMax', 'waitMsMax'])
  for (const name of query.keys()) {
    if (!known.has(name)) return `${name} is no parameter; there are for, stalenessMsMax and waitMsMax.`
    if (query.getAll(name).length > 1) return `${name} is given twice.`
  }
  const what = query.get('for')
  if (what !== null && what !== 'reads' && what !== 'writes') return 'for is neither reads nor writes.'
  const stalenessMsMax = readMs(query.get('stalenessMsMax'), STALENESS_MS_DEFAULT)
  const waitMsMax = readMs(query.get('waitMsMax'), WAIT_MS_DEFAULT)
  if (stalenessMsMax === undefined) return 'stalenessMsMax is no whole number of milliseconds.'
  if (waitMsMax === undefined) return 'waitMsMax is no whole number of milliseconds.'
  return { ...(what !== null && { for: what }), stalenessMsMax, waitMsMax }
}

/** `status`: `undefined` before there is a node. */
export function readinessOf(status: NodeStatus | undefined, question: ReadinessQuestion): Readiness {
  const what = question.for ?? (status?.role === 'leader' ? 'writes' : 'reads')
  if (status === undefined) return notStarted(what)
  const stalenessMs = what === 'reads' ? stalenessOf(status) : undefined
  const reasons = [
    ...stopped(status),
    ...(what === 'writes' ? unwritable(status, question) : unreadable(status, stalenessMs, question)),
  ]
  return { ready: reasons.length === 0, for: what, reasons, stalenessMs }
}

/**
 * What a read could miss at most: while a follower has everything that it heard of, the leader may have committed since it was
 * heard last; else what it lacks is as old as the oldest of it.
 */
export function stalenessOf({ role, following }: NodeStatus): number | undefined {
  if (role === 'leader') return 0
  const { lag, heardMs } = following ?? {}
  if (lag === undefined || heardMs === undefined || lag.ageIsAtLeast) return undefined
  return Math.max(lag.ageMs, heardMs)
}

function stopped({ failure, state }: NodeStatus): Reason[] {
  if (failure !== undefined) return [{ code: failure.code, message: failure.message }]
  if (state === 'closed') return [{ code: 'NODE_CLOSED', message: 'The node is closed.' }]
  return state === 'starting' ? notStarted('reads').reasons.slice() : []
}

function unwritable({ role, state, writes, acks }: NodeStatus, { waitMsMax }: ReadinessQuestion): Reason[] {
  if (role !== 'leader') return [{ code: 'IS_FOLLOWER', message: 'This node is a follower.' }]
  if (state === 'recovering')
    return [{ code: 'RECOVERING', message: 'The end of the log waits for acks since the last start.' }]
  if ((acks?.pendingMs ?? 0) > waitMsMax)
    return [{ code: 'ACKS_MISSING', message: `${acks?.pending} waits for acks of ${acks?.rule}.` }]
  if ((writes?.waitingMs ?? 0) > waitMsMax)
    return [{ code: 'WRITES_WAIT', message: `A write waits for ${Math.round(writes?.waitingMs ?? 0)} ms.` }]
  return []
}

function unreadable(
  { role, state, following }: NodeStatus,
  stalenessMs: number | undefined,
  { stalenessMsMax }: ReadinessQuestion,
): Reason[] {
  if (role === 'leader') return []
  if (following === undefined)
    return [{ code: 'NO_DATA', message: `There is nothing to read yet: the node is ${state}.` }]
  if (stalenessMs === undefined)
    return [{ code: 'STALENESS_UNKNOWN', message: `Nobody knows how stale reads are: the node is ${state}.` }]
  if (stalenessMs <= stalenessMsMax) return []
  return [{ code: 'STALE', message: `Reads may be stale by ${Math.round(stalenessMs)} ms.` }]
}

function notStarted(what: 'reads' | 'writes'): Readiness {
  const reasons = [{ code: 'NOT_STARTED', message: 'The node has not started yet.' }]
  return { ready: false, for: what, reasons, stalenessMs: undefined }
}

function readMs(text: string | null, otherwise: number): number | undefined {
  if (text === null) return otherwise
  return /^\d{1,12}$/.test(text) ? Number(text) : undefined
}
