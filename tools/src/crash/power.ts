/**
 * `npm run crash:power -- [--count 200] [--format row|statement|wal] [--seed text] [--json] [--keep]`: cuts the power of the disk under a node at
 * random moments, mounts it again and checks that every acknowledged commit is there and the database is sound; in one
 * cycle of five the disk is a follower's, which must still have everything that it reported durable and become equal to
 * its leader again.
 *
 * Then the control: one cycle for every five with the log's fdatasync replaced by nothing (`no-sync.ts`). If that loses
 * nothing the test proves nothing, and fails.
 *
 * Counted is what the observer had before it asked for the cut: an fdatasync that overlaps the ioctl can return 0 and be
 * lost all the same, which no disk on a real power supply does. Without root, ext4 tools or loop devices: one line, exit
 * code 0.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Cluster } from './cluster.ts'
import { sleep } from './node-process.ts'
import { Oracle } from './oracle.ts'
import { PowerDisk, whyNoPowerCuts } from './power-disk.ts'
import { runCommand, type CrashRun } from './run.ts'

const WRITERS = 8
const PAUSE_MS = 1
const NOWHERE = 'tcp://127.0.0.1:1'
const NO_SYNC = ['--import', fileURLToPath(new URL('no-sync.ts', import.meta.url))]

/** A leader on the disk that loses its power. */
class LeaderCycles {
  readonly disk: PowerDisk
  readonly #run: CrashRun
  readonly #flags: readonly string[]
  readonly #folder: string
  #oracle = new Oracle()
  #cluster: Cluster
  #promised: ReadonlyMap<number, number> = new Map()
  #earlier = 0
  #isNew = true

  constructor(run: CrashRun, name: string, flags: readonly string[] = []) {
    this.#run = run
    this.#flags = flags
    this.#folder = join(run.folder, name)
    this.disk = new PowerDisk(this.#folder)
    this.#cluster = this.#newCluster()
  }

  get commits(): number {
    return this.#earlier + this.#oracle.commits
  }

  /** One cycle. Returns what the start after the last cut found missing; begins anew from nothing then. */
  async cycle(): Promise<string | undefined> {
    if (this.#isNew) this.disk.format()
    this.disk.mount()
    this.#isNew = false
    const loss = await this.#checkStart()
    if (loss === undefined) {
      await this.#loadAndCut()
    } else {
      this.#isNew = true
      this.#promised = new Map()
      this.#earlier += this.#oracle.commits
      this.#oracle = new Oracle()
    }
    await this.#cluster.killAll()
    this.#cluster = this.#newCluster()
    await this.disk.unmount()
    return loss
  }

  /** A start after the last cut, which only looks. */
  async last(): Promise<string | undefined> {
    this.disk.mount()
    const loss = await this.#checkStart()
    await this.#cluster.killAll()
    await this.disk.unmount()
    return loss
  }

  async dispose(): Promise<void> {
    await this.#cluster.killAll()
    await this.disk.dispose()
  }

  async #checkStart(): Promise<string | undefined> {
    const leader = await this.#cluster.start('leader')
    try {
      await leader.ready()
    } catch (error) {
      return `the node does not start: ${leader.error?.code ?? String(error)} ${leader.error?.message ?? leader.output}`
    }
    const { state, error } = await leader.ask({ ask: 'state', thorough: true })
    if (state === undefined) return `the node cannot be read: ${error?.code} ${error?.message}`
    const { lost, wrong } = this.#oracle.check(state, this.#promised)
    return lost.length + wrong.length === 0 ? undefined : [...lost, ...wrong].slice(0, 5).join('; ')
  }

  async #loadAndCut(): Promise<void> {
    const before = this.#oracle.commits
    this.disk.arm()
    const leader = this.#cluster.get('leader')
    // The control shall lose commits, not a node that never was.
    if (this.#flags.length > 0) this.disk.sync()
    await leader.get({ ask: 'load' })
    const until = performance.now() + 10_000
    while (this.#oracle.commits === before && performance.now() < until) await sleep(2)
    await sleep(this.#run.random.between(0, 300))
    if (this.#oracle.commits === before)
      throw new Error(`nothing was acknowledged in time: ${this.#cluster.errors.join()}`)
    const [error] = this.#cluster.errors
    if (error !== undefined) throw new Error(`before the cut: ${error}`)
    this.#promised = this.#oracle.promised()
    await this.disk.cut()
  }

  #newCluster(): Cluster {
    return new Cluster({
      folder: this.disk.path,
      random: this.#run.random,
      oracle: { acknowledge: (pairs) => this.#oracle.acknowledge(pairs) },
      writers: WRITERS,
      pauseMs: PAUSE_MS,
      flags: this.#flags,
    })
  }
}

/** A leader on a disk that stays, its follower on the one that loses its power. */
class FollowerCycles {
  readonly disk: PowerDisk
  readonly #run: CrashRun
  readonly #cluster: Cluster
  #reported = 0
  #cycles = 0

  constructor(run: CrashRun) {
    this.#run = run
    this.disk = new PowerDisk(join(run.folder, 'follower-disk'))
    const folder = join(run.folder, 'with-follower')
    mkdirSync(folder)
    this.#cluster = new Cluster({
      folder,
      random: run.random,
      oracle: new Oracle(),
      writers: WRITERS,
      pauseMs: 4,
      followerDirectory: join(this.disk.path, 'follower'),
    })
  }

  async cycle(): Promise<void> {
    if (this.#cycles++ === 0) {
      this.disk.format()
      await (await this.#cluster.start('leader')).ready()
      await this.#cluster.get('leader').get({ ask: 'load' })
    }
    this.disk.mount()
    await this.#checkReported()
    this.disk.arm()
    await (await this.#cluster.start('follower')).ready()
    await this.#untilReported()
    await sleep(this.#run.random.between(0, 300))
    this.#checkErrors()
    await this.#look()
    await this.disk.cut()
    await this.#cluster.get('follower').kill()
    this.#cluster.forgive('follower')
    await this.disk.unmount()
  }

  /** The follower catches up and holds the same rows. */
  async last(): Promise<void> {
    if (this.#cycles === 0) return
    this.disk.mount()
    await this.#checkReported()
    const [leader, follower] = [this.#cluster.get('leader'), await this.#cluster.start('follower')]
    await follower.ready()
    await leader.get({ ask: 'pause' })
    await this.#cluster.compare()
    this.#checkErrors()
  }

  async dispose(): Promise<void> {
    await this.#cluster.killAll()
    await this.disk.dispose()
  }

  /** What it told its leader to be durable is there, seen before it can get it again. */
  async #checkReported(): Promise<void> {
    if (this.#reported === 0) return
    const follower = await this.#cluster.start('follower', NOWHERE)
    await follower.ready()
    const { status, state } = {
      ...(await follower.get({ ask: 'status' })),
      ...(await follower.get({ ask: 'state', thorough: true })),
    }
    const end = Number(status!.log.end.split('/')[1])
    if (end < this.#reported)
      throw new Error(`the follower reported ${this.#reported} durable and has ${end}`)
    if (state!.integrity !== 'ok') throw new Error(`the follower's integrity check: ${state!.integrity}`)
    await follower.kill()
  }

  /** Until the leader has heard of something durable in this cycle. */
  async #untilReported(): Promise<void> {
    const before = this.#reported
    const until = performance.now() + 20_000
    while (this.#reported <= before) {
      if (performance.now() > until) throw new Error('the follower reported nothing in time')
      await sleep(5)
      await this.#look()
    }
  }

  async #look(): Promise<void> {
    const { status } = await this.#cluster.get('leader').get({ ask: 'status' })
    const durable = status!.followers?.find(({ name }) => name === 'follower')?.durable ?? 0
    this.#reported = Math.max(this.#reported, durable)
  }

  #checkErrors(): void {
    const [error] = this.#cluster.errors
    if (error !== undefined) throw new Error(error)
  }
}

async function cutLeader(run: CrashRun, result: Record<string, unknown>): Promise<void> {
  const leader = new LeaderCycles(run, 'leader-disk')
  const follower = new FollowerCycles(run)
  try {
    let cuts = 0
    for (let cycle = 1; cycle <= run.count; cycle++) {
      if (cycle % 5 === 0) await follower.cycle()
      else {
        const loss = await leader.cycle()
        if (loss !== undefined)
          throw new Error(`after ${cuts} power losses acknowledged commits are lost: ${loss}`)
      }
      cuts++
      Object.assign(result, {
        powerLosses: cuts,
        ofFollower: Math.floor(cycle / 5),
        commits: leader.commits,
        lost: 0,
      })
      if (cycle % 20 === 0) run.say(`${cuts} power losses, ${leader.commits} commits acknowledged, none lost`)
    }
    const loss = await leader.last()
    if (loss !== undefined)
      throw new Error(`after ${cuts} power losses acknowledged commits are lost: ${loss}`)
    await follower.last()
  } finally {
    await leader.dispose()
    await follower.dispose()
  }
}

async function control(run: CrashRun, result: Record<string, unknown>): Promise<void> {
  const cycles = Math.max(4, Math.ceil(run.count / 5))
  const mutant = new LeaderCycles(run, 'control-disk', NO_SYNC)
  let lossy = 0
  let example = ''
  try {
    // A loss shows at the start after the cut, so a cut takes two cycles unless it lost nothing.
    for (let cuts = 0; cuts < cycles;) {
      const loss = await mutant.cycle()
      if (loss === undefined) cuts++
      else lossy++
      example ||= loss ?? ''
    }
    if ((await mutant.last()) !== undefined) lossy++
  } finally {
    await mutant.dispose()
  }
  Object.assign(result, { controlPowerLosses: cycles, controlLossy: lossy })
  if (lossy === 0)
    throw new Error(
      `the control without fdatasync lost nothing in ${cycles} power losses: this test would miss a loss`,
    )
  run.say(
    `control without fdatasync: ${lossy} of ${cycles} power losses lost commits, as they must; ${example}`,
  )
}

process.exitCode = await runCommand({
  name: 'power',
  countDefault: 200,
  async run(run, result) {
    const why = await whyNoPowerCuts(run.folder)
    if (why !== undefined) {
      run.say(`skipped: power cannot be cut here, ${why}`)
      result['skipped'] = why
      return
    }
    await cutLeader(run, result)
    await control(run, result)
  },
})
