/** Looks at every node again and again: what must hold at any moment. */
import { LOCAL_SLOT } from '@understudy/contracts'
import { acknowledgedOnFollower } from '@understudy/replication'
import type { FollowerHost } from './follower.ts'
import type { Host, NodeData } from './host.ts'
import type { LeaderHost } from './leader.ts'
import type { Receipts } from './receipts.ts'
import { CLUSTER, type World } from './world.ts'

/** Scheduled calls of the whole cluster; more says that timers are not given back. */
const TIMERS_MAX = 2000
/** Between two comparisons of all data, in virtual milliseconds. */
const THOROUGH_MS = 500

/** Every node that runs says what it knows of receipts. */
export function askAboutReceipts(
  { receipts }: World,
  { name, leading }: LeaderHost,
  followers: readonly FollowerHost[],
  which: 'some' | 'all',
): void {
  const ask: Receipts['ask'] = (...asked) =>
    which === 'all' ? receipts.askAll(...asked) : receipts.ask(...asked)
  if (leading !== undefined) ask(name, CLUSTER, leading.data.log, leading.pipeline.acknowledged)
  for (const { name: follower, data, following } of followers)
    if (data !== undefined && following !== undefined)
      ask(follower, CLUSTER, data.log, acknowledgedOnFollower(data.log, following.report().highWatermark))
}

export class Watch {
  readonly #world: World
  readonly #leader: LeaderHost
  readonly #followers: readonly FollowerHost[]
  readonly #applied = new Map<NodeData, number>()
  readonly #epochs = new Map<Host, number>()
  readonly #first = new Map<NodeData, number>()
  #isThorough = false
  #thoroughAtMs = 0
  #isOver = false

  constructor(world: World, leader: LeaderHost, followers: readonly FollowerHost[]) {
    this.#world = world
    this.#leader = leader
    this.#followers = followers
    this.#again()
  }

  stop(): void {
    this.#isOver = true
  }

  #again(): void {
    const { clock, shape } = this.#world
    clock.schedule(shape.watchMs, () => {
      if (this.#isOver) return
      this.#world.check(() => this.look())
      this.#again()
    })
  }

  look(): void {
    const nowMs = this.#world.clock.monotonic()
    this.#isThorough = nowMs - this.#thoroughAtMs >= THOROUGH_MS
    if (this.#isThorough) this.#thoroughAtMs = nowMs
    const { leading } = this.#leader
    for (const host of [this.#leader, ...this.#followers])
      if (host.data !== undefined) this.#lookAt(host, host.data)
    for (const follower of this.#followers) this.#expectTruthful(follower)
    if (leading !== undefined) this.#expectBounded()
    if (this.#isThorough) askAboutReceipts(this.#world, this.#leader, this.#followers, 'some')
    // The leader's log may end above what is durable; only followers must not.
    if (this.#world.clock.pending > TIMERS_MAX)
      this.#world.broken('I13', `${this.#world.clock.pending} calls are scheduled`)
  }

  #lookAt(host: Host, data: NodeData): void {
    const { world } = host
    const { log, storage } = data
    const { name } = host
    if (host === this.#leader) {
      if (log.durable <= world.history.end) world.history.expectPoint(name, storage.applied)
    } else {
      host.comparedTo = world.history.compare(name, log, host.comparedTo + 1)
      world.history.expectPoint(name, storage.applied)
    }
    if (storage.applied.lsn > log.durable)
      world.broken('W1', `${name} shows LSN ${storage.applied.lsn}, its log is durable up to ${log.durable}`)
    if (storage.applied.lsn < (this.#applied.get(data) ?? 0))
      world.broken('I5', `${name} went back to LSN ${storage.applied.lsn}`)
    this.#applied.set(data, storage.applied.lsn)
    host.noteEver()
    world.acks.expectStrict(name, host === this.#leader, storage)
    const local = log.slots.get(LOCAL_SLOT)
    if (local === undefined || local.state === 'lost' || log.first > local.lsn + 1)
      world.broken(
        'I15',
        `the log of ${name} begins at ${log.first}, its own slot is at ${local?.lsn} (${local?.state})`,
      )
    this.#expectEpochs(host, data)
    if (log.first > (this.#first.get(data) ?? log.first)) world.tally.add('segments collected')
    this.#first.set(data, log.first)
    // Comparing all data costs more than everything else here, so that it is done now and then.
    if (this.#isThorough && log.durable <= world.history.end) world.history.expectState(name, storage)
  }

  #expectEpochs(host: Host, { log }: NodeData): void {
    const { world } = host
    // What is not synced may go with the power.
    const newest = log.history.findLast((entry) => entry.firstLsn <= log.durable)?.number ?? 0
    if (newest < (this.#epochs.get(host) ?? 0))
      world.broken('I4', `${host.name} went back to epoch ${newest}`)
    this.#epochs.set(host, newest)
    if (
      log.history.some((entry, index) => index > 0 && entry.number <= (log.history[index - 1]?.number ?? 0))
    )
      world.broken('I4', `the epochs of ${host.name} do not grow`)
  }

  /** What the leader believes of a follower never goes beyond what the follower has. */
  #expectTruthful(follower: FollowerHost): void {
    const { leading } = this.#leader
    const { data } = follower
    const status = leading?.followers.status().find(({ name }) => name === follower.name)
    if (status === undefined || data === undefined || follower.following === undefined) return
    const { shape } = this.#world
    const { durable, applied } = follower.following.report()
    if (durable > data.log.durable || applied.lsn > data.storage.applied.lsn)
      this.#world.broken('I16', `${follower.name} reports ${durable} as durable, ${applied.lsn} as applied`)
    // With an ack rule a node that restarts may show less than before, until its leader says what is acked.
    const isOfNow = shape.acks === undefined || follower.phase === 'catchup' || follower.phase === 'streaming'
    if (status.durable > data.log.durable || (isOfNow && (status.applied ?? 0) > data.storage.applied.lsn))
      this.#world.broken(
        'I16',
        `the leader takes ${status.durable} for durable at ${follower.name}, whose log is durable up to ${data.log.durable}`,
      )
    const behind = (leading?.data.log.durable ?? 0) - data.storage.applied.lsn
    if (isOfNow && status.lag !== undefined && status.lag.records < behind)
      this.#world.broken(
        'I16',
        `the leader shows ${follower.name} ${status.lag.records} records behind; it is ${behind}`,
      )
  }

  #expectBounded(): void {
    const { shape } = this.#world
    const { leading } = this.#leader
    if (leading === undefined) return
    const { pipeline, followers, data } = leading
    if (pipeline.queued > (shape.pipeline.queueWritesMax ?? 0))
      this.#world.broken('I13', `${pipeline.queued} writes wait`)
    // A frame goes on to the end of a record, which may hold many values: those of transactions found after a crash, too.
    const recordMax = Math.max(2 * shape.bigValueBytesMax + 20_000, shape.pipeline.recordBytesMax ?? 0)
    const frameMax = shape.link.frameBytes + recordMax
    for (const { name, unackedBytes } of followers.status()) {
      if (unackedBytes > shape.link.windowBytes + frameMax)
        this.#world.broken('I13', `${unackedBytes} bytes are on their way to ${name}`)
    }
    for (const { name, state, heldBytes } of data.log.slots.list()) {
      if (name !== LOCAL_SLOT && state !== 'lost' && state !== 'unreserved' && heldBytes > shape.slotBytesMax)
        this.#world.broken('I13', `the slot ${name} holds back ${heldBytes} bytes`)
    }
  }
}
