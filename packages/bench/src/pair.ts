/**
 * A leader and its streaming follower, each a process of its own.
 *
 * Decides: the order in which they start and end. Leaves to others: what is measured on them.
 */
import path from 'node:path'
import type { Position } from '@understudy/contracts'
import { UnderstudyError } from '@understudy/contracts'
import type { FormatName } from './formats.ts'
import { Child } from './processes/child.ts'
import type { FollowerCalls } from './processes/follower.ts'
import type { LeaderCalls } from './processes/leader.ts'
import type { Wire } from './wire.ts'

export interface PairOptions {
  /** Default `row`. */
  readonly format?: FormatName
  /** Default: TCP, and nobody authenticates. */
  readonly wire?: Wire
  /** A database that the leader adopts. Default: an empty table. */
  readonly importFrom?: string
}

export class Pair implements AsyncDisposable {
  readonly leader: Child<LeaderCalls>
  readonly address: string
  readonly #directory: string
  readonly #options: PairOptions
  #follower: Child<FollowerCalls> | undefined

  private constructor(directory: string, leader: Child<LeaderCalls>, address: string, options: PairOptions) {
    this.#directory = directory
    this.leader = leader
    this.address = address
    this.#options = options
  }

  /** A leader, and a follower that streams. */
  static async start(directory: string, options: PairOptions = {}): Promise<Pair> {
    const pair = await Pair.startLeader(directory, options)
    try {
      await pair.startFollower()
      await pair.equal()
      return pair
    } catch (error) {
      await pair[Symbol.asyncDispose]()
      throw error
    }
  }

  /** A leader alone. */
  static async startLeader(directory: string, options: PairOptions = {}): Promise<Pair> {
    const leader = new Child<LeaderCalls>('leader')
    try {
      const address = await leader.call('open', { directory: path.join(directory, 'leader'), ...options })
      return new Pair(directory, leader, address, options)
    } catch (error) {
      await leader[Symbol.asyncDispose]()
      throw error
    }
  }

  get hasFollower(): boolean {
    return this.#follower !== undefined
  }

  get follower(): Child<FollowerCalls> {
    if (this.#follower === undefined) throw new TypeError('the follower is not running')
    return this.#follower
  }

  /** Starts the process, then the node in it; milliseconds that the node took until it had data. */
  async startFollower(name: string = 'follower'): Promise<number> {
    this.#follower = new Child<FollowerCalls>('follower')
    const { format, wire } = this.#options
    return this.#follower.call('open', {
      directory: path.join(this.#directory, name),
      leader: this.address,
      ...(format && { format }),
      ...(wire && { wire }),
    })
  }

  async stopFollower(): Promise<void> {
    await this.#follower?.[Symbol.asyncDispose]()
    this.#follower = undefined
  }

  /** Waits until the follower shows all that the leader shows now; the milliseconds that this took. */
  async equal(): Promise<number> {
    return this.follower.call('waitFor', await this.leader.call('position'))
  }

  /** Compares every table at one position. Throws `DIVERGED`: a benchmark of wrong rows is worth nothing. */
  async verify(): Promise<void> {
    const at: Position = await this.leader.call('mark')
    const [ours, theirs] = await Promise.all([
      this.leader.call('digest', at),
      this.follower.call('digest', at),
    ])
    if (JSON.stringify(ours) === JSON.stringify(theirs)) return
    throw new UnderstudyError(
      'DIVERGED',
      `Leader and follower differ at ${at.epoch}/${at.lsn}: ${JSON.stringify(ours)} and ${JSON.stringify(theirs)}. The figures of this run are worth nothing.`,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopFollower()
    await this.leader[Symbol.asyncDispose]()
  }
}
