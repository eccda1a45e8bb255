/**
 * One object with a role, composed of what the user hands in.
 *
 * Decides: the order in which things start and stop. Leaves to others: which role does what (roles), how it changes (host), everything else.
 *
 * 1. Started: lock, state file, data, role, listener; a follower listens first, so that it can say how its snapshot goes.
 *    Stopped: role (queued writes are answered first), clients, listener, data, lock; what fails on the way does not keep
 *    the rest from being stopped.
 * 2. A start that fails leaves nothing open. The first start of a leader leaves no data either: nothing can have been
 *    acknowledged before it listens, and it returns only after that.
 * 3. `status` never throws, whatever the node is doing.
 */
import {
  LOCAL_SLOT,
  UnderstudyError,
  type Exposure,
  type LogFormat,
  type LogPoint,
  type Position,
  type ReceiptReference,
  type ReceiptVerdict,
  type Slot,
  type SqliteConnection,
  type WriteTransaction,
} from '@understudy/contracts'
import { type Leadership, type TableDigest, type TableRows } from '@understudy/protocol'
import {
  snapshotOf,
  type CommitMeasuresSnapshot,
  type Step,
  type WriteOptions,
  type AckPolicy,
} from '@understudy/replication'
import type { Changed, ClusterMember, Fence, PromoteOptions, SwitchoverOptions } from '@understudy/failover'
import { lockDirectory, type DirectoryLock, type SqliteRead } from '@understudy/sqlite'
import type { DigestOptions, ReadOptions, SetAcksOptions, UnderstudyNode } from './api.ts'
import { Entrance } from './entrance.ts'
import type { EventsOptions, EventStream } from './events.ts'
import { exposureOf, type NodeExposureOptions } from './exposure.ts'
import { memberOf, newestDecisions, type DecisionsOptions } from './failover-calls.ts'
import { NodeHost } from './host.ts'
import { idsOfFollower } from './ids.ts'
import { noMember } from './leader-role.ts'
import { leadershipOf } from './leadership.ts'
import type { NodeData } from './node-data.ts'
import { resolveOptions, throwIfAborted, type NodeOptions, type Role, type Settings } from './options.ts'
import { closedError, withData } from './reads.ts'
import { NodeRoles } from './roles.ts'
import {
  bootstrapStatus,
  errorStatus,
  followingStatus,
  leadingStatus,
  logStatus,
  type NodeStatus,
} from './status.ts'
import { verdictAt } from './receipts.ts'
import { ownedElsewhere } from './sidecar.ts'

/** A node that a member drives, for `failover` of the options. Start it with `node.start`; `node.close` closes it. */
export function hostedNode(options: NodeOptions, fence: Fence): ComposedNode {
  const settings = resolveOptions(options, { isMember: true })
  throwIfAborted(settings)
  const node = new ComposedNode(settings, lockDirectory(settings.directory), fence)
  settings.observe?.(node)
  return node
}

export class ComposedNode implements UnderstudyNode {
  readonly name: string
  /** Where a member has it in its hands. */
  readonly host: NodeHost | undefined
  readonly settings: Settings
  readonly #lock: DirectoryLock
  readonly #entrance: Entrance
  readonly #roles: NodeRoles
  #member: ClusterMember | undefined
  #closing: Promise<void> | undefined

  constructor(settings: Settings, lock: DirectoryLock, fence?: Fence) {
    this.name = settings.name
    this.settings = settings
    this.#lock = lock
    const roles = (this.#roles = new NodeRoles(settings, fence))
    this.host = fence && new NodeHost(roles, settings, fence, () => this.address)
    this.#entrance = new Entrance(settings, {
      node: this,
      isClosing: () => roles.isClosing,
      leading: () => roles.leadingOrThrow(),
      replicate: (connection, hello) =>
        this.host === undefined
          ? roles.leadingOrThrow().acceptFollower(connection, hello)
          : this.host.replicate(connection, hello),
      member: (connection, hello) => {
        if (this.#member === undefined) throw noMember(this.name)
        this.#member.accept(connection, hello)
      },
      log: () => roles.data?.log,
    })
  }

  /** What it does now; of a member it may be another one later. */
  get role(): Role {
    if (this.host === undefined) return this.settings.role
    return this.#roles.isLeading ? 'leader' : 'follower'
  }

  get cluster(): string {
    return this.#roles.cluster
  }

  get address(): string | undefined {
    return this.#entrance.address
  }

  get applied(): LogPoint {
    return this.#roles.anyData?.storage.applied ?? this.#roles.appliedAway
  }

  get failure(): UnderstudyError | undefined {
    return this.#roles.failure
  }

  /** Once, before the start: who leads is decided by this member. */
  join(member: ClusterMember): void {
    this.#member = member
  }

  async start(): Promise<void> {
    await this.#roles.start(() => this.#entrance.open())
    this.host?.started()
  }

  write(body: ((tx: WriteTransaction) => unknown) | readonly Step[], options?: WriteOptions): Promise<never> {
    const leading = this.#roles.leadingOrError()
    if ('code' in leading) return Promise.reject(leading)
    const { sidecar } = this.settings
    if (sidecar !== undefined) return Promise.reject(ownedElsewhere(sidecar))
    // The overloads are the pipeline's; here both kinds pass through unchanged.
    return leading.pipeline.write(body as (tx: WriteTransaction) => unknown, options) as Promise<never>
  }

  async transaction(...asked: Parameters<UnderstudyNode['transaction']>): Promise<never> {
    const leading = this.#roles.leadingOrError()
    if ('code' in leading) throw leading
    const { sidecar } = this.settings
    if (sidecar !== undefined) throw ownedElsewhere(sidecar)
    return leading.pipeline.transaction(...asked) as Promise<never>
  }

  read<R>(body: (tx: SqliteRead) => R | Promise<R>, options: ReadOptions = {}): Promise<Awaited<R>> {
    return withData<Awaited<R>>(this.#roles.source, options, ({ storage }, began) =>
      storage.read(
        (tx) => {
          began()
          return body(tx)
        },
        { foreign: options.foreign === true, held: options.held === true },
      ),
    )
  }

  verdict(receipt: ReceiptReference): ReceiptVerdict {
    return verdictAt(this.#roles.source, this.cluster, this.#roles.leading?.pipeline.acknowledged, receipt)
  }

  async reach(...asked: Parameters<UnderstudyNode['reach']>): ReturnType<UnderstudyNode['reach']> {
    const leading = this.#roles.leadingOrError()
    if ('code' in leading) throw leading
    return leading.pipeline.reach(...asked)
  }

  async mark(): Promise<LogPoint> {
    return this.#roles.leadingOrThrow().mark()
  }

  async switchFormat(format: LogFormat<SqliteConnection> | string): Promise<LogPoint> {
    return this.#roles.leadingOrThrow().switchFormat(format)
  }

  async setAcks(policy: Partial<AckPolicy> | string, options: SetAcksOptions = {}): Promise<LogPoint> {
    return this.#roles.leadingOrThrow().setAcks(policy, options)
  }

  digest(at: Position, options: DigestOptions = {}): Promise<TableDigest[]> {
    return withData(this.#roles.source, { ...options, after: at }, (_, began) => {
      began()
      return this.#roles.views.digest(at, options)
    })
  }

  rows(at: Position, table: string, offset: number): TableRows {
    return this.#roles.views.rows(at, table, offset)
  }

  release(at: Position): void {
    this.#roles.views.release(at)
  }

  exposure(options?: NodeExposureOptions): Promise<Exposure> {
    return exposureOf(this.#roles.source, () => this.#roles.leading, options)
  }

  slots(): Slot[] {
    return this.#roles.data?.log.slots.list() ?? []
  }

  dropSlot(name: string): void {
    if (name === LOCAL_SLOT) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `'${LOCAL_SLOT}' is what this node's own database needs after a crash; it was kept. Drop the slots of followers only.`,
      )
    }
    const data = this.#roles.data
    if (data === undefined) {
      throw new UnderstudyError(
        'SLOT_UNKNOWN',
        `Node ${this.name} has no log at the moment, so no slot ${name}.`,
      )
    }
    data.log.slots.drop(name)
  }

  forget(name: string): void {
    const leading = this.#roles.leadingOrError()
    if ('code' in leading) throw leading
    leading.forget(name)
  }

  async promote(options?: PromoteOptions): Promise<Changed> {
    return this.#memberOrThrow().promote(options)
  }

  async switchover(options?: SwitchoverOptions): Promise<Changed> {
    return this.#memberOrThrow().switchover(options)
  }

  async pauseFailover(paused: boolean): Promise<void> {
    return this.#memberOrThrow().pause(paused)
  }

  decisions(options?: DecisionsOptions): string[] {
    return newestDecisions(this.settings.files, this.settings.directory, options)
  }

  measures(): CommitMeasuresSnapshot {
    return snapshotOf(this.settings.measures)
  }

  events(options?: EventsOptions): EventStream {
    return this.settings.events.stream(options)
  }

  async checkpoint(): Promise<void> {
    await this.#roles.data?.checkpointer.run()
  }

  status(): NodeStatus {
    const { credentials } = this.settings
    const { data, following, leading, state, failure } = this.#roles
    const leader = following?.leader
    const view = following?.view
    const snapshot = following?.snapshot
    const nothing = { epoch: 0, position: '0/0', durable: 0, log: { first: 0, end: '0/0', slots: [] } }
    return {
      node: this.name,
      cluster: this.cluster,
      role: this.role,
      state,
      ...this.#entrance.status(),
      ...(data === undefined ? nothing : logStatus(data.log, data.storage.applied)),
      following: view && followingStatus(view.following.report(), leader),
      ...(view && { ids: idsOfFollower(view.data, view.following.report(), this.settings.clock) }),
      bootstrap: snapshot && bootstrapStatus(snapshot, leader),
      ...(leading && data && leadingStatus(leading, this.settings)),
      failure: errorStatus(failure),
      credentialsProblem: errorStatus(credentials?.problem),
      uncheckpointedBytes: uncheckpointedBytes(data),
      ...(this.#member && { failover: this.#member.status() }),
    }
  }

  leadership(): Leadership {
    const { following, data } = this.#roles
    return leadershipOf({
      name: this.name,
      cluster: this.cluster,
      role: this.role,
      address: this.address,
      leaderAddress: following?.leader,
      leaderName: following?.leaderName,
      members: this.settings.failover?.members ?? [],
      forwardsWrites: this.settings.forwardWrites === true,
      takesWrites: this.#roles.takesWrites,
      history: data?.log.history ?? [],
      applied: this.applied,
      report: following?.view?.following.report(),
    })
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #memberOrThrow(): ClusterMember {
    if (this.#closing !== undefined) throw closedError(this.name)
    return memberOf(this.name, this.#member)
  }

  async #close(): Promise<void> {
    // The first turn belongs to the caller: it is closing before anything is asked of this node again.
    const roles = this.#roles.closing()
    await Promise.resolve()
    const steps: (() => unknown)[] = [
      () => this.host?.close(),
      ...roles,
      () => this.#member?.close(),
      () => this.#entrance.endClients(),
      () => this.#entrance.close(),
      ...this.#roles.closed(),
      () => this.#lock.release(),
      () => this.settings.events.close(),
    ]
    const errors: unknown[] = []
    for (const step of steps) {
      try {
        await step()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw errors[0]
  }
}

function uncheckpointedBytes(data: NodeData | undefined): number | undefined {
  try {
    return data?.storage.uncheckpointedBytes
  } catch {
    return undefined
  }
}
