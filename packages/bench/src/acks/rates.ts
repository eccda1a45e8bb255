/** What is kept of each measurement of a policy, and what comes of it. Leaves to others: measuring. */
import { Samples } from '../rounds.ts'
import { median, ratios, summarize, type Summary } from '../statistics.ts'
import type { LoadResult } from '../processes/load.ts'
import type { PolicyName, Writers } from './policies.ts'

export interface Measured extends Pick<LoadResult, 'commits' | 'perSecond' | 'latency'> {
  /** Processor time for each commit in microseconds: of the leader with its callers, and of both followers together. */
  readonly leaderUs: number
  readonly followersUs: number
}

/** One policy under one load: the rounds. Latencies are those of a caller, from its call to its reply. */
export interface PolicyRates {
  readonly commitsPerSecond: Summary
  /** Against `async` of the same round; absent without it. */
  readonly vsAsync?: readonly number[]
  readonly p50Ms: Summary
  readonly p99Ms: Summary
  /** Processor time for each commit: of the leader with its callers, and of both followers together. */
  readonly leaderUs: Summary
  readonly followersUs: Summary
}

/** By policy, then by the number of callers. */
export type RatesByPolicy = Readonly<Partial<Record<PolicyName, Readonly<Record<string, PolicyRates>>>>>

type Quantity = 'perSecond' | 'p50' | 'p99' | 'leaderUs' | 'followersUs'

export class PolicySamples {
  readonly #samples = new Samples()

  push(policy: PolicyName, writers: Writers, measured: Measured): void {
    const { perSecond, latency, leaderUs, followersUs } = measured
    const values: Record<Quantity, number> = {
      perSecond,
      p50: latency.p50,
      p99: latency.p99,
      leaderUs,
      followersUs,
    }
    for (const quantity of Object.keys(values) as Quantity[])
      this.#samples.push(keyOf(policy, writers, quantity), values[quantity])
  }

  of(policy: PolicyName, writers: Writers, quantity: Quantity): readonly number[] {
    return this.#samples.of(keyOf(policy, writers, quantity))
  }

  /** Commits per second; `undefined` when nothing was measured. */
  rate(policy: PolicyName, writers: Writers): number | undefined {
    const rates = this.of(policy, writers, 'perSecond')
    return rates.length === 0 ? undefined : median(rates)
  }

  /** Commits per second against `async` in the same round; `undefined` when either was left out. */
  vsAsync(policy: PolicyName, writers: Writers): readonly number[] | undefined {
    const rates = this.of(policy, writers, 'perSecond')
    const beside = this.of('async', writers, 'perSecond')
    return rates.length === 0 || beside.length === 0 ? undefined : ratios(rates, beside)
  }

  rates(policies: readonly PolicyName[], loads: readonly Writers[]): RatesByPolicy {
    return Object.fromEntries(
      policies.map((policy) => [
        policy,
        Object.fromEntries(loads.map((writers) => [writers, this.#ratesOf(policy, writers)])),
      ]),
    )
  }

  #ratesOf(policy: PolicyName, writers: Writers): PolicyRates {
    const summary = (quantity: Quantity): Summary => summarize(this.of(policy, writers, quantity))
    const vsAsync = this.vsAsync(policy, writers)
    return {
      commitsPerSecond: summary('perSecond'),
      ...(vsAsync && { vsAsync }),
      p50Ms: summary('p50'),
      p99Ms: summary('p99'),
      leaderUs: summary('leaderUs'),
      followersUs: summary('followersUs'),
    }
  }
}

function keyOf(policy: PolicyName, writers: Writers, quantity: Quantity): string {
  return `${policy} ${writers} ${quantity}`
}
