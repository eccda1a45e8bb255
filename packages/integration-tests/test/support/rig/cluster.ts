/**
 * A cluster of real processes on a network that can be cut, with clients that record what they do, and a verdict at the end.
 *
 * 1. Every step waits for something that a node or a client says, on a way that no fault touches.
 * 2. What is done to the cluster is noted in the histories, so that an explanation shows it among the operations.
 * 3. At the end all faults are healed, and all nodes must come to the same state before anything is judged.
 * 4. How a node is started is one function, `StartNode`.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import { connect, verifyCluster, type Client } from '@understudy/client'
import { tcp } from '@understudy/transport-tcp'
import { onTestFinished } from 'vitest'
import { eventually } from '../live-nodes.ts'
import { FLAGS } from './children.ts'
import { newFolder, removeFolder } from './folders.ts'
import { judge, type JudgeOptions, type Judgement } from './judge.ts'
import { Load, type LoadOptions } from './load.ts'
import { Namespaces } from './namespaces.ts'
import type { FaultNetwork } from './network.ts'
import { NodeProcess } from './node-process.ts'
import { Proxies } from './proxies.ts'
import { sharedClock } from './shared-clock.ts'

/** What a node says of itself, as far as the rig asks. */
export interface NodeView {
  readonly node: string
  readonly role: string
  readonly state: string
  readonly epoch: number
  readonly position: string
  readonly durable: number
  readonly [field: string]: unknown
}

export interface StartContext {
  readonly name: string
  readonly names: readonly string[]
  readonly directory: string
  /** Of the whole test: a coordinator's file may stand there. */
  readonly folder: string
  readonly network: FaultNetwork
  /** Who leads, as far as the test knows; the node itself at the first start of it. */
  readonly leader: string
}

/** The arguments of `understudy start` after the name, the directory and the address. */
export type StartNode = (context: StartContext) => readonly string[]

/** One leader for good, whose writes one of the others has before they are answered. */
export const fixedLeader: StartNode = ({ name, names, network, leader }) =>
  name === leader
    ? [
        '--acks',
        `any 1 (${names.filter((each) => each !== leader).join(', ')}) durable`,
        '--ack-timeout',
        '60000',
      ]
    : ['--leader', network.address(name, leader)]

export interface ClusterOptions {
  readonly kind: FaultNetwork['kind']
  /** Of nodes; the first one leads first. Default: a, b, c. */
  readonly names?: readonly string[]
  /** Other places of the network, beside that of the clients. */
  readonly more?: readonly string[]
  readonly start?: StartNode
}

const CLIENTS = 'clients'
const SETTLE_MS = 60_000
const MAIN = join(import.meta.dirname, '../../../../cli/src/main.ts')

export class ProcessCluster {
  readonly folder: string
  readonly network: FaultNetwork
  readonly names: readonly string[]
  /** Who leads, as far as the test knows; kept by `untilLeader`. */
  leader: string
  readonly #start: StartNode
  readonly #nodes = new Map<string, NodeProcess>()
  readonly #loads: Load[] = []
  readonly #clients = new Map<string, Client>()
  readonly #notes: { atMs: number; text: string }[] = []
  readonly #clock = sharedClock()

  private constructor(folder: string, network: FaultNetwork, names: readonly string[], start: StartNode) {
    this.folder = folder
    this.network = network
    this.names = names
    this.leader = names[0] ?? ''
    this.#start = start
  }

  /** All nodes, started, and following; with the tables of the load. Ended with the test. */
  static async open(options: ClusterOptions): Promise<ProcessCluster> {
    const { kind, names = ['a', 'b', 'c'], more = [], start = fixedLeader } = options
    const folder = newFolder()
    const places = [...names, CLIENTS, ...more]
    const network =
      kind === 'namespaces'
        ? new Namespaces(places, folder, randomInt(1_000_000))
        : await Proxies.open(places)
    const cluster = new ProcessCluster(folder, network, names, start)
    onTestFinished(() => cluster.#end())
    for (const name of names) {
      const node = cluster.start(name)
      if (name === names[0]) await cluster.#isReady(node)
    }
    await Promise.all(names.slice(1).map((name) => cluster.#isReady(cluster.node(name))))
    await cluster.#makeTables()
    return cluster
  }

  async #isReady(node: NodeProcess): Promise<void> {
    this.network.listens(node.name, await node.ready())
  }

  async #makeTables(): Promise<void> {
    const client = await this.client(await this.untilLeader())
    await client.write([
      { sql: 'create table note (id integer primary key autoincrement, value text not null unique)' },
      { sql: 'create table register (key text primary key, value text, reads integer not null default 0)' },
      {
        sql: `insert into register (key) values ${Array.from({ length: KEYS }, (_, n) => `('k${n}')`).join(', ')}`,
      },
    ])
  }

  node(name: string): NodeProcess {
    const node = this.#nodes.get(name)
    if (node === undefined) throw new Error(`${name} was not started`)
    return node
  }

  directory(name: string): string {
    return join(this.folder, name)
  }

  /** Starts a node, the first time or again. */
  start(name: string): NodeProcess {
    const own = ['start', '--name', name, '--directory', this.directory(name), '--json', '--until-input-ends']
    const listen = ['--listen', this.network.listenAddress(name), '--insecure']
    const rest = this.#start({
      name,
      names: this.names,
      directory: this.directory(name),
      folder: this.folder,
      network: this.network,
      leader: this.leader,
    })
    const program = [process.execPath, ...FLAGS, MAIN, ...own, ...listen, ...rest]
    const node = new NodeProcess(name, this.network.command(name, program))
    this.#nodes.set(name, node)
    this.note(`start ${name}`)
    return node
  }

  /** The same, until it is ready. */
  async restart(name: string): Promise<NodeProcess> {
    const node = this.start(name)
    await this.#isReady(node)
    return node
  }

  /** Clients at a place, by default one of their own; at the place of a node they share its side of each cut. */
  load(options: Partial<LoadOptions> & { readonly place?: string } = {}): Load {
    const { place = CLIENTS, ...rest } = options
    const load = new Load(this.network, place, {
      name: `c${this.#loads.length + 1}`,
      folder: this.folder,
      addresses: this.names.map((name) =>
        name === place ? this.network.listenAddress(name) : this.network.address(place, name),
      ),
      writers: 4,
      registers: { clients: 4, keys: KEYS },
      seed: this.#loads.length + 1,
      timeoutMs: 2000,
      pauseMs: 0,
      ...rest,
    })
    this.#loads.push(load)
    return load
  }

  /** A client of the test itself, on a way without faults. Of the present life of the node. */
  async client(name: string): Promise<Client> {
    const key = `${name} ${this.node(name).pid}`
    const known = this.#clients.get(key)
    if (known !== undefined) return known
    const client = await connect({
      transport: tcp(),
      address: await this.network.control(name),
      timeoutMs: 10_000,
    })
    this.#clients.set(key, client)
    return client
  }

  /** What a node says of itself; undefined when it does not answer. */
  async view(name: string): Promise<NodeView | undefined> {
    if (this.#nodes.get(name)?.hasEnded !== false) return undefined
    try {
      return (await (await this.client(name)).status({ timeoutMs: 2000 })) as unknown as NodeView
    } catch {
      const key = `${name} ${this.node(name).pid}`
      await this.#clients.get(key)?.close()
      this.#clients.delete(key)
      return undefined
    }
  }

  /** Until one of `among` leads, which is the one that `this.leader` names from then on. */
  async untilLeader(among: readonly string[] = this.names, timeoutMs: number = SETTLE_MS): Promise<string> {
    const name = await this.#eventually(`one of ${among.join(', ')} to lead`, timeoutMs, async () => {
      for (const each of among) {
        const view = await this.view(each)
        if (view?.role === 'leader' && view.state === 'leading') return each
      }
      return undefined
    })
    if (name !== this.leader) this.note(`${name} leads`)
    this.leader = name
    return name
  }

  async until(
    name: string,
    what: string,
    holds: (view: NodeView) => boolean,
    timeoutMs: number = 30_000,
  ): Promise<NodeView> {
    return this.#eventually(`${name} ${what}`, timeoutMs, async () => {
      const view = await this.view(name)
      return view !== undefined && holds(view) ? view : undefined
    })
  }

  async #eventually<T>(what: string, timeoutMs: number, check: () => Promise<T | undefined>): Promise<T> {
    try {
      return await eventually(what, check, timeoutMs)
    } catch (error) {
      const said = [...this.#nodes.values()].map(
        (node) => `${node.name} said last:\n${node.lines.slice(-12).join('\n')}`,
      )
      throw new Error(`${String(error)}\n${said.join('\n')}`, { cause: error })
    }
  }

  note(text: string): void {
    this.#notes.push({ atMs: this.#clock.monotonic(), text })
  }

  /** Nothing that `from` sends arrives at `to`. */
  cutOneWay(from: string, to: string): void {
    this.network.cut(from, to)
    this.note(`cut ${from} → ${to}`)
  }

  cut(one: string, other: string): void {
    this.cutOneWay(one, other)
    this.cutOneWay(other, one)
  }

  heal(one: string, other: string): void {
    this.network.heal(one, other)
    this.network.heal(other, one)
    this.note(`heal ${one} – ${other}`)
  }

  /** From all other nodes; clients still reach it. */
  isolate(name: string): void {
    for (const other of this.names) if (other !== name) this.cut(name, other)
  }

  healAll(): void {
    this.network.healAll()
    this.note('heal all')
  }

  async kill(name: string): Promise<void> {
    this.note(`kill ${name}`)
    await this.node(name).kill()
  }

  pause(name: string): void {
    this.note(`pause ${name}`)
    this.node(name).pause()
  }

  resume(name: string): void {
    this.note(`resume ${name}`)
    this.node(name).resume()
  }

  /** Heals everything and restarts who ended, until one leads and all have what it has, table by table. */
  async settle(timeoutMs: number = SETTLE_MS): Promise<void> {
    this.healAll()
    for (const name of this.names) {
      const node = this.#nodes.get(name)
      if (node?.hasEnded === false) node.resume()
      else await this.restart(name)
    }
    const leader = await this.untilLeader(this.names, timeoutMs)
    const others = this.names.filter((name) => name !== leader)
    for (const name of others)
      await this.#eventually(`${name} to have all that ${leader} has`, timeoutMs, async () => {
        const [own, its] = [await this.view(leader), await this.view(name)]
        if (own === undefined || its === undefined || its.role === 'leader') return undefined
        return its.state === 'streaming' && its.position === own.position ? true : undefined
      })
    const clients = await Promise.all(others.map((name) => this.client(name)))
    const report = await verifyCluster({
      leader: await this.client(leader),
      nodes: clients,
      timeoutMs: 20_000,
    })
    if (!report.ok) throw new Error(`the nodes differ: ${JSON.stringify(report, undefined, 2)}`)
  }

  /** Ends the load, settles, and judges all histories. Throws with an explanation, and with where the histories are kept, when one is broken. */
  async judge(options: JudgeOptions & { readonly timeoutMs?: number } = {}): Promise<Judgement> {
    for (const load of this.#loads) await load.stop()
    await this.settle(options.timeoutMs)
    const evidence = {
      folder: this.folder,
      loads: this.#loads.map((load) => load.options.name),
      notes: this.#notes,
      client: await this.client(this.leader),
      clock: this.#clock,
    }
    const { judgement, files } = await judge(evidence, options)
    if (judgement.broken.length === 0) return judgement
    const kept = join(import.meta.dirname, '../../../.vitest/histories', `${process.pid}-${randomInt(1e9)}`)
    mkdirSync(kept, { recursive: true })
    for (const [name, text] of files) writeFileSync(join(kept, name), text)
    const command = `npm run check:history -- ${kept}/<file>`
    throw new Error(`${judgement.broken.join('\n\n')}\n\nThe histories are kept: ${command}`)
  }

  async #end(): Promise<void> {
    for (const load of this.#loads) await load.kill()
    for (const node of this.#nodes.values()) await node.kill()
    for (const client of this.#clients.values()) await client.close()
    await this.network[Symbol.asyncDispose]()
    removeFolder(this.folder)
  }
}

const KEYS = 5
