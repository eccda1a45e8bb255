/** Another ack policy for a leader, given as a value or as text: what is not given stays as it is. */
import { UnderstudyError, type LogPoint } from '@understudy/contracts'
import { parsePolicy, type AckPolicy, type CommitPipeline } from '@understudy/replication'
import type { SetAcksOptions } from './api.ts'
import type { Settings } from './options.ts'

/** Throws `INVALID_ARGUMENT` when it contradicts itself, and what `changeAcks` throws. */
export async function setAcks(
  pipeline: CommitPipeline,
  policy: Partial<AckPolicy> | string,
  { acceptLoss, timeoutMs, signal, ...more }: SetAcksOptions,
  { sidecar }: Pick<Settings, 'sidecar'>,
): Promise<LogPoint> {
  if (sidecar !== undefined)
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      'Another program answers the writes of this database, not this node: it cannot wait for acks. Nothing was changed.',
    )
  return pipeline.changeAcks(policyOf(policy, more, pipeline.policy), {
    ...(acceptLoss !== undefined && { acceptLoss }),
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(signal && { signal }),
  })
}

function policyOf(
  policy: Partial<AckPolicy> | string,
  more: Omit<SetAcksOptions, 'acceptLoss' | 'timeoutMs' | 'signal'>,
  { level, of, ...times }: AckPolicy,
): AckPolicy {
  const given = { ...times, ...more }
  if (typeof policy === 'string') return parsePolicy(policy, given)
  const hasRule = policy.level !== undefined || policy.of !== undefined
  const rule = hasRule ? { level: 'durable' as const } : { level, ...(of && { of }) }
  return { ...rule, ...given, ...policy }
}
