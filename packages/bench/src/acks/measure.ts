/** Policies beside each other under the same loads: a part of the matrix, a leader and two followers for each. Leaves to others: figures. */
import { latencyMs, runPreset } from '../matrix/preset.ts'
import type { RoundSample } from '../matrix/results.ts'
import type { Latency } from '../processes/load.ts'
import type { ScenarioContext } from '../scenario.ts'
import type { AckSettings } from './options.ts'
import { ACK_OF, FOLLOWER_NAMES, type PolicyName, type Writers } from './policies.ts'
import { PolicySamples, type Measured } from './rates.ts'

export interface MeasuredPolicies {
  readonly samples: PolicySamples
  /** How long relays held bytes in one direction, by policy; empty without an added round trip. */
  readonly heldMs: Readonly<Record<string, Latency>>
}

export async function measurePolicies(
  scenario: string,
  loads: readonly Writers[],
  context: ScenarioContext<AckSettings>,
  roundTripMs = 0,
): Promise<MeasuredPolicies> {
  const { policies, rounds, seconds, exclusive } = context.settings
  const preset = await runPreset(scenario, context, {
    ack: policies.map((policy) => ACK_OF[policy]),
    writers: loads,
    followers: FOLLOWER_NAMES.length,
    peers: ['none'],
    measure: ['resources'],
    roundTrip: [roundTripMs],
    rounds,
    seconds,
    exclusive,
  })
  const samples = new PolicySamples()
  const heldMs: Partial<Record<PolicyName, Latency>> = {}
  for (const policy of policies)
    for (const writers of loads) {
      const cell = preset.cell({ ack: ACK_OF[policy] }, writers)
      for (const round of cell?.rounds ?? []) samples.push(policy, writers, measuredOf(round))
      if (cell?.heldMs !== undefined) heldMs[policy] = cell.heldMs
    }
  return { samples, heldMs }
}

function measuredOf(round: RoundSample): Measured {
  const us = (isOf: (node: string) => boolean): number => {
    const seconds = Object.entries(round.nodes ?? {}).flatMap(([name, use]) =>
      isOf(name) ? [use.cpuSeconds] : [],
    )
    return (1e6 * seconds.reduce((sum, each) => sum + each, 0)) / round.commitsInAll
  }
  return {
    commits: round.commits,
    perSecond: round.commitsPerSecond,
    latency: { p50: latencyMs(round, 50), p99: latencyMs(round, 99), max: latencyMs(round, 100) },
    leaderUs: us((name) => name === 'leader'),
    followersUs: us((name) => name.startsWith('follower-')),
  }
}
