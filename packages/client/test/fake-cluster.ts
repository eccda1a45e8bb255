/**
 * A cluster without databases: nodes with the real server on a simulated network and clock, and a log of writes that a test replicates,
 * promotes and loses as it likes. Clients are real.
 */
import { UnderstudyError, type EpochEntry, type LogPoint, type Receipt } from '@understudy/contracts'
import { Connection, type Hello, type Leadership, type ResultSet, type WriteAsks } from '@understudy/protocol'
import { serveClient, type ClientHandlers, type ReadRequest, type WriteAnswer } from '@understudy/server'
import { SeededRandom, SimulatedClock, SimulatedNetwork, type Span } from '@understudy/testkit'
import { onTestFinished } from 'vitest'
import { connect, type ClusterClient, type ClusterOptions } from '../src/index.ts'

export interface Entry {
  readonly epoch: number
  readonly key: string | undefined
  readonly body: string
}

type Write = (body: string, asks: WriteAsks) => WriteAnswer | Promise<WriteAnswer>

export class FakeNode {
  readonly name: string
  readonly world: FakeCluster
  isLeader = false
  cluster: string
  /** Only one that leads knows where the leader is, unless it is told. */
  leader: string | undefined
  forwards = false
  stalenessMs: number | undefined
  history: EpochEntry[] = []
  entries: Entry[] = []
  /** Requests by kind. */
  readonly asked: string[] = []
  /** In place of what a write does. */
  onWrite: Write | undefined
  onRead: ((request: ReadRequest) => void | Promise<void>) | undefined
  onStatus: (() => Promise<void>) | undefined
  readonly #changed = new Set<() => void>()

  constructor(world: FakeCluster, name: string) {
    this.world = world
    this.name = name
    this.cluster = world.cluster
  }

  get address(): string {
    return `sim://${this.name}`
  }

  get epoch(): EpochEntry | undefined {
    return this.history.at(-1)
  }

  /** Positions begin at 1; the CRC tells entries of different epochs apart. */
  get applied(): LogPoint {
    return pointOf(this.entries, this.entries.length)
  }

  change(): void {
    for (const changed of this.#changed) changed()
  }

  async listen(): Promise<void> {
    const { world } = this
    const transport = world.network.transport(this.name)
    await transport.listen(this.address, (channel) => {
      const connection = new Connection(channel, world.clock)
      void connection.next({ timeoutMs: 5000 }).then(
        (hello) => {
          const { history } = this
          const identity = { cluster: this.cluster, node: this.name, history, end: this.applied }
          const epoch = () => this.epoch
          serveClient(connection, hello as Hello, this.#handlers(), { clock: world.clock, identity, epoch })
        },
        () => connection.close(),
      )
    })
  }

  /** What a leader does with a write. */
  append(body: string, { key }: WriteAsks): WriteAnswer {
    if (!this.isLeader)
      throw new UnderstudyError('NOT_LEADER', `${this.name} follows.`, {
        leader: this.leader && `sim://${this.leader}`,
      })
    const known = key === undefined ? -1 : this.entries.findIndex((entry) => entry.key === key)
    if (known < 0) this.entries.push({ epoch: this.epoch!.number, key, body })
    const lsn = known < 0 ? this.entries.length : known + 1
    const says = known < 0 ? {} : { replayed: true as const, valueKept: false }
    const receipt = this.receiptAt(lsn)
    return { results: [], position: receipt.position, receipt, ...says }
  }

  receiptAt(lsn: number): Receipt {
    const { epoch, crc } = pointOf(this.entries, lsn)
    const { runId } = this.history.find(({ number }) => number === epoch)!
    const acks = { asked: 'local', reached: 'local', members: [], degraded: false } as const
    return { cluster: this.cluster, position: { epoch, lsn }, runId, crc, index: 0, ...acks }
  }

  leadership(): Leadership {
    const { name, isLeader, leader, epoch, applied, stalenessMs, forwards } = this
    const named = isLeader ? name : leader
    return {
      node: name,
      cluster: this.cluster,
      role: isLeader ? 'leader' : 'follower',
      takesWrites: isLeader,
      forwardsWrites: forwards,
      ...(epoch && { epoch: { number: epoch.number, runId: epoch.runId } }),
      applied,
      ...(stalenessMs !== undefined && { stalenessMs }),
      ...(named !== undefined && { leader: { name: named, address: `sim://${named}` } }),
      members: [],
    }
  }

  #handlers(): ClientHandlers {
    const unexpected = (): never => {
      throw new Error('this handler was not to be called')
    }
    return {
      whoLeads: async ({ unlessEpoch, waitMs, signal }) => {
        this.asked.push('whoLeads')
        const isSame = (): boolean =>
          unlessEpoch?.number === this.epoch?.number && this.leadership().leader !== undefined
        if (waitMs > 0) while (!signal.aborted && isSame()) await this.#nextChange(signal)
        return this.leadership()
      },
      write: ([statement], asks) => {
        this.asked.push(`write ${statement!.sql} ${asks.key ?? ''}`)
        return (this.onWrite ?? ((body) => this.append(body, asks)))(statement!.sql, asks)
      },
      read: async (_, request) => {
        this.asked.push('read')
        await this.onRead?.(request)
        this.#check(request)
        const { epoch, lsn, crc } = this.applied
        const runId = this.history.find(({ number }) => number === epoch)?.runId
        const result: ResultSet = { columns: ['n'], rows: [[this.entries.length]], changes: 0 }
        return { result, position: { epoch, lsn }, ...(runId !== undefined && { proof: { crc, runId } }) }
      },
      verdict: ({ position: { epoch, lsn }, crc }) => {
        this.asked.push('verdict')
        const at = pointOf(this.entries, lsn)
        const isHeld = lsn <= this.entries.length && at.epoch === epoch && at.crc === crc
        if (isHeld) return { verdict: 'committed', reason: 'it is here' }
        return { verdict: 'lost', epoch: this.epoch!.number, reason: 'something else is there' }
      },
      status: async () => {
        await this.onStatus?.()
        return { node: this.name }
      },
      mark: () => {
        this.asked.push('mark')
        if (!this.isLeader) throw new UnderstudyError('NOT_LEADER', `${this.name} follows.`)
        return this.applied
      },
      digest: unexpected,
      rows: unexpected,
      release: unexpected,
      reach: unexpected,
      slots: unexpected,
      exposure: unexpected,
      dropSlot: unexpected,
      forget: unexpected,
      switchFormat: unexpected,
      setAcks: unexpected,
      promote: unexpected,
      switchover: unexpected,
      pauseFailover: unexpected,
      decisions: unexpected,
      describe: unexpected,
      openRead: unexpected,
      openWrite: unexpected,
    }
  }

  #check({ after, stalenessMsMax }: ReadRequest): void {
    if (stalenessMsMax !== undefined && !(this.isLeader || (this.stalenessMs ?? Infinity) <= stalenessMsMax))
      throw new UnderstudyError('TOO_STALE', `${this.name} is too old.`)
    if (after === undefined) return
    const at = pointOf(this.entries, after.lsn)
    if (after.lsn <= this.entries.length && at.epoch === after.epoch && at.crc === after.crc) return
    if (after.epoch >= (this.epoch?.number ?? 0) && after.lsn > this.entries.length)
      throw new UnderstudyError('TIMEOUT', `${this.name} is behind.`)
    throw new UnderstudyError('POSITION_LOST', `${this.name} has something else there.`)
  }

  async #nextChange(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#changed.add(resolve)
    signal.addEventListener('abort', () => resolve(), { once: true })
    await promise
    this.#changed.delete(resolve)
  }
}

export class FakeCluster {
  readonly clock: SimulatedClock = new SimulatedClock()
  readonly network: SimulatedNetwork
  readonly cluster = '00000000000000c1'
  readonly nodes: Map<string, FakeNode> = new Map()
  readonly #random: SeededRandom
  #epoch = 0
  #clients = 0

  constructor(seed: number = 1, latencyMs: Span = 1) {
    this.#random = new SeededRandom(seed)
    const random = this.#random.fork('network')
    this.network = new SimulatedNetwork({ clock: this.clock, random, latencyMs })
  }

  /** Nodes that listen; the first one leads. */
  static async of(names: readonly string[], seed?: number): Promise<FakeCluster> {
    const world = new FakeCluster(seed)
    for (const name of names) {
      const node = new FakeNode(world, name)
      world.nodes.set(name, node)
      await node.listen()
    }
    world.promote(names[0]!)
    return world
  }

  node(name: string): FakeNode {
    return this.nodes.get(name)!
  }

  /** The node leads a new epoch, and those named follow it: they know it and have what it has. */
  promote(name: string, followers: readonly string[] = [...this.nodes.keys()]): void {
    const leader = this.node(name)
    const number = ++this.#epoch
    const runId = number.toString(16).padStart(16, '0')
    const entry = { number, runId, leader: name, firstLsn: leader.entries.length + 1, crcBefore: 0 }
    leader.history = [...leader.history, entry]
    leader.isLeader = true
    for (const each of followers) {
      if (each === name) continue
      const node = this.node(each)
      node.isLeader = false
      node.leader = name
      node.history = leader.history
      node.entries = [...leader.entries]
    }
    for (const node of this.nodes.values()) node.change()
  }

  /** Followers have what the leader has. */
  replicate(from: string, ...to: string[]): void {
    for (const name of to) this.node(name).entries = [...this.node(from).entries]
  }

  async client(names: readonly string[], options: ClusterOptions = {}): Promise<ClusterClient> {
    const client = await this.clock.complete(this.connecting(names, options))
    onTestFinished(() => void client.close())
    return client
  }

  connecting(names: readonly string[], options: ClusterOptions = {}): Promise<ClusterClient> {
    const transport = this.network.transport('client')
    const addresses = names.map((name) => `sim://${name}`)
    return connect(addresses, {
      transport,
      clock: this.clock,
      random: this.#random.fork(`client ${this.#clients++}`),
      ...options,
    })
  }

  /** What the call comes to, with the milliseconds that it took. */
  async run<R>(
    call: Promise<R>,
  ): Promise<{ readonly value?: R; readonly error?: UnderstudyError; readonly ms: number }> {
    const begunMs = this.clock.monotonic()
    const settled = call.then(
      (value) => ({ value }),
      (error: unknown) => ({ error: error as UnderstudyError }),
    )
    const result = await this.clock.complete(settled, { withinMs: 600_000 })
    return { ...result, ms: this.clock.monotonic() - begunMs }
  }
}

export function insert(body: string): { readonly sql: string }[] {
  return [{ sql: body }]
}

function pointOf(entries: readonly Entry[], lsn: number): LogPoint {
  const entry = entries[lsn - 1]
  return entry === undefined
    ? { epoch: 0, lsn: 0, crc: 0 }
    : { epoch: entry.epoch, lsn, crc: entry.epoch * 1000 + lsn }
}
