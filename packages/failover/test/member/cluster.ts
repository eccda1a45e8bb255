/** A cluster of members on simulated machines, with a simulated coordinator and fake hosts. */
import { connectionTo } from './dialling.ts'
import {
  SeededRandom,
  SimulatedClock,
  SimulatedCoordinator,
  SimulatedMachine,
  SimulatedNetwork,
  type SimulatedCoordinatorClient,
} from '@understudy/testkit'
import { Connection, type Hello } from '@understudy/protocol'
import {
  openMember,
  type ClusterMember,
  type FailoverOptions,
  type MemberEvent,
  type Rules,
} from '../../src/index.ts'
import { FakeHost, type FakeDisk, type FakeEntry } from './fake-host.ts'

export interface FakeNode {
  readonly name: string
  readonly machine: SimulatedMachine
  readonly disk: FakeDisk
  readonly events: MemberEvent[]
  coordinator: SimulatedCoordinatorClient | undefined
  member: ClusterMember | undefined
  host: FakeHost | undefined
}

export interface ClusterOptions extends Omit<Partial<FailoverOptions>, 'coordinator' | 'members'> {
  readonly seed?: number
  readonly names?: readonly string[]
  readonly rules?: Rules
  readonly manual?: boolean
  readonly priorities?: Readonly<Record<string, number>>
}

export const SEMI_SYNC: Rules = {
  rule: { level: 'durable', of: { kind: 'any', count: 1, names: ['b', 'c'] } },
}

export class FakeCluster {
  readonly clock: SimulatedClock
  readonly network: SimulatedNetwork
  readonly random: SeededRandom
  readonly coordinator: SimulatedCoordinator
  readonly nodes: Map<string, FakeNode> = new Map()
  readonly acked: FakeEntry[] = []
  readonly #options: ClusterOptions

  constructor(options: ClusterOptions = {}) {
    this.#options = options
    const { seed = 1, names = ['a', 'b', 'c'] } = options
    this.random = new SeededRandom(seed)
    this.clock = new SimulatedClock({ shuffle: this.random.fork('order') })
    this.network = new SimulatedNetwork({ clock: this.clock, random: this.random.fork('network') })
    this.coordinator = new SimulatedCoordinator({
      clock: this.clock,
      random: this.random.fork('coordinator'),
    })
    for (const name of names) {
      const machine = new SimulatedMachine({
        name,
        clock: this.clock,
        network: this.network,
        random: this.random,
      })
      this.nodes.set(name, {
        name,
        machine,
        disk: { log: [], lost: 0 },
        events: [],
        coordinator: undefined,
        member: undefined,
        host: undefined,
      })
    }
  }

  node(name: string): FakeNode {
    return this.nodes.get(name) as FakeNode
  }

  async start(name: string, founds = false): Promise<void> {
    const node = this.node(name)
    const { clock, random, files, transport } = node.machine.boot()
    const { rules = SEMI_SYNC, manual = false, priorities = {}, ...options } = this.#options
    node.coordinator = manual ? undefined : this.coordinator.open(clock)
    files.makeDirectory('/node')
    const member = await openMember(
      {
        ...options,
        members: [...this.nodes.keys()].map((each) => ({
          name: each,
          address: `sim://${each}`,
          priority: priorities[each] ?? 0,
        })),
        ...(node.coordinator && { coordinator: node.coordinator }),
        clock,
      },
      {
        name,
        files,
        directory: '/node',
        random,
        runId: () => random.uint32().toString(16).padStart(16, '0'),
        dial: (address, timeoutMs, signal) => connectionTo(transport, clock, address, timeoutMs, signal),
        emit: (event) => node.events.push(event),
      },
    )
    node.member = member
    const reachable = (from: string, to: string): FakeHost | undefined => {
      const other = this.node(to)
      const isUp = other.machine.life !== undefined && !other.machine.life.clock.paused
      return isUp && !this.network.isCut(from, to) && !this.network.isCut(to, from) ? other.host : undefined
    }
    node.host = new FakeHost(
      name,
      node.disk,
      member.fence,
      { reach: reachable, acked: (entry) => this.acked.push(entry), crc: () => this.random.uint32() },
      clock,
      rules,
    )
    await transport.listen(`sim://${name}`, (channel) => {
      const connection = new Connection(channel, clock)
      void (async () => {
        try {
          member.accept(connection, (await connection.next({ timeoutMs: 5000 })) as Hello)
        } catch {
          connection.close()
        }
      })()
    })
    member.start(node.host, founds)
  }

  async startAll(): Promise<void> {
    for (const name of this.nodes.keys()) await this.start(name, name === 'a')
  }

  kill(name: string): void {
    const node = this.node(name)
    node.machine.kill()
    node.host = undefined
    node.member = undefined
  }

  /** Who takes writes. */
  get leaders(): string[] {
    return [...this.nodes.values()].flatMap(({ name, host }) => (host?.role === 'leading' ? [name] : []))
  }

  async until(what: string, condition: () => boolean, withinMs = 20_000): Promise<number> {
    const begunMs = this.clock.monotonic()
    try {
      await this.clock.runUntil(condition, { withinMs })
    } catch (error) {
      throw new Error(`not within ${withinMs} ms: ${what}\n${this.describe()}`, { cause: error })
    }
    return this.clock.monotonic() - begunMs
  }

  /** One leads, and all that run have its log. */
  async untilWhole(withinMs = 20_000): Promise<number> {
    return this.until(
      'one leads and all have its log',
      () => {
        const [leader, ...more] = this.leaders
        if (leader === undefined || more.length > 0) return false
        const running = [...this.nodes.values()].filter(({ host }) => host !== undefined)
        const epoch = this.node(leader).disk.log.at(-1)?.epoch
        return running.every(({ disk }) => disk.log.at(-1)?.epoch === epoch)
      },
      withinMs,
    )
  }

  /** Acknowledged entries that the leader of now does not have. */
  lost(): FakeEntry[] {
    const log = this.node(this.leaders[0] as string).disk.log
    return this.acked.filter(({ lsn, crc }) => log[lsn - 1]?.crc !== crc)
  }

  describe(): string {
    return [...this.nodes.values()]
      .map(({ name, host, member, disk }) => {
        const status = member?.status()
        return `${name}: ${host?.role ?? 'down'} ${disk.log.at(-1)?.epoch ?? 0}/${disk.log.length} ${status?.phase ?? ''} ${status?.verdict.verdict ?? ''} ${status?.decision?.reasons.at(-1) ?? ''}`
      })
      .join('\n')
  }
}
