/**
 * What each ack policy costs on a slow network: 64 and 256 callers, with a relay between the leader and its two followers that
 * adds to each round trip.
 */
import type { AckFigureName } from '../acks/figures.ts'
import { measurePolicies } from '../acks/measure.ts'
import { ROUND_TRIPS_MS } from '../acks/options.ts'
import { DELAYED_WRITERS } from '../acks/policies.ts'
import type { RatesByPolicy } from '../acks/rates.ts'
import type { AckScenario } from '../acks/run.ts'
import type { Latency } from '../processes/load.ts'

/** With one added round trip. */
export interface DelayedRates {
  readonly policies: RatesByPolicy
  /** How long the relay held bytes on their way in one direction, in milliseconds: half of the round trip, and what it was late. */
  readonly heldMs: Readonly<Record<string, Latency>>
}

export const ackDelays: AckScenario = async (context) => {
  const figures: Partial<Record<AckFigureName, number>> = {}
  const details: Record<string, DelayedRates> = {}
  for (const roundTripMs of ROUND_TRIPS_MS) {
    const { samples, heldMs } = await measurePolicies(
      `delays ${roundTripMs}ms`,
      DELAYED_WRITERS,
      context,
      roundTripMs,
    )
    for (const writers of DELAYED_WRITERS) {
      const rate = samples.rate('durable', writers)
      if (rate !== undefined) figures[`durable${writers}At${roundTripMs}ms`] = rate
    }
    details[`${roundTripMs}ms`] = {
      policies: samples.rates(context.settings.policies, DELAYED_WRITERS),
      heldMs,
    }
  }
  return { figures, details }
}
