/** What members say of failover, for people: one line at each change, a table of the cluster. */
import pc from 'picocolors'
import { actionText } from '@understudy/failover'
import type { FailoverStatus, MemberEvent } from '@understudy/node'
import { table } from './output.ts'

/** `undefined`: nothing changed that a person waits for. */
export function describeMemberEvent(event: MemberEvent): string | undefined {
  switch (event.kind) {
    case 'leader':
      return `${pc.bold(event.name)} leads, epoch ${event.epoch}`
    case 'follows':
      return `follows ${pc.bold(event.leader.name)} at ${event.leader.address}, epoch ${event.leader.epoch}`
    case 'steppedDown':
      return `${pc.yellow('stepped down')}: ${event.error.message}`
    case 'trouble':
      return `${pc.yellow(event.error.code)} ${event.error.message}`
    case 'decided':
      return describeDecision(event)
  }
}

/** Steps on the way are in `failover explain`. */
function describeDecision({
  action,
  observed,
  reasons,
}: Extract<MemberEvent, { kind: 'decided' }>): string | undefined {
  const why = whyOf(reasons)
  if (observed !== undefined) return `${pc.yellow('would')} ${actionText(observed)}: ${why}`
  if (action.kind === 'promote') return `decided to ${actionText(action)}`
  if (action.kind === 'refuse')
    return `${pc.yellow('nobody is promoted')}: ${why}${action.help.length === 0 ? '' : `; what helps: ${action.help.join('; ')}`}`
  return action.kind === 'none' && why.startsWith('given up') ? why : undefined
}

/** The last one is what it came to; that nothing is done by one that observes goes without saying. */
function whyOf(reasons: readonly string[]): string {
  return reasons.findLast((reason) => !reason.startsWith('observing only')) ?? 'no reason'
}

export function describeFailover(node: string, status: FailoverStatus): string[] {
  const { leader, leads, leaseMs, verdict, decision, forecast, phase } = status
  const who =
    leader === undefined
      ? 'knows no leader'
      : `${leads ? 'leads' : `follows ${leader.name}`}, epoch ${leader.epoch}`
  const lease = leaseMs === undefined ? '' : `, ${leaseMs} ms of its lease left`
  const lines = [
    `${pc.bold(node)} ${who}${lease}; ${describeCoordinator(status)}`,
    membersTable(status),
    `the leader is held ${verdict.verdict}: ${verdict.reasons.at(-1) ?? 'nothing is known of it'}`,
  ]
  if (phase !== 'idle' && phase !== 'leading') lines.push(`its own promotion is ${phase}`)
  if (decision !== undefined) {
    const { action, observed, reasons, rejected } = decision
    const what = observed === undefined ? actionText(action) : `would ${actionText(observed)}`
    lines.push(`last decision: ${what}: ${whyOf(reasons)}`)
    for (const { name, reason } of rejected) lines.push(`  not ${name}: ${reason}`)
  }
  lines.push(`if the leader died now: ${forecast.summary}`)
  return lines
}

function describeCoordinator({ coordinator, mode }: FailoverStatus): string {
  const { kind, reached, problem, paused } = coordinator
  const state = reached ? kind : `${kind}, ${pc.yellow('not reached')}`
  return [
    `coordinator ${state}${problem === undefined ? '' : ` (${problem})`}`,
    ...(paused ? [pc.yellow('automatic failover is paused')] : []),
    ...(mode === 'observe' ? ['observes only'] : []),
  ].join(', ')
}

function membersTable({ members, leader }: FailoverStatus): string {
  const head = ['member', 'address', 'heard', 'state', 'position', 'promised', 'priority', 'why']
  return table(
    head,
    members.map(({ name, address, heard, reason, state, position, promised, priority, neverPromote }) => [
      name === leader?.name ? `${name} (leads)` : name,
      address,
      heard === 'self' ? 'itself' : heard,
      state ?? 'unknown',
      position ?? 'unknown',
      promised ?? '',
      neverPromote ? 'never' : priority,
      heard === 'suspected' || heard === 'unreachable' ? reason : '',
    ]),
  )
}
