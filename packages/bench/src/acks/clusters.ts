/**
 * Clusters that are compared, one for each policy, and their rounds.
 *
 * Decides: whose turn it is. With one number of callers all policies take turns, then with the next; every round goes in the
 * opposite order of the one before, and ends with all nodes of each cluster being equal. While one is measured the others idle.
 */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { inTurns } from '../rounds.ts'
import type { ScenarioContext } from '../scenario.ts'
import { AckCluster } from './cluster.ts'
import type { AckSettings } from './options.ts'
import type { PolicyName, Writers } from './policies.ts'
import { noteOf, PolicySamples } from './rates.ts'

/** The first seconds are slower: code is not compiled yet, files have no space yet. */
const WARM_UP_SECONDS_MAX = 1

export class AckClusters implements AsyncDisposable {
  readonly #ended = new AsyncDisposableStack()
  readonly #clusters = new Map<PolicyName, AckCluster>()

  static async start(
    directory: string,
    { policies, exclusive }: Pick<AckSettings, 'policies' | 'exclusive'>,
    roundTripMs?: number,
  ): Promise<AckClusters> {
    const clusters = new AckClusters()
    try {
      for (const policy of policies) {
        const folder = path.join(directory, policy)
        await mkdir(folder, { recursive: true })
        const options = { policy, exclusive, ...(roundTripMs !== undefined && { roundTripMs }) }
        clusters.#clusters.set(policy, clusters.#ended.use(await AckCluster.start(folder, options)))
      }
      return clusters
    } catch (error) {
      await clusters[Symbol.asyncDispose]()
      throw error
    }
  }

  get(policy: PolicyName): AckCluster {
    const cluster = this.#clusters.get(policy)
    if (cluster === undefined) throw new TypeError(`no cluster with the policy ${policy} runs`)
    return cluster
  }

  /** So many steps `measure` reports. */
  static steps(policies: readonly PolicyName[], loads: readonly Writers[], rounds: number): number {
    return (rounds + 1) * (policies.length * loads.length + 1)
  }

  /** Measures every policy under every load in each round, after a warm-up that is not counted. */
  async measure(
    loads: readonly Writers[],
    { settings, reporter }: Pick<ScenarioContext<AckSettings>, 'settings' | 'reporter'>,
    label = '',
  ): Promise<PolicySamples> {
    const samples = new PolicySamples()
    const { rounds, seconds } = settings
    const turns = loads.flatMap((writers) =>
      [...this.#clusters.keys()].map((policy) => ({ policy, writers })),
    )
    const ends = { left: turns.length }
    await inTurns(rounds + 1, turns, async ({ policy, writers }, turn) => {
      const isWarmUp = turn === 1
      const length = isWarmUp ? Math.min(seconds, WARM_UP_SECONDS_MAX) : seconds
      const measured = await this.get(policy).load(writers, length, !isWarmUp)
      if (!isWarmUp) samples.push(policy, writers, measured)
      const note = isWarmUp ? 'warm-up' : `round ${turn - 1}`
      reporter.step(`${note} ${label}${policy} ${writers}: ${noteOf(measured)}`)
      if (--ends.left > 0) return
      ends.left = turns.length
      await this.#verify()
      reporter.step(`${note} ${label}all nodes are equal`)
    })
    return samples
  }

  async #verify(): Promise<void> {
    for (const cluster of this.#clusters.values()) {
      await cluster.verify()
      await cluster.empty()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ended.disposeAsync()
  }
}
