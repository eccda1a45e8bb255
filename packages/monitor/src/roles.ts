/**
 * Whether a node has a role: a function of its status, for load balancers that send writes to one node and reads to the others.
 *
 * Decides: the role alone. How well the node does in it (stale reads, missing acks) is readiness.
 */
import type { NodeStatus } from '@understudy/node'
import type { Reason } from './health.ts'

export interface RoleAnswer {
  /** Whether it has the role that was asked for, and works. */
  readonly ok: boolean
  readonly role: 'leader' | 'follower' | undefined
  readonly node: string | undefined
  /** Of the leader that it knows of, with failover. */
  readonly leader: string | undefined
  readonly epoch: number | undefined
  readonly reasons: readonly Reason[]
}

/** `status`: `undefined` before there is a node. */
export function roleOf(status: NodeStatus | undefined, asked: 'leader' | 'follower'): RoleAnswer {
  const reasons = status === undefined ? [NOT_STARTED] : [...stopped(status), ...other(status, asked)]
  return {
    ok: reasons.length === 0,
    role: status?.role,
    node: status?.node,
    leader: status?.failover?.leader?.name,
    epoch: status?.failover?.leader?.epoch,
    reasons,
  }
}

const NOT_STARTED: Reason = Object.freeze({
  code: 'NOT_STARTED',
  message: 'The node has not started yet.',
})

function stopped({ failure, state }: NodeStatus): Reason[] {
  if (failure !== undefined) return [{ code: failure.code, message: failure.message }]
  if (state === 'closed') return [{ code: 'NODE_CLOSED', message: 'The node is closed.' }]
  return state === 'starting' ? [NOT_STARTED] : []
}

function other({ role, state, failover, following }: NodeStatus, asked: 'leader' | 'follower'): Reason[] {
  if (role !== asked)
    return role === 'leader'
      ? [{ code: 'IS_LEADER', message: 'This node leads.' }]
      : [{ code: 'IS_FOLLOWER', message: 'This node is a follower.' }]
  if (asked === 'leader')
    return failover?.leads === false
      ? [{ code: 'NOT_LEADING', message: 'The members do not let this node lead at the moment.' }]
      : []
  if (following !== undefined) return []
  return [{ code: 'NO_DATA', message: `There is nothing to read yet: the node is ${state}.` }]
}
