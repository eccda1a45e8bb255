/**
 * What each ack policy costs on a slow network: 64 and 256 callers, with a relay between the leader and its two followers that
 * adds to each round trip.
 */
import path from 'node:path'
import { AckClusters } from '../acks/clusters.ts'
import type { AckFigureName } from '../acks/figures.ts'
import { ROUND_TRIPS_MS, type AckSettings } from '../acks/options.ts'
import { DELAYED_WRITERS } from '../acks/policies.ts'
import type { RatesByPolicy } from '../acks/rates.ts'
import type { AckScenario } from '../acks/run.ts'
import type { Latency } from '../processes/load.ts'
import type { ScenarioContext } from '../scenario.ts'

/** With one added round trip. */
export interface DelayedRates {
  readonly policies: RatesByPolicy
  /** How long the relay held bytes on their way in one direction, in milliseconds: half of the round trip, and what it was late. */
  readonly heldMs: Readonly<Record<string, Latency>>
}

export const ackDelays: AckScenario = async (context) => {
  const { settings, reporter } = context
  const steps = AckClusters.steps(settings.policies, DELAYED_WRITERS, settings.rounds)
  reporter.begin('delays', ROUND_TRIPS_MS.length * steps)
  const figures: Partial<Record<AckFigureName, number>> = {}
  const details: Record<string, DelayedRates> = {}
  for (const roundTripMs of ROUND_TRIPS_MS)
    details[`${roundTripMs}ms`] = await measureDelay(roundTripMs, context, figures)
  reporter.end()
  return { figures, details }
}

async function measureDelay(
  roundTripMs: (typeof ROUND_TRIPS_MS)[number],
  context: ScenarioContext<AckSettings>,
  figures: Partial<Record<AckFigureName, number>>,
): Promise<DelayedRates> {
  const { settings, directory } = context
  const { policies } = settings
  await using clusters = await AckClusters.start(
    path.join(directory, `${roundTripMs}`),
    settings,
    roundTripMs,
  )
  const samples = await clusters.measure(DELAYED_WRITERS, context, `${roundTripMs} ms `)
  for (const writers of DELAYED_WRITERS) {
    const rate = samples.rate('durable', writers)
    if (rate !== undefined) figures[`durable${writers}At${roundTripMs}ms`] = rate
  }
  const heldMs: Record<string, Latency> = {}
  for (const policy of policies) {
    const held = await clusters.get(policy).held()
    if (held !== undefined) heldMs[policy] = held
  }
  return { policies: samples.rates(policies, DELAYED_WRITERS), heldMs }
}
