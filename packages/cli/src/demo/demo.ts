/**
 * The demo, step by step: load, bootstrap two followers while writes go on, kill a follower, kill the leader, prove.
 *
 * Writers never stop before the proof. Every step ends when something was seen to be so, not after a time; one that
 * takes too long fails the demo.
 */
import { UnderstudyError, type Clock, type Random } from '@understudy/contracts'
import { Cluster } from './cluster.ts'
import { loadCities, type City } from './dataset.ts'
import { count, type Display } from './display.ts'
import { freePort } from './free-port.ts'
import { Monitor } from './monitor.ts'
import { prove, type Proof } from './proof.ts'
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

export interface DemoResult extends Proof {
  /** Acknowledged writes. */
  readonly commits: number
  readonly seconds: number
}

const LEADER = 'a'
const FOLLOWERS = ['b', 'c'] as const
/** Each wait of the demo is far shorter on any machine that is alive. */
const STEP_MS = 60_000
const SHOW_MS = 200

/** Runs the demo. Everything it started has ended when this settles. Throws the reason of a step that did not hold. */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const demo = await Demo.prepare(options)
  try {
    return await demo.run()
  } finally {
    await demo.close()
  }
}

class Demo {
  readonly #options: DemoOptions
  readonly #cities: readonly City[]
  readonly #cluster: Cluster
  readonly #workload: Workload
  readonly #monitor: Monitor
  readonly #startedAt: number
  readonly #address: string

  static async prepare(options: DemoOptions): Promise<Demo> {
    const startedAt = options.clock.monotonic()
    const cities = loadCities(options.rows)
    return new Demo(options, cities, `tcp://127.0.0.1:${await freePort(options.random)}`, startedAt)
  }

  private constructor(options: DemoOptions, cities: readonly City[], address: string, startedAt: number) {
    const { directory, clock, display, signal } = options
    this.#options = options
    this.#cities = cities
    this.#address = address
    this.#startedAt = startedAt
    this.#cluster = new Cluster({ directory, leaderAddress: address, clock, display })
    this.#workload = new Workload(address, clock, signal)
    const followers = FOLLOWERS.map((name) => this.#cluster.monitored(name, 'follower'))
    this.#monitor = new Monitor([this.#cluster.monitored(LEADER, 'leader'), ...followers], clock)
  }

  async run(): Promise<DemoResult> {
    const stopShowing = this.#show()
    const { signal } = this.#options
    const stopped = Promise.withResolvers<never>()
    stopped.promise.catch(() => {})
    const stop = (): void => stopped.reject(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
    try {
      // Whatever goes wrong in a process or a writer ends the demo, whichever step it is at.
      return await Promise.race([this.#steps(), this.#cluster.lost, this.#workload.failed, stopped.promise])
    } finally {
      signal.removeEventListener('abort', stop)
      stopShowing()
    }
  }

  async close(): Promise<void> {
    await this.#monitor.close()
    await this.#workload.close()
    await this.#cluster.stop()
  }

  async #steps(): Promise<DemoResult> {
    await this.#load()
    await this.#bootstrap()
    await this.#killFollower()
    await this.#killLeader()
    return this.#prove()
  }

  async #load(): Promise<void> {
    const { display } = this.#options
    display.step(
      `A leader is started, ${count(this.#cities.length)} cities are loaded, and clients begin to write`,
    )
    const leader = this.#cluster.start(LEADER, 'leader')
    await leader.ready
    display.note(`leader ${LEADER} is process ${leader.pid} at ${this.#address}`)
    await this.#workload.load(this.#cities, (rows) =>
      display.progress('load', rows, this.#cities.length, 'rows'),
    )
  }

  async #bootstrap(): Promise<void> {
    const { display } = this.#options
    display.step(
      'Two followers are started with empty directories, and bootstrap while the leader keeps writing',
    )
    const before = this.#workload.commits
    const processes = FOLLOWERS.map((name) => this.#cluster.start(name, 'follower'))
    for (const { name, pid } of processes) display.note(`follower ${name} is process ${pid}`)
    await Promise.all(processes.map(({ ready }) => ready))
    const meanwhile = this.#workload.commits - before
    if (meanwhile === 0) throw failed('Nothing was written while the followers bootstrapped.')
    await this.#caughtUp(FOLLOWERS)
    display.note(`both stream; ${count(meanwhile)} writes were acknowledged meanwhile`)
  }

  async #killFollower(): Promise<void> {
    const { display, clock } = this.#options
    const [victim] = FOLLOWERS
    display.step(`Follower ${victim} is killed with SIGKILL; the others go on without it`)
    await this.#cluster.process(victim).kill()
    await this.#commits(this.#enough)
    const restartedAt = clock.monotonic()
    const restarted = this.#cluster.start(victim, 'follower')
    const position = String((await restarted.ready)['position'])
    const missed = this.#monitor.view(LEADER).lsn - Number(position.split('/')[1])
    display.note(
      `${victim} is back as process ${restarted.pid} at ${position}, ${count(missed)} records behind`,
    )
    await this.#caughtUp([victim])
    display.note(`${victim} caught up within ${seconds(clock.monotonic() - restartedAt)} s of its start`)
  }

  async #killLeader(): Promise<void> {
    const { display, clock } = this.#options
    const workload = this.#workload
    display.step('The leader is killed with SIGKILL in the middle of its writes, and started again')
    await this.#until(() => workload.underWay > 0, 'a write was under way')
    const killedAt = clock.monotonic()
    await this.#cluster.process(LEADER).kill()
    const before = workload.commits
    const leader = this.#cluster.start(LEADER, 'leader')
    const { position } = await leader.ready
    display.note(
      `${LEADER} is back as process ${leader.pid} at ${String(position)}, a new epoch on the same data`,
    )
    await this.#until(() => workload.commits > before, 'a write was acknowledged again')
    const away = seconds(clock.monotonic() - killedAt)
    display.note(`writes go on after ${away} s; ${workload.unanswered} were under way and got no answer`)
    await this.#caughtUp(FOLLOWERS)
    display.note('both followers reconnected by themselves')
    await this.#commits(this.#enough)
  }

  async #prove(): Promise<DemoResult> {
    const { display, clock } = this.#options
    display.step('The clients stop; everything they were promised is looked for, and all nodes are compared')
    const workload = this.#workload
    await workload.stop()
    const [leader, ...followers] = await this.#cluster.connect([LEADER, ...FOLLOWERS])
    try {
      const proof = await prove(leader!, followers, this.#cities, workload.ledger, (what) =>
        display.note(what),
      )
      const passedMs = clock.monotonic() - this.#startedAt
      return { ...proof, commits: workload.commits, seconds: Number(seconds(passedMs)) }
    } finally {
      await Promise.all([leader!, ...followers].map((client) => client.close()))
    }
  }

  /** Commits that make a step worth watching. */
  get #enough(): number {
    return Math.max(200, Math.floor(this.#cities.length / 20))
  }

  async #commits(more: number): Promise<void> {
    const goal = this.#workload.commits + more
    await this.#until(() => this.#workload.commits >= goal, `${more} more writes were acknowledged`)
  }

  /** Waits until these followers stream and show what the leader has at this moment. */
  async #caughtUp(names: readonly string[]): Promise<void> {
    const [leader] = await this.#cluster.connect([LEADER])
    const { position } = await leader!.read('select 1')
    await leader!.close()
    const goal = position?.lsn ?? 0
    const there = (name: string): boolean => {
      const { state, lsn } = this.#monitor.view(name)
      return state === 'streaming' && lsn >= goal
    }
    await this.#until(() => names.every(there), `${names.join(' and ')} streamed and had record ${goal}`)
  }

  #until(holds: () => boolean, what: string): Promise<void> {
    const { clock, signal } = this.#options
    return waitUntil(holds, what, { clock, signal, timeoutMs: STEP_MS })
  }

  /** Keeps the live lines up to date until the returned function is called. */
  #show(): () => void {
    const { clock, display } = this.#options
    const again = (): void => {
      display.nodes(this.#monitor.views)
      timer = clock.schedule(SHOW_MS, again)
    }
    let timer = clock.schedule(SHOW_MS, again)
    return () => timer.cancel()
  }
}

function failed(message: string): UnderstudyError {
  return new UnderstudyError('DEMO_FAILED', message)
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1)
}
