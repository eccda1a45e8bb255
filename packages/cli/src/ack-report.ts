/** What a leader says of acks, as text. */
import type { NodeStatus } from '@understudy/node'

type Acks = NonNullable<NodeStatus['acks']>

/** One line. */
export function describeAcks({
  rule,
  effective,
  degraded,
  change,
  pending,
  pendingMs,
  onUnmet,
}: Acks): string {
  const force = degraded ? `in force only ${effective}` : 'in force'
  const waits = pending === undefined ? 'nothing waits' : `${pending} waits for ${Math.round(pendingMs)} ms`
  const turns = change === undefined ? '' : `, ${describeChange(change)}`
  return `${rule}, ${force}${turns}, ${waits}, on unmet ${onUnmet}`
}

function describeChange({ to, missing }: NonNullable<Acks['change']>): string {
  const lacks = missing.length === 0 ? '' : `, missing: ${missing.join(', ')}`
  return `changing to ${to}${lacks}`
}
