/**
 * A node whose role changes, as its member asks for: the contract `Host` of failover on the parts of this node.
 *
 * Decides: in which order a role is left and another one taken. Leaves to others: when, and whether (the member), the roles themselves
 * (roles, leader-role, follower-role).
 *
 * Validity conditions:
 * 1. Data stays open through every change, and readers with it: log and database are handed from role to role.
 * 2. `node.state` says that the directory may hold what no other node has before the first record of an epoch is written, and until a
 *    leader has said what they have in common. So a crash at any point starts again as a former leader, which rejoins; to one that never
 *    wrote its epoch that changes nothing.
 * 3. A log that is frozen is served to members that lack its end, and to nobody else. Before it moves, they are cut off.
 * 4. A promotion keeps the log for the leader before it, from where that one may come back.
 */
import { UnderstudyError, type Lsn } from '@understudy/contracts'
import type { Fence, Host, HostReport, LeaderPlace, PromoteAction } from '@understudy/failover'
import { AckStates, TailServer, fetchTail, redo, shownUpTo } from '@understudy/replication'
import type { Connection, Hello } from '@understudy/protocol'
import { dialNode } from './dial-node.ts'
import type { FollowerRole } from './follower-role.ts'
import { hostReport } from './host-report.ts'
import { leadsNoMore, startLeading, type LeaderRole } from './leader-role.ts'
import type { NodeData } from './node-data.ts'
import type { Settings } from './options.ts'
import type { NodeRoles } from './roles.ts'

/** Share of the time of a drain for which the target's showing of everything is waited for, once it has it. */
const SHOWN_SHARE = 0.25

export class NodeHost implements Host {
  readonly name: string
  readonly #roles: NodeRoles
  readonly #settings: Settings
  readonly #fence: Fence
  readonly #address: () => string | undefined
  #isFrozen = false
  /** It leads an epoch that takes no writes yet. */
  #begun: LeaderRole | undefined
  #tail: TailServer<unknown> | undefined
  #fetching: AbortController | undefined
  readonly #ackStates = new AckStates()
  /** The epoch of the log when this process opened it. */
  #openedEpoch: number | undefined

  constructor(roles: NodeRoles, settings: Settings, fence: Fence, address: () => string | undefined) {
    this.name = settings.name
    this.#roles = roles
    this.#settings = settings
    this.#fence = fence
    this.#address = address
  }

  get cluster(): string {
    return this.#roles.cluster
  }

  get address(): string {
    return this.#address() ?? ''
  }

  /** Call once the node has started. */
  started(): void {
    this.#openedEpoch = this.#roles.anyData?.log.history.at(-1)?.number ?? 0
  }

  report(): HostReport {
    return hostReport(this.#roles, {
      isFrozen: this.#isFrozen || this.#begun !== undefined,
      openedEpoch: this.#openedEpoch ?? 0,
      settings: this.#settings,
      ackStates: this.#ackStates,
    })
  }

  /** A node that wants records: from a leader, or from a member whose log is at rest. */
  replicate(connection: Connection, hello: Hello): void {
    const { isLeading } = this.#roles
    if (isLeading && !this.#isFrozen) return this.#roles.leadingOrThrow().acceptFollower(connection, hello)
    const data = this.#isFrozen && this.#begun === undefined ? this.#roles.data : undefined
    if (data === undefined) throw this.#notLeader()
    const { clock, allFormats, link } = this.#settings
    this.#tail ??= new TailServer({
      log: data.log,
      cluster: this.cluster,
      node: this.name,
      clock,
      formats: allFormats,
      ...(link && { limits: link }),
    })
    this.#tail.accept(connection, hello)
  }

  async freeze(): Promise<void> {
    const { leading, following, data } = this.#roles
    if (leading !== undefined) {
      await leading.pipeline.hold()
      await data?.log.sync()
    } else await following?.freeze()
    this.#isFrozen = true
  }

  thaw(): void {
    this.#moves()
    this.#isFrozen = false
    this.#roles.leading?.pipeline.unhold()
    void this.#dropBegun().then(() => this.#roles.following?.thaw())
  }

  async drain(target: string, timeoutMs: number): Promise<void> {
    const { clock } = this.#settings
    const leading = this.#roles.leadingOrThrow()
    const late = Promise.withResolvers<'late'>()
    const timer = clock.schedule(timeoutMs, () => late.resolve('late'))
    try {
      await leading.pipeline.hold()
      const drained = leading.pipeline.idle().then(async () => {
        const end = this.#roles.data?.log.end.lsn ?? 0
        await leading.whenHas(target, end, 'durable')
        return end
      })
      const end = await Promise.race([drained, late.promise])
      if (end === 'late' || leading.pipeline.failure !== undefined) throw notDrained(target, timeoutMs)
      await this.#whenShown(leading, target, end, timeoutMs * SHOWN_SHARE)
      this.#isFrozen = true
    } catch (error) {
      leading.pipeline.unhold()
      throw error
    } finally {
      timer.cancel()
    }
  }

  async follow(leader: LeaderPlace | undefined): Promise<void> {
    this.#moves()
    await this.#dropBegun()
    this.#roles.stopLeading(leadsNoMore(this.name, leader?.address))
    const following = await this.#roles.leaveOffice(this.#fence)
    this.#isFrozen = false
    await following.follow(leader && { address: leader.address, name: leader.name })
  }

  async fetchTail(from: { readonly name: string; readonly address: string }, upTo: Lsn): Promise<void> {
    const { data } = this.#frozen('fetch the end of a log')
    const { clock, allFormats, link } = this.#settings
    this.#moves()
    const abort = (this.#fetching = new AbortController())
    try {
      await fetchTail(
        {
          dial: (signal) => dialNode(this.#settings, from.address, signal),
          log: data.log,
          formats: allFormats,
          connection: data.storage.connection,
          node: this.name,
          cluster: this.cluster,
          clock,
          signal: abort.signal,
          ...(link && { limits: link }),
        },
        upTo,
      )
    } finally {
      this.#fetching = undefined
    }
  }

  async apply(upTo: Lsn): Promise<void> {
    const { data, following } = this.#frozen('apply what it holds')
    const { log, storage } = data
    await redo({
      log,
      storage,
      formats: this.#settings.allFormats,
      clock: this.#settings.clock,
      // What may lack acks is shown once the set of the new epoch has it.
      upTo: Math.min(upTo, shownUpTo(log)),
      onMarker: (point) => this.#roles.views.keep(point, () => storage.freeze()),
      onProgress: () => following.tell(),
    })
    following.tell()
  }

  async beginEpoch(promotion: PromoteAction): Promise<void> {
    const { data, following } = this.#frozen('begin an epoch')
    const { epoch, runId, acks, raiseIds } = promotion
    this.#moves()
    following.willLead()
    keepForFormerLeader(this.name, data)
    const role = await startLeading(data, this.cluster, this.#roles.views, this.#settings, this.#roles.fail, {
      promotion: { epoch, runId, ...(acks && { acks }) },
      raiseIds,
      mayLead: () => this.#fence.mayLead(),
      publishRules: (rules) => this.#fence.publishRules(rules),
      ceilings: this.#fence.ceilings(),
      stopped: (error) => this.stopLeading(error),
      sawEpoch: (seen, of) => this.#fence.sawEpoch(seen, of),
    }).catch((error: unknown) => {
      if (data.log.failure !== undefined) this.#roles.fail(data.log.failure)
      throw error
    })
    this.#begun = role
    following.tell()
    if (this.#fence.mayLead()) return
    await this.#dropBegun()
    throw leaseOver(this.name, epoch)
  }

  acceptWrites(): void {
    const begun = this.#begun
    if (begun === undefined) throw outOfTurn('accept writes', 'it began no epoch')
    this.#begun = undefined
    this.#isFrozen = false
    this.#roles.lead(begun)
    const { failure } = begun.pipeline
    if (failure !== undefined) return this.#roles.stopLeading(failure)
    begun.open()
  }

  stopLeading(reason: UnderstudyError): void {
    this.#begun?.stop(reason)
    this.#roles.stopLeading(reason)
  }

  /** Nothing of it goes on: before the node is closed. */
  async close(): Promise<void> {
    this.#moves()
    await this.#dropBegun()
  }

  /** What was begun of an epoch is a tail of this log now. */
  async #dropBegun(): Promise<void> {
    const begun = this.#begun
    if (begun === undefined) return
    this.#begun = undefined
    begun.stop(leadsNoMore(this.name, undefined))
    await begun.close()
  }

  /** The log is at rest no more. */
  #moves(): void {
    this.#fetching?.abort()
    this.#tail?.close()
    this.#tail = undefined
  }

  #frozen(what: string): { readonly data: NodeData; readonly following: FollowerRole } {
    const { data, following } = this.#roles
    if (data === undefined || following === undefined) throw outOfTurn(what, 'it has no data, or it leads')
    if (!following.isFrozen || this.#begun !== undefined) throw outOfTurn(what, 'it is not frozen')
    return { data, following }
  }

  #notLeader(): UnderstudyError {
    const leading = this.#roles.leadingOrError()
    return 'code' in leading ? leading : leadsNoMore(this.name, undefined)
  }

  /** A target that shows everything begins its epoch with nothing to hide, and readers miss nothing. */
  async #whenShown(leading: LeaderRole, target: string, end: Lsn, timeoutMs: number): Promise<void> {
    const late = Promise.withResolvers<void>()
    const timer = this.#settings.clock.schedule(timeoutMs, () => late.resolve())
    await Promise.race([leading.whenHas(target, end, 'applied'), late.promise])
    timer.cancel()
  }
}

/** The leader before may come back, and go on from the end that is here, also when it named no slots before it was gone. */
function keepForFormerLeader(self: string, { log }: NodeData): void {
  const former = log.history.at(-1)?.leader
  if (former !== undefined && former !== self && log.slots.get(former) === undefined)
    log.slots.reserve(former, log.durable)
}

function notDrained(target: string, timeoutMs: number): UnderstudyError {
  return new UnderstudyError(
    'TIMEOUT',
    `What was written was not acknowledged, or ${target} did not have it, within ${timeoutMs} ms. The node goes on as leader; nothing was lost.`,
    { target, timeoutMs },
  )
}

function leaseOver(name: string, epoch: number): UnderstudyError {
  return new UnderstudyError(
    'LEASE_LOST',
    `Node ${name} began epoch ${epoch}, and may not lead any more. Nobody was shown anything of it; the beginning stays in its log until it follows the leader of now.`,
    { epoch },
  )
}

function outOfTurn(what: string, why: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `The node cannot ${what}: ${why}. Nothing was changed.`)
}
