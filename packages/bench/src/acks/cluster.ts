/**
 * A leader with one ack policy and two followers, each a process of its own, and between them a relay where a network is to be slow.
 *
 * Decides: the order in which they start and end, and what one measurement is. Leaves to others: what is measured when.
 *
 * Validity:
 * 1. A measurement ends when every node shows what was written: what a policy leaves for later is in its processor time.
 * 2. Then the leader's database is checkpointed, so that no measurement pays for the one before.
 */
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { UnderstudyError } from '@understudy/contracts'
import { Child } from '../processes/child.ts'
import type { FollowerCalls } from '../processes/follower.ts'
import type { LeaderCalls } from '../processes/leader.ts'
import type { Latency, LoadResult } from '../processes/load.ts'
import type { RelayCalls } from '../processes/relay.ts'
import { exclusively } from './exclusive.ts'
import { FOLLOWER_NAMES, policyOf, type PolicyName } from './policies.ts'

export interface ClusterOptions {
  readonly policy: PolicyName
  /** Round trip that is added between the leader and its followers. Default: none, and no relay. */
  readonly roundTripMs?: number
  /** While it is measured, nothing else runs. Default false. */
  readonly exclusive?: boolean
}

export interface Measured extends Pick<LoadResult, 'commits' | 'perSecond' | 'latency'> {
  /** Processor time for each commit in microseconds: of the leader with its callers, and of both followers together. */
  readonly leaderUs: number
  readonly followersUs: number
}

/** How long followers may take to stream, and how often they are asked. */
const STREAMING_TIMEOUT_MS = 30_000
const STREAMING_POLL_MS = 10

export class AckCluster implements AsyncDisposable {
  readonly #ended = new AsyncDisposableStack()
  readonly #followers: Child<FollowerCalls>[] = []
  #leader: Child<LeaderCalls> | undefined
  #relay: Child<RelayCalls> | undefined
  readonly #isExclusive: boolean

  private constructor({ exclusive = false }: ClusterOptions) {
    this.#isExclusive = exclusive
  }

  /** All nodes, with an empty table. */
  static async start(directory: string, options: ClusterOptions): Promise<AckCluster> {
    const cluster = new AckCluster(options)
    try {
      await cluster.#start(directory, options)
      return cluster
    } catch (error) {
      await cluster[Symbol.asyncDispose]()
      throw error
    }
  }

  async #start(directory: string, { policy, roundTripMs }: ClusterOptions): Promise<void> {
    const leader = (this.#leader = this.#ended.use(new Child<LeaderCalls>('leader')))
    const folder = path.join(directory, 'leader')
    let address = await leader.call('open', { directory: folder, acks: policyOf(policy) })
    if (roundTripMs !== undefined) {
      this.#relay = this.#ended.use(new Child<RelayCalls>('relay'))
      address = await this.#relay.call('open', { target: address, roundTripMs })
    }
    for (const name of FOLLOWER_NAMES) {
      const follower = this.#ended.use(new Child<FollowerCalls>('follower'))
      this.#followers.push(follower)
      await follower.call('open', { name, directory: path.join(directory, name), leader: address })
    }
    await this.#streaming(performance.now() + STREAMING_TIMEOUT_MS)
    await this.empty()
  }

  get leader(): Child<LeaderCalls> {
    if (this.#leader === undefined) throw new TypeError('the cluster did not start')
    return this.#leader
  }

  async #streaming(untilMs: number): Promise<void> {
    while ((await this.leader.call('streaming')).length < FOLLOWER_NAMES.length) {
      if (performance.now() >= untilMs)
        throw new UnderstudyError(
          'REQUEST_FAILED',
          `The followers did not stream within ${STREAMING_TIMEOUT_MS} ms. Nothing was measured.`,
        )
      await delay(STREAMING_POLL_MS)
    }
  }

  /** Begins with an empty table again, so that comparing nodes takes no longer from round to round. */
  async empty(): Promise<void> {
    await this.leader.call('createTable')
    await this.#equal()
  }

  /** `isMeasured`: not a warm-up. */
  async load(writers: number, seconds: number, isMeasured = true): Promise<Measured> {
    const before = await this.#cpuSeconds()
    const load = (): Promise<LoadResult> => this.leader.call('load', { writers, seconds })
    const { commits, perSecond, latency } =
      this.#isExclusive && isMeasured ? await exclusively(this.#pids(), load) : await load()
    await this.#equal()
    const after = await this.#cpuSeconds()
    await this.leader.call('checkpoint')
    const us = (from: number, to: number): number => (1e6 * (to - from)) / commits
    return {
      commits,
      perSecond,
      latency,
      leaderUs: us(before.leader, after.leader),
      followersUs: us(before.followers, after.followers),
    }
  }

  #pids(): number[] {
    const processes = [this.leader, ...this.#followers, ...(this.#relay === undefined ? [] : [this.#relay])]
    return processes.flatMap(({ pid }) => (pid === undefined ? [] : [pid]))
  }

  /** How long the relay held bytes in one direction since it was asked last; `undefined` without one. */
  async held(): Promise<Latency | undefined> {
    return this.#relay?.call('held')
  }

  async #equal(): Promise<void> {
    const position = await this.leader.call('position')
    await Promise.all(this.#followers.map((follower) => follower.call('waitFor', position)))
  }

  async #cpuSeconds(): Promise<{ readonly leader: number; readonly followers: number }> {
    const times = await Promise.all(this.#followers.map((follower) => follower.call('cpuSeconds')))
    return {
      leader: await this.leader.call('cpuSeconds'),
      followers: times.reduce((sum, time) => sum + time, 0),
    }
  }

  /** Compares every table of all nodes at one position. Throws `DIVERGED`: a benchmark of wrong rows is worth nothing. */
  async verify(): Promise<void> {
    const at = await this.leader.call('mark')
    const [ours, ...theirs] = await Promise.all(
      [this.leader, ...this.#followers].map(async (node) => JSON.stringify(await node.call('digest', at))),
    )
    theirs.forEach((digest, index) => {
      if (digest === ours) return
      throw new UnderstudyError(
        'DIVERGED',
        `The leader and ${String(FOLLOWER_NAMES[index])} differ at ${at.epoch}/${at.lsn}: ${ours} and ${digest}. The figures of this run are worth nothing.`,
      )
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ended.disposeAsync()
  }
}
