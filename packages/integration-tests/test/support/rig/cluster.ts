/**
 * A cluster of real processes on a network that can be cut, with clients that record what they do, and a verdict at the end.
 *
 * 1. Every step waits for something that a node or a client says, on a way that no fault touches.
 * 2. What is done to the cluster is noted in the histories, so that an explanation shows it among the operations.
 * 3. At the end all faults are healed, and all nodes must come to the same state before anything is judged.
 * 4. How a node is started is one function, `StartNode`.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
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
  /** 1 the first time that it is started. */
  readonly life: number
}

/** The program of a node, and its arguments. It prints its events as JSON, and ends when its input does. */
export type StartNode = (context: StartContext) => readonly string[]

const MAIN = join(import.meta.dirname, '../../../../cli/src/main.ts')

/** By the command line. */
export function understudyStart(context: StartContext, ...rest: string[]): string[] {
  const { name, directory, network } = context
  const own = ['--name', name, '--directory', directory, '--json', '--until-input-ends']
  return [MAIN, 'start', ...own, '--listen', network.listenAddress(name), '--insecure', ...rest]
}

/** One leader for good, whose writes one of the others has before they are answered. */
export const fixedLeader: StartNode = (context) => {
  const { name, names, network, leader } = context
  const others = names.filter((each) => each !== leader).join(', ')
  return name === leader
    ? understudyStart(context, '--acks', `any 1 (${others}) durable`, '--ack-timeout', '60000')
    : understudyStart(context, '--leader', network.address(name, leader))
}

export interface ClusterOptions {
  readonly kind: FaultNetwork['kind']
  /** Of nodes; the first one leads first. Default: a, b, c. */
  readonly names?: readonly string[]
  /** Those that are started at once. Default: all. */
  readonly first?: readonly string[]
  /** Other places of the network, beside that of the clients. */
  readonly more?: readonly string[]
  readonly start?: StartNode
  /** Whether ids of notes are never given twice. Default true. */
  readonly autoincrement?: boolean
  /** What must be there before the first node starts, such as a coordinator at a place of the network. */
  readonly before?: (network: FaultNetwork, folder: string) => Promise<AsyncDisposable | undefined>
}

const CLIENTS = 'clients'
const LINES_SHOWN = 16
const LINE_MAX = 1000
/** What a node tells each time that it dials in vain. */
const REPEATED = /"state":"disconnected"|"kind":"followerChanged"/
const SETTLE_MS = 60_000

export class ProcessCluster {
  readonly folder: string
  readonly network: FaultNetwork
  readonly names: readonly string[]
  /** Who leads, as far as the test knows; kept by `untilLeader`. */
  leader: string
  readonly #start: StartNode
  readonly #nodes = new Map<string, NodeProcess>()
  readonly #lives = new Map<string, number>()
  readonly #loads: Load[] = []
  readonly #clients = new Map<string, Client>()
  readonly #notes: { atMs: number; text: string }[] = []
  readonly #clock = sharedClock()
  #beside: AsyncDisposable | undefined
  #failovers = 0

  private constructor(folder: string, network: FaultNetwork, names: readonly string[], start: StartNode) {
    this.folder = folder
    this.network = network
    this.names = names
    this.leader = names[0] ?? ''
    this.#start = start
  }

  /** All nodes, started, and following; with the tables of the load. Ended with the test. */
  static async open(options: ClusterOptions): Promise<ProcessCluster> {
    const {
      kind,
      names = ['a', 'b', 'c'],
      first = names,
      more = [],
      start = fixedLeader,
      before,
      autoincrement = true,
    } = options
    const folder = newFolder()
    const places = [...names, CLIENTS, ...more]
    const network =
      kind === 'namespaces'
        ? new Namespaces(places, folder, randomInt(1_000_000))
        : await Proxies.open(places)
    const cluster = new ProcessCluster(folder, network, names, start)
    onTestFinished(() => cluster.#end())
    if (before !== undefined) cluster.#beside = await before(network, folder)
    for (const name of first) {
      const node = cluster.start(name)
      if (name === first[0]) await cluster.#isReady(node)
    }
    await Promise.all(first.slice(1).map((name) => cluster.#isReady(cluster.node(name))))
    await cluster.#makeTables(autoincrement)
    return cluster
  }

  async #isReady(node: NodeProcess): Promise<void> {
    this.network.listens(node.name, await node.ready())
  }

  async #makeTables(autoincrement: boolean): Promise<void> {
    const ids = autoincrement ? 'primary key autoincrement' : 'primary key'
    const client = await this.client(await this.untilLeader())
    await client.write([
      { sql: `create table note (id integer ${ids}, value text not null unique)` },
      { sql: 'create table register (key text primary key, value text, reads integer not null default 0)' },
      {
        sql: `insert into register (key) values ${Array.from({ length: KEYS }, (_, n) => `('k${n}')`).join(', ')}`,
      },
    ])
  }

  /** How often another one was found leading than before. */
  get failovers(): number {
    return this.#failovers
  }

  others(name: string): string[] {
    return this.names.filter((each) => each !== name)
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
    const life = (this.#lives.get(name) ?? 0) + 1
    this.#lives.set(name, life)
    const [program = '', ...args] = this.#start({
      name,
      names: this.names,
      directory: this.directory(name),
      folder: this.folder,
      network: this.network,
      leader: this.leader,
      life,
    })
    const node = new NodeProcess(
      name,
      this.network.command(name, [process.execPath, ...FLAGS, program, ...args]),
    )
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
    const load = new Load(
      this.network,
      place,
      {
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
      },
      () => this.#explain(),
    )
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
    if (name !== this.leader) {
      this.note(`${name} leads`)
      this.#failovers++
    }
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
      throw new Error(`${String(error)}\n${await this.#explain()}`, { cause: error })
    }
  }

  /** The last that every node told, as far as it is of interest, and what it says now. */
  async #explain(): Promise<string> {
    const all = [...this.#nodes.values()].map(async ({ name, lines }) => {
      const view = await this.view(name)
      const last = lines.filter((line) => !REPEATED.test(line)).slice(-LINES_SHOWN)
      const told = last.map((line) => line.slice(0, LINE_MAX)).join('\n')
      return `${name} said last:\n${told}\nand of itself now: ${JSON.stringify(view)?.slice(0, 4 * LINE_MAX)}`
    })
    return (await Promise.all(all)).join('\n')
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

  /** A command of a person, such as `promote`, asked of one node on the way without faults. Gives what it prints as JSON; throws when it fails. */
  async command(command: string, name: string, ...rest: string[]): Promise<unknown> {
    this.note(`${command} ${name} ${rest.join(' ')}`)
    const address = await this.network.control(name)
    const args = [...FLAGS, MAIN, command, address, ...rest, '--json']
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 })
    return JSON.parse(stdout)
  }

  /** Heals, resumes or restarts one node, until it follows again. */
  async bringBack(name: string): Promise<void> {
    for (const other of this.others(name)) this.heal(name, other)
    if (this.node(name).hasEnded) await this.restart(name)
    else this.resume(name)
    await this.until(
      name,
      'to follow again',
      ({ role, state }) => role === 'follower' && state === 'streaming',
      SETTLE_MS,
    )
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
    const others = this.others(leader)
    for (const name of others)
      await this.#eventually(`${name} to have all that ${leader} has`, timeoutMs, async () => {
        const [own, its] = [await this.view(leader), await this.view(name)]
        if (own === undefined || its === undefined || its.role === 'leader') return undefined
        return its.state === 'streaming' && its.position === own.position ? true : undefined
      })
    // One that connected to a follower without data was told of no cluster.
    for (const client of this.#clients.values()) await client.close()
    this.#clients.clear()
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
    await this.#beside?.[Symbol.asyncDispose]()
    await this.network[Symbol.asyncDispose]()
    removeFolder(this.folder)
  }
}

const KEYS = 5
