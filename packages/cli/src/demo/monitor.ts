/** Asks every node again and again how it does: what the live lines show, and what the demo waits for. */
import type { Client } from '@understudy/client'
import { isUnderstudyError, parsePosition, type Clock } from '@understudy/contracts'
import type { NodeStatus } from '@understudy/node'
import { connectTo } from '../connections.ts'
import { ROWS_CHANGED } from './schema.ts'
import { pause } from './waiting.ts'

/** A node as it was when it answered last. */
export interface NodeView {
  readonly name: string
  readonly role: string
  /** `absent`, `starting`, what its status says, `down`, or `killed`. */
  readonly state: string
  readonly position: string
  /** The LSN of `position`. */
  readonly lsn: number
  readonly epoch: number
  /** Records that it knows to be missing. */
  readonly lagRecords: number | undefined
  /** Changed rows that became visible here, per second. */
  readonly rowsPerSecond: number | undefined
  /** What it says would happen if the leader died now. */
  readonly forecast: Forecast | undefined
}

type Forecast = NonNullable<NodeStatus['failover']>['forecast']

/** What the monitor asks of a node's process. */
export interface Monitored {
  readonly name: string
  readonly address: string | undefined
  /** `absent`: not started yet. */
  readonly state: 'absent' | 'running' | 'killed'
}

const INTERVAL_MS = 100
const TIMEOUT_MS = 2000
/** Rows per second are those of about so long. */
const RATE_MS = 1000
/** What only a node that answers tells. */
const UNKNOWN = { lagRecords: undefined, rowsPerSecond: undefined, forecast: undefined }

export class Monitor {
  readonly #watches: Watch[]
  readonly #loops: Promise<void>[]
  readonly #stop = new AbortController()

  constructor(nodes: readonly Monitored[], clock: Clock) {
    this.#watches = nodes.map((node) => new Watch(node, clock))
    this.#loops = this.#watches.map(async (watch) => {
      while (!this.#stop.signal.aborted) {
        await watch.look()
        await pause(clock, INTERVAL_MS, this.#stop.signal).catch(() => {})
      }
      await watch.close()
    })
  }

  get views(): NodeView[] {
    const views = this.#watches.map(({ view }) => view)
    const leads = views
      .filter(({ role }) => role === 'leader')
      .toSorted((one, other) => other.epoch - one.epoch)
    const end = leads[0]?.lsn ?? 0
    return views.map((view) => {
      // A follower without a leader cannot count what it misses.
      const counts = view.role === 'leader' || view.state === 'absent' || view.state === 'streaming'
      return counts ? view : { ...view, lagRecords: Math.max(end - view.lsn, 0) }
    })
  }

  view(name: string): NodeView {
    return this.views.find((view) => view.name === name)!
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#loops)
  }
}

/** One node. */
class Watch {
  readonly #node: Monitored
  readonly #clock: Clock
  #client: Client | undefined
  #view: NodeView
  /** Moments at which rows were counted, oldest first, no more than the last ones. */
  #counts: { readonly at: number; readonly rows: number }[] = []

  constructor(node: Monitored, clock: Clock) {
    this.#node = node
    this.#clock = clock
    const nothing = { position: '0/0', lsn: 0, epoch: 0, ...UNKNOWN }
    this.#view = { name: node.name, role: '', state: 'starting', ...nothing }
  }

  get view(): NodeView {
    const { state } = this.#node
    if (state === 'running') return this.#view
    // Whoever is gone leads nobody.
    return { ...this.#view, role: '', state, ...UNKNOWN }
  }

  async look(): Promise<void> {
    const { address, state } = this.#node
    if (state !== 'running' || address === undefined) return this.#away('starting')
    if (this.#client !== undefined && this.#client.address !== address) await this.#leave()
    try {
      this.#client ??= await connectTo(address, undefined, TIMEOUT_MS)
      await this.#ask(this.#client)
    } catch (error) {
      if (!isUnderstudyError(error)) throw error
      await this.#leave()
      this.#away('down')
    }
  }

  async close(): Promise<void> {
    await this.#leave()
  }

  async #ask(client: Client): Promise<void> {
    const status = (await client.status()) as unknown as NodeStatus
    const { role, state, position, following, failover } = status
    const { epoch, lsn } = parsePosition(position) ?? { epoch: 0, lsn: 0 }
    if (state !== 'bootstrapping') await this.#count(client)
    const lagRecords = following?.lag?.records
    this.#view = {
      name: this.#node.name,
      role,
      state,
      position,
      lsn,
      epoch,
      lagRecords,
      rowsPerSecond: this.#rate(),
      forecast: failover?.forecast,
    }
  }

  async #count(client: Client): Promise<void> {
    try {
      const { rows } = await client.read(ROWS_CHANGED)
      this.#counts.push({ at: this.#clock.monotonic(), rows: Number(rows[0]?.[0] ?? 0) })
    } catch (error) {
      // Before the first tables there is nothing to count.
      if (!isUnderstudyError(error, 'SQL_FAILED')) throw error
    }
  }

  #rate(): number | undefined {
    const last = this.#counts.at(-1)
    if (last === undefined) return undefined
    while (this.#counts.length > 2 && last.at - this.#counts[1]!.at >= RATE_MS) this.#counts.shift()
    const first = this.#counts[0]!
    return last.at > first.at ? ((last.rows - first.rows) * 1000) / (last.at - first.at) : undefined
  }

  #away(state: string): void {
    this.#counts = []
    this.#view = { ...this.#view, role: '', state, ...UNKNOWN }
  }

  async #leave(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    await client?.close()
  }
}
