/**
 * A leader and its followers, each a process of its own, and between them a relay where a network is to be slow.
 *
 * Decides: the order in which they start and end, and what is counted where. Leaves to others: what is measured when.
 *
 * Validity:
 * 1. Bytes on the wire are those of the followers' connections, both directions; those of clients are not in it.
 * 2. Nodes have their defaults: both logs are fdatasynced before anything is answered or applied.
 */
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { UnderstudyError } from '@understudy/contracts'
import { policyFrom } from '../acks/policies.ts'
import type { LoadHost } from '../load/load-calls.ts'
import { Child } from '../processes/child.ts'
import type { FollowerCalls } from '../processes/follower.ts'
import type { LeaderCalls } from '../processes/leader.ts'
import type { Latency } from '../processes/load.ts'
import type { RelayCalls } from '../processes/relay.ts'
import type {
  Counters,
  Instance,
  InstanceNode,
  ReplicaNotes,
  StartOptions,
  Survivors,
  Transfer,
} from './subject.ts'

export interface UnderstudyEndpoint {
  readonly address: string
  readonly transport: string
}

const STREAMING_TIMEOUT_MS = 60_000
const STREAMING_POLL_MS = 10
const FOLLOWERS: readonly string[] = ['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i']
/** A log that did not grow in this time, without a leader, has all that came. */
const SETTLED_MS = 100
const SIZE = 'select page_count * page_size from pragma_page_count, pragma_page_size'
const SURVIVORS = 'select k from kv order by id'

export async function startUnderstudy(options: StartOptions): Promise<Instance> {
  const instance = new UnderstudyInstance(options)
  try {
    await instance.start(await options.database())
    return instance
  } catch (error) {
    await instance[Symbol.asyncDispose]()
    throw error
  }
}

class UnderstudyInstance implements Instance {
  readonly #ended = new AsyncDisposableStack()
  readonly #followers: Child<FollowerCalls>[] = []
  readonly #options: StartOptions
  readonly #format: string
  readonly #transport: string
  readonly #ack: string
  #leader: Child<LeaderCalls> | undefined
  /** Of the leader, for its clients. */
  #address = ''
  /** Of the relay, or of the leader where there is none. */
  #dialled = ''
  #relay: Child<RelayCalls> | undefined
  readonly #roundTripMs: number
  #newcomers = 0
  readonly load?: LoadHost

  constructor(options: StartOptions) {
    const { variant } = options
    this.#options = options
    this.#format = variant['format'] ?? 'row'
    this.#transport = variant['transport'] ?? 'tcp'
    this.#ack = variant['ack'] ?? 'async'
    this.#roundTripMs = Number.parseFloat(variant['roundTrip'] ?? '0')
    if (variant['callers'] === 'embedded') {
      this.#leader = this.#ended.use(new Child<LeaderCalls>('leader'))
      this.load = this.#leader
    }
  }

  async start(database: string): Promise<void> {
    await this.#startLeader(database)
    for (let index = 0; index < this.#options.followers; index++) await this.#startFollower(index)
    await this.#streaming()
  }

  get endpoint(): UnderstudyEndpoint {
    return { address: this.#address, transport: this.#transport }
  }

  get facts(): Readonly<Record<string, string>> {
    const { variant, followers } = this.#options
    const callers =
      variant['callers'] === 'embedded'
        ? "callers in the leader's process"
        : 'callers in a process of their own, one connection'
    return {
      durability: `log of the leader: fdatasync before each answer; answered after: ${this.#ack}`,
      version: `Node.js ${process.versions.node}, SQLite ${process.versions['sqlite'] ?? 'unknown'}`,
      settings: `defaults; ${followers} followers; ${callers}`,
    }
  }

  nodes(): readonly InstanceNode[] {
    const processes: { readonly name: string; readonly child: { readonly pid: number | undefined } }[] = [
      { name: 'leader', child: this.#running },
      ...(this.#relay === undefined ? [] : [{ name: 'relay', child: this.#relay }]),
      ...this.#followers.map((child, index) => ({ name: `follower-${FOLLOWERS[index]}`, child })),
    ]
    return processes.flatMap(({ name, child }) => (child.pid === undefined ? [] : [{ name, pid: child.pid }]))
  }

  async settled(): Promise<void> {
    const position = await this.#running.call('position')
    await Promise.all(this.#followers.map((follower) => follower.call('waitFor', position)))
  }

  async counters(): Promise<Counters> {
    const wire = await Promise.all(this.#followers.map((follower) => follower.call('wireBytes')))
    return {
      wireBytes: wire.reduce((sum, bytes) => sum + bytes, 0),
      logBytes: await this.#running.call('logBytes'),
    }
  }

  async rest(): Promise<void> {
    await this.#running.call('checkpoint')
  }

  async verify(): Promise<void> {
    const at = await this.#running.call('mark')
    const digest = async (node: Child<LeaderCalls> | Child<FollowerCalls>): Promise<string> =>
      JSON.stringify(await (node as Child<FollowerCalls>).call('digest', at))
    const [ours, ...theirs] = await Promise.all([this.#running, ...this.#followers].map(digest))
    const differing = theirs.findIndex((each) => each !== ours)
    if (differing === -1) return
    throw new UnderstudyError(
      'DIVERGED',
      `The leader and follower ${FOLLOWERS[differing]} differ at ${at.epoch}/${at.lsn}: ${ours} and ${theirs[differing]}. The figures of this run are worth nothing.`,
    )
  }

  column(sql: string): Promise<readonly string[]> {
    return this.#running.call('column', sql)
  }

  async held(): Promise<Latency | undefined> {
    return this.#relay?.call('held')
  }

  async watch(): Promise<void> {
    await Promise.all(this.#followers.map((follower) => follower.call('observe')))
  }

  watched(): Promise<readonly ReplicaNotes[]> {
    return Promise.all(this.#followers.map((follower) => follower.call('observed')))
  }

  async bootstrap(): Promise<Transfer> {
    const name = `newcomer-${this.#newcomers++}`
    const transfer = await this.#visited(name, async (newcomer, openMs) => {
      const equalMs = await newcomer.call('waitFor', await this.#running.call('position'))
      const [bytes] = await newcomer.call('column', SIZE)
      return { bytes: Number(bytes), seconds: (openMs + equalMs) / 1000 }
    })
    await this.#running.call('forget', name)
    return transfer
  }

  /** The replica that is down is one more, which no ack policy waits for. */
  async catchUp(write: () => Promise<void>): Promise<{ readonly seconds: number }> {
    const name = `late-${this.#newcomers++}`
    await this.#visited(name, async (late) => late.call('waitFor', await this.#running.call('position')))
    await write()
    await this.rest()
    const seconds = await this.#visited(name, async (late, openMs) => {
      const equalMs = await late.call('waitFor', await this.#running.call('position'))
      return (openMs + equalMs) / 1000
    })
    await this.#running.call('forget', name)
    return { seconds }
  }

  /** A follower beside the others, for the time of `body`. */
  async #visited<R>(
    name: string,
    body: (follower: Child<FollowerCalls>, openMs: number) => Promise<R>,
  ): Promise<R> {
    await using follower = new Child<FollowerCalls>('follower')
    return await body(follower, await follower.call('open', this.#followerOptions(name)))
  }

  async killLeader(): Promise<void> {
    await this.#running.kill()
  }

  async survivors(): Promise<Survivors> {
    // A failover takes over what is durable in a follower's log, shown to its readers or not.
    const durable = await Promise.all(this.#followers.map((follower) => settledLog(follower)))
    for (const follower of this.#followers) await follower[Symbol.asyncDispose]()
    await this.#startLeader()
    // What was not acknowledged when it died is shown once followers have it.
    for (const index of this.#followers.keys()) await this.#startFollower(index)
    await this.#streaming()
    return {
      replica: { reached: Math.max(...durable) },
      leader: await this.#running.call('column', SURVIVORS),
    }
  }

  get #running(): Child<LeaderCalls> {
    if (this.#leader === undefined) throw new TypeError('the leader did not start')
    return this.#leader
  }

  async #startLeader(importFrom?: string): Promise<void> {
    if (this.#leader === undefined || importFrom === undefined)
      this.#leader = this.#ended.use(new Child<LeaderCalls>('leader'))
    this.#address = await this.#running.call('open', {
      directory: path.join(this.#options.directory, 'leader'),
      format: this.#format,
      wire: { transport: this.#transport },
      acks: await policyFrom(this.#ack, FOLLOWERS.slice(0, this.#options.followers)),
      ...(importFrom !== undefined && { importFrom }),
    })
    this.#dialled = this.#address
    if (this.#roundTripMs === 0) return
    await this.#relay?.[Symbol.asyncDispose]()
    const relay = (this.#relay = this.#ended.use(new Child<RelayCalls>('relay')))
    const options = { target: this.#address, roundTripMs: this.#roundTripMs }
    this.#dialled = addressOf(this.#address, await relay.call('open', options))
  }

  #followerOptions(name: string): Parameters<FollowerCalls['open']>[0] {
    return {
      name,
      directory: path.join(this.#options.directory, name),
      leader: this.#dialled,
      format: this.#format,
      wire: { transport: this.#transport },
    }
  }

  /** Milliseconds until the node has data. */
  async #startFollower(index: number): Promise<number> {
    const follower = this.#ended.use(new Child<FollowerCalls>('follower'))
    this.#followers[index] = follower
    return follower.call('open', this.#followerOptions(FOLLOWERS[index] as string))
  }

  async #streaming(): Promise<void> {
    const untilMs = performance.now() + STREAMING_TIMEOUT_MS
    while ((await this.#running.call('streaming')).length < this.#followers.length) {
      if (performance.now() >= untilMs)
        throw new UnderstudyError(
          'REQUEST_FAILED',
          `The followers did not stream within ${STREAMING_TIMEOUT_MS} ms. Nothing was measured.`,
        )
      await delay(STREAMING_POLL_MS)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ended.disposeAsync()
  }
}

/** The relay says where it listens as an address of tcp; what it hands on is whatever the nodes speak. */
function addressOf(leader: string, relay: string): string {
  return `${leader.slice(0, leader.indexOf(':'))}://${new URL(relay).host}`
}

/** LSN of the end of a follower's durable log once its leader is gone and nothing comes any more. */
async function settledLog(follower: Child<FollowerCalls>): Promise<number> {
  for (let before = -1; ;) {
    const { durable } = await follower.call('reached')
    if (durable === before) return durable
    before = durable
    await delay(SETTLED_MS)
  }
}
