/**
 * What each ack policy costs on a fast network: commits/s, latency and processor time with 1, 64 and 256 callers, a leader and two
 * followers over loopback, each policy on a cluster of its own.
 */
import { ACK_FIGURE_NAMES, type AckFigureName } from '../acks/figures.ts'
import { measurePolicies } from '../acks/measure.ts'
import { POLICY_NAMES, WRITERS } from '../acks/policies.ts'
import type { PolicySamples } from '../acks/rates.ts'
import type { AckScenario } from '../acks/run.ts'
import { median } from '../statistics.ts'

export const ackPolicies: AckScenario = async (context) => {
  const { samples } = await measurePolicies('policies', WRITERS, context)
  return {
    figures: policyFigures(samples),
    details: { policies: samples.rates(context.settings.policies, WRITERS) },
  }
}

/** Medians of the ratios of each round. */
export function policyFigures(samples: PolicySamples): Partial<Record<AckFigureName, number>> {
  const figures: Partial<Record<AckFigureName, number>> = {}
  for (const policy of POLICY_NAMES) {
    if (policy === 'async') continue
    for (const writers of WRITERS) {
      const name: AckFigureName = `${policy}VsAsync${writers}`
      const values = samples.vsAsync(policy, writers)
      if (values !== undefined && ACK_FIGURE_NAMES.includes(name)) figures[name] = median(values)
    }
  }
  return figures
}
