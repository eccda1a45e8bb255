/**
 * `npm run crash:kill -- [--count 1000] [--format row|statement|wal] [--seed text] [--json] [--keep]`: SIGKILLs a leader and its follower at random
 * moments, under a load of group commits with DDL and large transactions, and checks that no acknowledged commit is lost
 * and that both end equal.
 *
 * Decides the schedule, from the seed; real time is real, so a seed repeats the schedule, not the outcome. After every
 * restart of the leader the oracle checks all rows; every 25 kills and at the end the load pauses and the digests of both
 * nodes at one marker must agree. With some probability the follower's directory is removed before it restarts, or the
 * follower stays away until its slot is lost. Exit code 1 on anything lost, unequal, failed by itself or overdue.
 */
import { rmSync } from 'node:fs'
import type { SeededRandom } from '@understudy/testkit'
import { Cluster, type NodeName } from './cluster.ts'
import { sleep } from './node-process.ts'
import { Oracle } from './oracle.ts'
import { runCommand } from './run.ts'

const KILLS_PER_CHECK = 25
const WRITERS = 16
const PAUSE_MS = 8
const LOST_SLOT_MS = 4000

interface KillCounts {
  leader: number
  follower: number
  both: number
  duringStart: number
  directoriesRemoved: number
  longAbsences: number
  verifications: number
}

class KillLoop {
  readonly #count: number
  readonly #dice: SeededRandom
  readonly #cluster: Cluster
  readonly #oracle: Oracle
  readonly #say: (line: string) => void
  #seen: ReturnType<Cluster['get']> | undefined
  readonly counts: KillCounts = {
    leader: 0,
    follower: 0,
    both: 0,
    duringStart: 0,
    directoriesRemoved: 0,
    longAbsences: 0,
    verifications: 0,
  }
  kills = 0

  constructor(
    count: number,
    dice: SeededRandom,
    cluster: Cluster,
    oracle: Oracle,
    say: (line: string) => void,
  ) {
    this.#count = count
    this.#dice = dice
    this.#cluster = cluster
    this.#oracle = oracle
    this.#say = say
  }

  async run(): Promise<void> {
    await this.#cluster.start('leader')
    await this.#cluster.start('follower')
    await this.#settle()
    await this.#verify()
    while (this.kills < this.#count) {
      await this.#wait()
      await this.#killSome()
      this.#checkErrors()
      if (this.kills % KILLS_PER_CHECK < 2 && this.#isVerificationDue()) await this.#verify()
    }
    await this.#verify()
  }

  #isVerificationDue(): boolean {
    return Math.floor(this.kills / KILLS_PER_CHECK) >= this.counts.verifications
  }

  /** Until the next kill: now and then one that hits a start, else some time of work. */
  async #wait(): Promise<void> {
    const isEarly = this.#dice.chance(0.3)
    const delayMs = isEarly ? this.#dice.between(0, 350) : this.#dice.between(0, 450)
    if (!isEarly) await this.#settle()
    await sleep(delayMs)
  }

  /** Waits until both work, checks a leader that is new and gives it its load. */
  async #settle(): Promise<void> {
    const leader = this.#cluster.get('leader')
    await leader.ready().catch((error: unknown) => this.#notStarted('leader', error))
    if (leader !== this.#seen) {
      await this.#checkLeader(false)
      await leader.get({ ask: 'load' })
      this.#seen = leader
    }
    const follower = this.#cluster.get('follower')
    await follower.ready().catch((error: unknown) => this.#notStarted('follower', error))
    await this.#cluster.look()
    this.#checkErrors()
  }

  async #killSome(): Promise<void> {
    const draw = this.#dice.fraction()
    const names: NodeName[] = draw < 0.45 ? ['leader'] : draw < 0.88 ? ['follower'] : ['leader', 'follower']
    const fate = this.#dice.fraction()
    for (const name of names) {
      const process = this.#cluster.get(name)
      if (!process.isReady) this.counts.duringStart++
      if (process.isOver) this.#notStarted(name, 'it ended by itself')
      await process.kill()
      this.kills++
      this.counts[name]++
    }
    if (names.length === 2) this.counts.both++
    if (names.includes('follower') && fate < 0.08) {
      rmSync(this.#cluster.directory('follower'), { recursive: true, force: true })
      this.counts.directoriesRemoved++
    }
    if (names.includes('leader')) await this.#cluster.start('leader')
    if (names.includes('follower')) {
      if (fate >= 0.08 && fate < 0.16) await this.#stayAway()
      await this.#cluster.start('follower')
    }
  }

  /** Leaves the follower dead until the leader gave its slot up. */
  async #stayAway(): Promise<void> {
    this.counts.longAbsences++
    const leader = this.#cluster.get('leader')
    await leader.ready()
    if (leader !== this.#seen) {
      await this.#checkLeader(false)
      await leader.get({ ask: 'load' })
      this.#seen = leader
    }
    const until = performance.now() + LOST_SLOT_MS
    while (!(await this.#cluster.look()) && performance.now() < until) await sleep(50)
  }

  async #checkLeader(thorough: boolean): Promise<void> {
    const { state } = await this.#cluster.get('leader').get({ ask: 'state', thorough })
    const { lost, wrong } = this.#oracle.check(state!)
    if (lost.length > 0) this.#fail(`acknowledged commits are lost: ${lost.join('; ')}`)
    if (wrong.length > 0) this.#fail(`the leader's rows are wrong: ${wrong.slice(0, 5).join('; ')}`)
  }

  /** Pauses the load; the whole of both nodes must agree, the leader with the oracle too. */
  async #verify(): Promise<void> {
    await this.#settle()
    const [leader, follower] = [this.#cluster.get('leader'), this.#cluster.get('follower')]
    await leader.get({ ask: 'pause' })
    await this.#checkLeader(true)
    const position = await this.#cluster.compare().catch((error: unknown) => this.#fail(String(error)))
    const { state } = await follower.get({ ask: 'state', thorough: true })
    if (state!.integrity !== 'ok') this.#fail(`the follower's integrity check: ${state!.integrity}`)
    this.counts.verifications++
    this.#say(
      `${this.kills} kills: equal at ${position}, ${this.#oracle.commits} commits acknowledged, none lost; ${JSON.stringify(this.#cluster.counts)}`,
    )
    await leader.get({ ask: 'load' })
  }

  #notStarted(name: NodeName, error: unknown): never {
    const { end, error: told, output } = this.#cluster.get(name)
    this.#fail(
      `the ${name} did not start: ${String(error)}, ${end}; ${told?.code} ${told?.message} ${output}`,
    )
  }

  #checkErrors(): void {
    const [error] = this.#cluster.errors
    if (error !== undefined) this.#fail(error)
  }

  #fail(why: string): never {
    throw new Error(`after ${this.kills} kills: ${why}`)
  }
}

process.exitCode = await runCommand({
  name: 'kill',
  countDefault: 1000,
  async run({ count, random, folder, say }, result) {
    const oracle = new Oracle()
    const cluster = new Cluster({
      folder,
      random: random.fork('port'),
      oracle,
      writers: WRITERS,
      pauseMs: PAUSE_MS,
    })
    const loop = new KillLoop(count, random.fork('kills'), cluster, oracle, say)
    try {
      await loop.run()
    } finally {
      await cluster.killAll()
      Object.assign(result, { kills: loop.kills, commits: oracle.commits, ...loop.counts, ...cluster.counts })
    }
  },
})
