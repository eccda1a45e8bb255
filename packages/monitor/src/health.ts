/**
 * Whether a node lives: a function of its status.
 *
 * Decides: what a restart may mend, and only that. A follower without a leader, a rule that nobody acknowledges, a write that waits for acks: those
 * are no reasons, because a restart would make none of them better; readiness tells them.
 */
import type { NodeStatus } from '@understudy/node'

export interface Reason {
  /** Stable, for machines: a code of an error, or `NODE_CLOSED`, `WRITES_STALLED`. */
  readonly code: string
  readonly message: string
}

export interface Health {
  readonly healthy: boolean
  /** What the node is doing; `starting` before there is one. */
  readonly state: string
  /** `undefined` before there is a node. */
  readonly role: NodeStatus['role'] | undefined
  /** Why it is not healthy. */
  readonly reasons: readonly Reason[]
  /** What a person should look at, though the node works. */
  readonly warnings: readonly Reason[]
}

/** A write that waits for longer than this, and not for acks, means that the disk or the pipeline stands still. */
export const STALL_MS_MAX = 30_000
/** A certificate is told of a month before it ends. */
const EXPIRY_MS = 30 * 24 * 3600 * 1000

/** `status`: `undefined` before there is a node. `nowMs`: wall clock. */
export function healthOf(status: NodeStatus | undefined, nowMs: number): Health {
  if (status === undefined)
    return { healthy: true, state: 'starting', role: undefined, reasons: [], warnings: [] }
  const reasons = reasonsOf(status)
  return {
    healthy: reasons.length === 0,
    state: status.state,
    role: status.role,
    reasons,
    warnings: warningsOf(status, nowMs),
  }
}

function reasonsOf({ state, failure, writes, acks }: NodeStatus): Reason[] {
  if (failure !== undefined) return [{ code: failure.code, message: failure.message }]
  if (state === 'closed') return [{ code: 'NODE_CLOSED', message: 'The node is closed.' }]
  const waitsForAcks = acks?.pending !== undefined
  if (writes === undefined || writes.waitingMs <= STALL_MS_MAX || waitsForAcks) return []
  return [
    {
      code: 'WRITES_STALLED',
      message: `A write has waited for ${Math.round(writes.waitingMs)} ms, and not for acks: the disk, or the process, stands still.`,
    },
  ]
}

function warningsOf(status: NodeStatus, nowMs: number): Reason[] {
  const { acks, certificate, credentialsProblem, absentFollowers = [] } = status
  const found: Reason[] = []
  if (acks?.degraded === true)
    found.push({
      code: 'ACKS_DEGRADED',
      message: `The rule in force is ${acks.effective}, not ${acks.rule}.`,
    })
  if (certificate !== undefined && Date.parse(certificate.expires) < nowMs + EXPIRY_MS)
    found.push({ code: 'CERTIFICATE_EXPIRES', message: `The certificate ends at ${certificate.expires}.` })
  if (certificate?.problem !== undefined)
    found.push({ code: 'CERTIFICATE_NOT_TAKEN', message: certificate.problem })
  if (credentialsProblem !== undefined)
    found.push({ code: credentialsProblem.code, message: credentialsProblem.message })
  for (const { name, slot } of absentFollowers)
    if (slot.state === 'lost')
      found.push({
        code: 'FOLLOWER_LOST_SLOT',
        message: `The log is no longer kept for ${name}: it must bootstrap again.`,
      })
  return [...found, ...failoverWarnings(status)]
}

/** A cluster that works, and would not stand what it was made to stand. */
function failoverWarnings({ failover }: NodeStatus): Reason[] {
  if (failover === undefined) return []
  const { leader, coordinator, mode, forecast } = failover
  const found: Reason[] = []
  if (leader === undefined) found.push({ code: 'NO_LEADER', message: 'No leader is known.' })
  if (!coordinator.reached)
    found.push({
      code: 'COORDINATOR_NOT_REACHED',
      message: coordinator.problem ?? `The coordinator (${coordinator.kind}) is not reached.`,
    })
  if (coordinator.paused)
    found.push({ code: 'FAILOVER_PAUSED', message: 'Automatic failover is paused: nobody is promoted.' })
  if (mode === 'observe')
    found.push({ code: 'FAILOVER_OBSERVES', message: 'This node decides about who leads, and does nothing.' })
  if (leader !== undefined && forecast.outcome !== 'promote')
    found.push({ code: 'NO_FAILOVER', message: `If the leader died now: ${forecast.summary}` })
  return found
}
