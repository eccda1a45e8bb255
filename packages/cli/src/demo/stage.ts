/** What every act of the demo has at hand: the nodes, the clients, what is known of both, and waiting until something is so. */
import { UnderstudyError, type Clock, type Random } from '@understudy/contracts'
import { Cluster } from './cluster.ts'
import { loadCities, type City } from './dataset.ts'
import type { Display } from './display.ts'
import { freePorts } from './free-port.ts'
import { Monitor } from './monitor.ts'
import { waitUntil } from './waiting.ts'
import { Workload } from './workload.ts'

export interface DemoOptions {
  /** Empty; the nodes keep their data in folders in it. */
  readonly directory: string
  /** Cities to load; all without it. */
  readonly rows?: number | undefined
  readonly display: Display
  readonly clock: Clock
  readonly random: Random
  readonly signal: AbortSignal
}

export const NAMES = ['a', 'b', 'c'] as const
export const FOUNDER = 'a'

/** Each wait of the demo is far shorter on any machine that is alive. */
const STEP_MS = 60_000
const SHOW_MS = 200

export class Stage {
  readonly display: Display
  readonly clock: Clock
  readonly cities: readonly City[]
  readonly cluster: Cluster
  readonly workload: Workload
  readonly monitor: Monitor
  readonly #signal: AbortSignal
  readonly #closed = new AbortController()

  static async prepare(options: DemoOptions): Promise<Stage> {
    const cities = loadCities(options.rows)
    const ports = await freePorts(NAMES.length, options.random)
    const addresses = NAMES.map((name, index) => [name, `tcp://127.0.0.1:${ports[index]}`] as const)
    return new Stage(options, cities, new Map(addresses))
  }

  private constructor(options: DemoOptions, cities: readonly City[], addresses: ReadonlyMap<string, string>) {
    const { directory, clock, display, signal } = options
    this.display = display
    this.clock = clock
    this.cities = cities
    // An act that was left while it waited ends with the stage, and does not keep the process.
    this.#signal = AbortSignal.any([signal, this.#closed.signal])
    this.cluster = new Cluster({ directory, addresses, clock, display })
    this.workload = new Workload([...addresses.values()], clock, signal)
    this.monitor = new Monitor(
      NAMES.map((name) => this.cluster.monitored(name)),
      clock,
    )
  }

  /** Ends everything that was started. */
  async close(): Promise<void> {
    this.#closed.abort()
    await this.monitor.close()
    await this.workload.close()
    await this.cluster.stop()
  }

  /** The node that takes writes, as clients see it. */
  get leader(): string {
    return this.workload.leading.name
  }

  /** All others. */
  get followers(): string[] {
    return NAMES.filter((name) => name !== this.leader)
  }

  /** Commits that make an act worth watching. */
  get enough(): number {
    return Math.max(200, Math.floor(this.cities.length / 60))
  }

  async commits(more: number): Promise<void> {
    const goal = this.workload.commits + more
    await this.until(() => this.workload.commits >= goal, `${more} more writes were acknowledged`)
  }

  /** Waits until these nodes follow, and show what the leader has at this moment. */
  async caughtUp(names: readonly string[]): Promise<void> {
    const [leader] = await this.cluster.connect([this.leader])
    const { position } = await leader!.read('select 1')
    await leader!.close()
    const goal = position?.lsn ?? 0
    const there = (name: string): boolean => {
      const { state, lsn } = this.monitor.view(name)
      return state === 'streaming' && lsn >= goal
    }
    await this.until(() => names.every(there), `${names.join(' and ')} streamed and had record ${goal}`)
  }

  /** Throws `TIMEOUT` when it takes too long. */
  until(holds: () => boolean, what: string): Promise<void> {
    const { clock } = this
    return waitUntil(holds, what, { clock, signal: this.#signal, timeoutMs: STEP_MS })
  }

  /** Keeps the live lines up to date until the returned function is called. */
  show(): () => void {
    const again = (): void => {
      this.display.nodes(this.monitor.views)
      timer = this.clock.schedule(SHOW_MS, again)
    }
    let timer = this.clock.schedule(SHOW_MS, again)
    return () => timer.cancel()
  }
}

export function failed(message: string): UnderstudyError {
  return new UnderstudyError('DEMO_FAILED', message)
}

export function seconds(ms: number): string {
  return (ms / 1000).toFixed(1)
}
