/**
 * The role that a node has: a leader, a follower, or, as a member of a cluster that chooses its leader, one after the other.
 *
 * Decides: how a node starts in its role, who has its data, why it takes no writes. Leaves to others: leading (leader-role), following
 * (follower-role), when a member changes its role and how (host).
 *
 * Validity conditions:
 * 1. At any time a reader finds the data in one place: with the leading part or the following one. They change in one turn.
 * 2. The first start of a leader leaves no data when it fails: nothing can have been acknowledged before it listens.
 * 3. A member starts without assuming that it leads, whatever it was before; one that founds a cluster has data, and an empty log.
 */
import type { UnderstudyError } from '@understudy/contracts'
import type { Fence } from '@understudy/failover'
import {
  checkOwner,
  checkState,
  followerState,
  forgetBeginning,
  leaderState,
  prepareLeader,
} from './beginnings.ts'
import { FollowerRole } from './follower-role.ts'
import { FrozenViews } from './frozen-views.ts'
import { notLeader, startLeading, type LeaderRole } from './leader-role.ts'
import { openNodeData, type NodeData } from './node-data.ts'
import { startAborted, throwIfAborted, type Settings } from './options.ts'
import { closedError, unlessAborted, type ReadSource } from './reads.ts'
import { readNodeState, writeNodeState, type NodeState } from './state-file.ts'

export class NodeRoles {
  readonly views: FrozenViews
  /** Where reads find data. */
  readonly source: ReadSource
  readonly #settings: Settings
  readonly #fence: Fence | undefined
  #cluster = ''
  /** A leader's. */
  #data: NodeData | undefined
  #leading: LeaderRole | undefined
  #following: FollowerRole | undefined
  #failure: UnderstudyError | undefined
  /** Why it leads no more, before it follows. */
  #stopped: UnderstudyError | undefined
  #isClosing = false
  /** A leader's first start, not yet finished. */
  #isBeginning = false

  constructor(settings: Settings, fence: Fence | undefined) {
    this.#settings = settings
    this.#fence = fence
    this.views = new FrozenViews(settings.clock)
    this.source = {
      name: settings.name,
      clock: settings.clock,
      isClosing: () => this.#isClosing,
      data: () => this.#data,
      waiters: () => this.#leading?.waiters,
      following: () => this.#following,
    }
  }

  get cluster(): string {
    return this.#following?.cluster ?? this.#cluster
  }

  get failure(): UnderstudyError | undefined {
    return this.#failure
  }

  get isClosing(): boolean {
    return this.#isClosing
  }

  get following(): FollowerRole | undefined {
    return this.#following
  }

  /** Also one that leads no more and did not begin to follow. */
  get leading(): LeaderRole | undefined {
    return this.#leading
  }

  get isLeading(): boolean {
    return this.#leading !== undefined && this.#stopped === undefined
  }

  /** What can be asked at the moment: nothing once the node is closing. */
  get data(): NodeData | undefined {
    return this.#isClosing ? undefined : this.anyData
  }

  get anyData(): NodeData | undefined {
    return this.#data ?? this.#following?.view?.data
  }

  /** What the node is doing, in a word. */
  get state(): string {
    if (this.#isClosing) return 'closed'
    if (this.#failure !== undefined) return 'failed'
    if (this.#following !== undefined) return this.#following.phase
    if (this.#leading === undefined) return 'starting'
    if (this.#stopped !== undefined) return 'waiting'
    return this.#leading.pipeline.acks.recovering ? 'recovering' : 'leading'
  }

  /** `open`: others can come in. */
  async start(open: () => Promise<void>): Promise<void> {
    const { files, directory, role } = this.#settings
    const stored = readNodeState(files, directory)
    if (this.#fence !== undefined) return this.#startMember(stored, this.#fence, open)
    if (stored !== undefined) checkState(this.#settings, stored)
    if (role === 'leader') await this.#startLeader(stored, open)
    else await this.#startFollower(stored, open)
  }

  /** The leading part, or why this node takes no writes. */
  leadingOrError(): LeaderRole | UnderstudyError {
    const { name, leader } = this.#settings
    if (this.#isClosing) return closedError(name)
    if (this.#leading !== undefined && this.#stopped === undefined) return this.#failure ?? this.#leading
    return (
      this.#stopped ??
      notLeader(name, this.#following?.leader ?? leader, this.anyData?.storage.applied ?? this.appliedAway)
    )
  }

  /** Whether it would run a write at this moment, by its own clock. */
  get takesWrites(): boolean {
    const leading = this.leadingOrError()
    return !('code' in leading) && leading.pipeline.leads()
  }

  leadingOrThrow(): LeaderRole {
    const leading = this.leadingOrError()
    if ('code' in leading) throw leading
    return leading
  }

  /** What readers saw last, while there is no data. */
  get appliedAway(): { readonly epoch: number; readonly lsn: number; readonly crc: number } {
    return this.#following?.applied ?? { epoch: 0, lsn: 0, crc: 0 }
  }

  readonly fail = (error: UnderstudyError): void => {
    if (this.#failure !== undefined || this.#isClosing) return
    this.#failure = error
    this.#leading?.stop(error)
    this.#settings.emit({ kind: 'failed', error })
  }

  // A member's changes

  /** From one turn to the next it leads. The follower that was keeps nothing but readers who wait. */
  lead(role: LeaderRole): void {
    const following = this.#following as FollowerRole
    this.#cluster = following.cluster
    this.#data = following.release()
    this.#leading = role
    this.#following = undefined
    this.#stopped = undefined
    void following.letGo()
  }

  /** Shows and acknowledges nothing any more. */
  stopLeading(reason: UnderstudyError): void {
    if (this.#leading === undefined || this.#stopped !== undefined) return
    this.#stopped = reason
    this.#leading.stop(reason)
    this.#settings.emit({ kind: 'stoppedLeading', error: reason })
  }

  /** A leader that stopped has its data as a follower of nobody; resolves once nothing else uses that. */
  async leaveOffice(fence: Fence): Promise<FollowerRole> {
    const leading = this.#leading
    const data = this.#data
    if (leading === undefined || data === undefined) return this.#following as FollowerRole
    const { files, directory } = this.#settings
    const state = readNodeState(files, directory) as NodeState
    const following = new FollowerRole({ state, data, fence }, this.views, this.#settings, this.fail)
    this.#following = following
    this.#data = undefined
    this.#leading = undefined
    this.#stopped = undefined
    await leading.close()
    await following.begin()
    return following
  }

  /** In this order, each once. */
  closing(): (() => unknown)[] {
    this.#isClosing = true
    return [() => this.#leading?.close(), () => this.#following?.close()]
  }

  closed(): (() => unknown)[] {
    return [
      () => this.views.close(),
      () => this.#data?.close(),
      () => this.#isBeginning && forgetBeginning(this.#settings),
    ]
  }

  async #startLeader(stored: NodeState | undefined, open: () => Promise<void>): Promise<void> {
    const { files, directory } = this.#settings
    const { state, isFirst } = leaderState(this.#settings, stored)
    this.#cluster = state.cluster
    this.#isBeginning = isFirst
    const data = (this.#data = await this.#openLeader(state, isFirst))
    writeNodeState(files, directory, { ...state, led: true })
    this.#leading = await startLeading(data, state.cluster, this.views, this.#settings, this.fail)
    throwIfAborted(this.#settings)
    await open()
    this.#isBeginning = false
  }

  async #openLeader(state: NodeState, isFirst: boolean): Promise<NodeData> {
    const paths = await prepareLeader(this.#settings, state, isFirst)
    const data = await openNodeData(paths, this.#settings, this.fail)
    if (!isFirst) return data
    try {
      this.#settings.format.inspect?.(data.storage.connection)
      return data
    } catch (error) {
      await data.close()
      throw error
    }
  }

  async #startFollower(stored: NodeState | undefined, open: () => Promise<void>): Promise<void> {
    const { name, signal } = this.#settings
    const state = followerState(this.#settings, stored)
    const following = new FollowerRole({ state }, this.views, this.#settings, this.fail)
    this.#following = following
    await open()
    await unlessAborted(following.start(), signal, () => startAborted(name, signal))
  }

  async #startMember(stored: NodeState | undefined, fence: Fence, open: () => Promise<void>): Promise<void> {
    const { name, signal, role } = this.#settings
    if (stored !== undefined) checkOwner(this.#settings, stored)
    const isNew = stored === undefined || stored.generation === 0
    const state =
      isNew && role === 'leader' ? await this.#found(stored) : followerState(this.#settings, stored, true)
    const following = new FollowerRole({ state, fence }, this.views, this.#settings, this.fail)
    this.#following = following
    await open()
    await unlessAborted(following.begin(), signal, () => startAborted(name, signal))
    if (this.#failure !== undefined) throw this.#failure
  }

  /** A cluster begins with a database and an empty log: its first epoch is a promotion, as all others are. */
  async #found(stored: NodeState | undefined): Promise<NodeState> {
    const { files, directory } = this.#settings
    const first = leaderState(this.#settings, stored)
    const state = { ...first.state, led: false }
    this.#isBeginning = true
    const data = await this.#openLeader(state, true)
    await data.close()
    writeNodeState(files, directory, state)
    this.#isBeginning = false
    return state
  }
}
