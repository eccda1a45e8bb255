/**
 * Network namespaces of Linux, joined by a bridge that stands in one of its own: nothing of it touches the network of the machine.
 *
 * 1. A cut drops at the receiver, by a routing rule, so only iproute2 is needed. Packet loss needs nft, delay a kernel with netem.
 * 2. Names carry the pid of their owner. They are removed when it ends, and those of owners that are dead are removed by the next one.
 * 3. Addresses of the link layer are set by hand: no cut direction breaks the other one because ARP is not answered.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { FLAGS, endChild, isAlive } from './children.ts'
import type { FaultNetwork } from './network.ts'

const PORT = 7400
const NAME = /^us-(\d+)-/
/** Where Debian keeps what only root finds. */
const ENV = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` }

interface Ran {
  readonly ok: boolean
  readonly stdout: string
  readonly stderr: string
}

function run(command: string, args: readonly string[]): Ran {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', env: ENV })
  return { ok: status === 0, stdout: stdout ?? '', stderr: error?.message ?? stderr ?? '' }
}

function must(command: string, ...args: string[]): string {
  const { ok, stdout, stderr } = run(command, args)
  if (!ok) throw new Error(`${command} ${args.join(' ')} failed: ${stderr.trim()}`)
  return stdout
}

/** Why there can be no namespaces here; undefined where there can. */
export function namespacesMissing(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces are Linux only'
  if (!run('ip', ['-V']).ok) return 'ip of iproute2 is not installed'
  const name = `us-${process.pid}-probe`
  const made = run('ip', ['netns', 'add', name])
  if (!made.ok) return `no right to make network namespaces (${made.stderr.trim()})`
  const rule = run('ip', ['-n', name, 'rule', 'add', 'pref', '5', 'from', '10.9.0.1', 'blackhole'])
  const link = run('ip', [
    'link',
    'add',
    'e',
    'netns',
    name,
    'type',
    'veth',
    'peer',
    'name',
    'f',
    'netns',
    name,
  ])
  run('ip', ['netns', 'del', name])
  const failed = [rule, link].find(({ ok }) => !ok)
  return failed === undefined ? undefined : `this kernel lacks what cuts networks (${failed.stderr.trim()})`
}

/** Ends what runs in namespaces whose owner is dead, and removes them. */
export function removeStale(): void {
  for (const line of run('ip', ['netns', 'list']).stdout.split('\n')) {
    const [name = ''] = line.split(' ')
    const owner = Number(NAME.exec(name)?.[1])
    if (Number.isNaN(owner) || owner === process.pid || isAlive(owner)) continue
    removeNamespace(name)
  }
}

function removeNamespace(name: string): void {
  for (const pid of run('ip', ['netns', 'pids', name]).stdout.split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch {
      // It ended by itself.
    }
  }
  run('ip', ['netns', 'del', name])
}

interface Place {
  readonly name: string
  readonly namespace: string
  readonly ip: string
  readonly mac: string
  relay?: ChildProcess
}

export class Namespaces implements FaultNetwork {
  readonly kind = 'namespaces'
  readonly places: readonly string[]
  readonly can: { readonly delay: boolean; readonly lose: boolean }
  readonly #folder: string
  readonly #prefix: string
  readonly #hub: string
  readonly #places = new Map<string, Place>()
  readonly #faults = new Set<string>()
  readonly #onExit = (): void => this.#remove()

  /** `folder`: for sockets of the test. `series`: tells the networks of one process apart. */
  constructor(places: readonly string[], folder: string, series: number) {
    this.places = places
    this.#folder = folder
    this.#prefix = `us-${process.pid}-${series}`
    this.#hub = `${this.#prefix}-hub`
    for (const [index, name] of places.entries()) {
      const number = index + 1
      const hex = number.toString(16).padStart(2, '0')
      this.#places.set(name, {
        name,
        namespace: `${this.#prefix}-${name}`,
        ip: `10.99.0.${number}`,
        mac: `02:00:00:00:00:${hex}`,
      })
    }
    removeStale()
    // Also when the test's process ends early: what it leaves then is removed by the next one.
    process.once('exit', this.#onExit)
    try {
      this.#build()
      this.can = this.#abilities()
    } catch (error) {
      this.#remove()
      throw error
    }
  }

  #build(): void {
    must('ip', 'netns', 'add', this.#hub)
    must('ip', '-n', this.#hub, 'link', 'add', 'name', 'bridge0', 'type', 'bridge')
    must('ip', '-n', this.#hub, 'link', 'set', 'bridge0', 'up')
    const all = [...this.#places.values()]
    for (const [index, { namespace, ip, mac }] of all.entries()) {
      must('ip', 'netns', 'add', namespace)
      const port = `p${index}`
      must(
        'ip',
        'link',
        'add',
        'eth0',
        'netns',
        namespace,
        'address',
        mac,
        'type',
        'veth',
        'peer',
        'name',
        port,
        'netns',
        this.#hub,
      )
      must('ip', '-n', this.#hub, 'link', 'set', port, 'master', 'bridge0', 'up')
      must('ip', '-n', namespace, 'addr', 'add', `${ip}/24`, 'dev', 'eth0')
      must('ip', '-n', namespace, 'link', 'set', 'lo', 'up')
      must('ip', '-n', namespace, 'link', 'set', 'eth0', 'up')
      for (const other of all) {
        if (other.namespace === namespace) continue
        must(
          'ip',
          '-n',
          namespace,
          'neigh',
          'replace',
          other.ip,
          'lladdr',
          other.mac,
          'dev',
          'eth0',
          'nud',
          'permanent',
        )
      }
      // Rules of cuts come before the one that finds the own addresses.
      must('ip', '-n', namespace, 'rule', 'add', 'pref', '10', 'lookup', 'local')
      must('ip', '-n', namespace, 'rule', 'del', 'pref', '0')
    }
  }

  #abilities(): { delay: boolean; lose: boolean } {
    const [first] = this.#places.values()
    if (first === undefined) return { delay: false, lose: false }
    const netem = ['dev', 'eth0', 'root', 'netem', 'delay', '1ms']
    const delay = run('tc', ['-n', first.namespace, 'qdisc', 'add', ...netem]).ok
    if (delay) must('tc', '-n', first.namespace, 'qdisc', 'del', 'dev', 'eth0', 'root')
    const table =
      'add table ip probe; add chain ip probe c; add rule ip probe c numgen random mod 100 < 1 drop'
    const lose = run('ip', ['netns', 'exec', first.namespace, 'nft', table]).ok
    if (lose) must('ip', 'netns', 'exec', first.namespace, 'nft', 'delete table ip probe')
    return { delay, lose }
  }

  #place(name: string): Place {
    const place = this.#places.get(name)
    if (place === undefined) throw new Error(`no place is called ${name}`)
    return place
  }

  listenAddress(place: string): string {
    return `tcp://${this.#place(place).ip}:${PORT}`
  }

  listens(): void {
    // Addresses are fixed here.
  }

  address(_from: string, to: string): string {
    return this.listenAddress(to)
  }

  command(place: string, [file = '', ...args]: readonly string[]): { file: string; args: readonly string[] } {
    return { file: 'ip', args: ['netns', 'exec', this.#place(place).namespace, file, ...args] }
  }

  /** A socket of the file system leads into the namespace, where a relay dials the node. */
  async control(name: string): Promise<string> {
    const place = this.#place(name)
    const path = join(this.#folder, `${name}.sock`)
    if (place.relay === undefined) {
      const program = join(import.meta.dirname, '../../programs/relay.ts')
      const { file, args } = this.command(name, [
        process.execPath,
        ...FLAGS,
        program,
        path,
        place.ip,
        String(PORT),
      ])
      place.relay = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'], env: ENV })
      await once(createInterface({ input: place.relay.stdout! }), 'line')
    }
    return `unix://${path}`
  }

  cut(from: string, to: string): void {
    const key = `${from} ${to}`
    if (this.#faults.has(key)) return
    must('ip', '-n', this.#place(to).namespace, 'rule', 'add', ...this.#rule(from))
    this.#faults.add(key)
  }

  heal(from: string, to: string): void {
    if (!this.#faults.delete(`${from} ${to}`)) return
    must('ip', '-n', this.#place(to).namespace, 'rule', 'del', ...this.#rule(from))
  }

  #rule(from: string): string[] {
    return ['pref', '5', 'from', this.#place(from).ip, 'iif', 'eth0', 'blackhole']
  }

  delay(from: string, delayMs: number): void {
    if (!this.can.delay) throw new Error('this kernel has no netem')
    must(
      'tc',
      '-n',
      this.#place(from).namespace,
      'qdisc',
      'replace',
      'dev',
      'eth0',
      'root',
      'netem',
      'delay',
      `${delayMs}ms`,
    )
    this.#faults.add(`delay ${from}`)
  }

  lose(from: string, to: string, percent: number): void {
    if (!this.can.lose) throw new Error('nft is not installed, or this kernel lacks its parts')
    const { namespace } = this.#place(to)
    const { ip } = this.#place(from)
    const text = [
      'add table ip loss',
      'add chain ip loss in { type filter hook input priority 0; }',
      `add rule ip loss in ip saddr ${ip} ${percent < 100 ? `numgen random mod 100 < ${percent} ` : ''}drop`,
    ]
    must('ip', 'netns', 'exec', namespace, 'nft', text.join('; '))
    this.#faults.add(`loss ${to}`)
  }

  healAll(): void {
    for (const fault of this.#faults) {
      const [first = '', second = ''] = fault.split(' ')
      if (first === 'delay')
        must('tc', '-n', this.#place(second).namespace, 'qdisc', 'del', 'dev', 'eth0', 'root')
      else if (first === 'loss')
        must('ip', 'netns', 'exec', this.#place(second).namespace, 'nft', 'delete table ip loss')
      else this.heal(first, second)
      this.#faults.delete(fault)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { relay } of this.#places.values()) if (relay !== undefined) await endChild(relay)
    this.#remove()
  }

  #remove(): void {
    process.off('exit', this.#onExit)
    for (const { namespace } of this.#places.values()) removeNamespace(namespace)
    removeNamespace(this.#hub)
  }
}
