/**
 * A leader and a follower, each a process of its own, with limits so small that everything rare happens often.
 *
 * Decides where they live and listen, counts what they went through. Leaves to others when they die.
 */
import { createServer } from 'node:net'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { SeededRandom } from '@understudy/testkit'
import { NodeProcess, type Settings, type Tidings, type ToldError } from './node-process.ts'
import type { Oracle } from './oracle.ts'

export type NodeName = 'leader' | 'follower'

/** How often each thing was seen to happen; what two looks cannot tell apart counts once. */
export interface Counts {
  rotations: number
  checkpoints: number
  retentions: number
  leaderRedos: number
  bootstraps: number
  lostSlots: number
  streams: number
}

export interface ClusterOptions {
  readonly folder: string
  readonly random: SeededRandom
  readonly oracle: Pick<Oracle, 'acknowledge'>
  readonly writers: number
  readonly pauseMs: number
  /** Where the follower's data lives; default in `folder`. */
  readonly followerDirectory?: string
  readonly flags?: readonly string[]
}

export class Cluster {
  readonly #options: ClusterOptions
  readonly #processes = new Map<NodeName, NodeProcess>()
  #errors: { readonly of: NodeName; readonly text: string }[] = []
  readonly counts: Counts = {
    rotations: 0,
    checkpoints: 0,
    retentions: 0,
    leaderRedos: 0,
    bootstraps: 0,
    lostSlots: 0,
    streams: 0,
  }
  #address = ''
  #newestSegment = ''
  #first = 0
  #local = 0
  #wasLost = false

  constructor(options: ClusterOptions) {
    this.#options = options
  }

  /** Errors that no kill explains. */
  get errors(): readonly string[] {
    return this.#errors.map(({ text }) => text)
  }

  /** Forgets the errors of a node that was made to fail. */
  forgive(name: NodeName): void {
    this.#errors = this.#errors.filter(({ of }) => of !== name)
  }

  get(name: NodeName): NodeProcess {
    const found = this.#processes.get(name)
    if (found === undefined) throw new Error(`${name} was never started`)
    return found
  }

  directory(name: NodeName): string {
    const { folder, followerDirectory } = this.#options
    return name === 'follower' && followerDirectory !== undefined ? followerDirectory : join(folder, name)
  }

  /** Starts a node; the leader always at the same address. `leader` overrides where a follower looks for it. */
  async start(name: NodeName, leader?: string): Promise<NodeProcess> {
    if (this.#address === '') this.#address = `tcp://127.0.0.1:${await freePort(this.#options.random)}`
    const { writers, pauseMs, flags } = this.#options
    const settings: Settings = {
      node: {
        name,
        directory: this.directory(name),
        role: name,
        ...(name === 'leader' ? { listen: this.#address } : { leader: leader ?? this.#address }),
        segmentBytes: 64 * 1024,
        slotBytesMax: 512 * 1024,
        checkpointBytes: 128 * 1024,
        snapshotBytesPerSecondMax: 4 * 1024 * 1024,
        pipeline: { recordBytesMax: 32 * 1024 },
      },
      writers,
      pauseMs,
    }
    const process: NodeProcess = new NodeProcess({
      settings,
      ...(flags && { flags }),
      onTidings: (tidings) => this.#take(name, () => process.isOver, tidings),
    })
    this.#processes.set(name, process)
    return process
  }

  /** Looks at the leader, for the counts. Returns whether the follower's slot is lost. */
  async look(): Promise<boolean> {
    const { status } = await this.get('leader').ask({ ask: 'status' })
    if (status === undefined) return false
    const { counts } = this
    const newest = this.#segments().at(-1) ?? ''
    const local = status.log.slots.find((slot) => slot.name === 'local')?.lsn ?? 0
    const isLost = status.log.slots.some((slot) => slot.name === 'follower' && slot.state === 'lost')
    if (newest > this.#newestSegment) counts.rotations++
    if (local > this.#local) counts.checkpoints++
    if (status.log.first > this.#first) counts.retentions++
    if (isLost && !this.#wasLost) counts.lostSlots++
    this.#newestSegment = newest
    this.#local = local
    this.#first = status.log.first
    this.#wasLost = isLost
    return isLost
  }

  /**
   * Both nodes hold the same rows at one marker, which is returned; throws when they differ. The load is paused. A
   * follower that got past the marker by a snapshot froze no view at it: then a new marker is written.
   */
  async compare(): Promise<string> {
    const [leader, follower] = [this.get('leader'), this.get('follower')]
    for (let attempt = 1; ; attempt++) {
      const { position = '' } = await leader.get({ ask: 'mark' })
      const digest = { ask: 'digest', at: position, timeoutMs: 20_000 } as const
      const [there, here] = await Promise.all([leader.get(digest), follower.ask(digest)])
      if (here.error?.code === 'POSITION_LOST' && attempt < 3) continue
      const [expected, found] = [JSON.stringify(there), JSON.stringify(here)]
      if (expected !== found) throw new Error(`digests differ at ${position}: ${expected} and ${found}`)
      return position
    }
  }

  async killAll(): Promise<void> {
    for (const process of this.#processes.values()) await process.kill()
  }

  #segments(): string[] {
    const log = join(this.directory('leader'), 'generation-1', 'log')
    return readdirSync(log)
      .filter((name) => name.endsWith('.segment'))
      .sort()
  }

  #take(name: NodeName, isOver: () => boolean, tidings: Tidings): void {
    if (tidings.type === 'acks') this.#options.oracle.acknowledge(tidings.pairs)
    else if (tidings.type === 'failed') this.#report(name, 'the node', tidings.error)
    // The write of a process that is being stopped fails; only that of a living one is a finding.
    else if (tidings.type === 'writeFailed' && !isOver()) this.#report(name, 'a write', tidings.error)
    else if (tidings.type === 'event') {
      if (tidings.kind === 'leading' && tidings.redone > 0) this.counts.leaderRedos++
      if (tidings.kind === 'bootstrapped') this.counts.bootstraps++
      if (tidings.kind === 'streaming') this.counts.streams++
    }
  }

  #report(of: NodeName, what: string, error: ToldError): void {
    this.#errors.push({ of, text: `${what} of the ${of} failed: ${error.code} ${error.message}` })
  }
}

/** A port below those that outgoing connections get, so that no dialling follower can take it while its leader is dead. */
async function freePort(random: SeededRandom): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = random.between(15_000, 31_000)
    const server = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
    })
    if (isFree) return port
  }
  throw new Error('found no free port')
}
