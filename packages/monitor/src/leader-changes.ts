/**
 * How often the leader changed, by what a node tells.
 *
 * 1. Whoever is seen first is no change. A node that is told of itself twice, when it is published and when it leads, counts once.
 * 2. Streams that drop events lose counts: a monitor reads at once, so that takes a thread that stands still.
 */
import type { NodeEvent } from '@understudy/node'
import type { Counter } from 'prom-client'

export interface LeaderCounters {
  /** Another node leads, planned or not. */
  readonly failovers: Counter
  /** This node leads a new epoch. */
  readonly promotions: Counter
  /** This node found that nobody may be promoted. */
  readonly refusals: Counter
  /** This node stopped leading. */
  readonly stepDowns: Counter
}

export class LeaderChanges {
  readonly #counters: LeaderCounters
  #leader: string | undefined
  #ledEpoch = 0

  constructor(counters: LeaderCounters) {
    this.#counters = counters
  }

  look(event: NodeEvent, node: string): void {
    const { promotions, refusals, stepDowns } = this.#counters
    if (event.kind === 'follows') this.#saw(event.leader.name)
    else if (event.kind === 'leader') {
      this.#saw(event.name)
      if (event.name !== node || event.epoch <= this.#ledEpoch) return
      this.#ledEpoch = event.epoch
      promotions.inc()
    } else if (event.kind === 'steppedDown') stepDowns.inc()
    else if (event.kind === 'decided' && event.action.kind === 'refuse') refusals.inc()
  }

  #saw(leader: string): void {
    if (this.#leader !== undefined && this.#leader !== leader) this.#counters.failovers.inc()
    this.#leader = leader
  }
}
