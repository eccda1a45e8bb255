/**
 * `npm run crash:syscalls -- [--count n] [--json] [--keep]`: SIGKILL at every syscall that changes a file, of five small
 * programs (append, rotation of the log; commit with a checkpoint; a follower's first snapshot; the renewal of a follower
 * that was away for too long), and after each kill a restart with all checks. Then errors instead of kills: EIO from each
 * fdatasync and fsync of the commits, ENOSPC from each call that takes space.
 *
 * Decides which points there are: for each syscall N = 1, 2, … until the program ends by itself. With `--count` fewer than
 * the points of a first, unharmed run, only that many are taken, evenly over all. Without strace: one line, exit code 0.
 */
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createNode, type UnderstudyNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'
import { formatOptions } from './formats.ts'
import { runCommand, type CrashRun } from './run.ts'
import { inject, profile, whyNoStrace, type Outcome } from './strace.ts'
import { checkFollower, checkLeader, checkLog, lastAck } from './syscall-checks.ts'
import { LOG_SEGMENT_BYTES, rowOf, type ProgramKind } from './syscall-shapes.ts'

const PROGRAM = fileURLToPath(new URL('syscall-programs.ts', import.meta.url))
const OLD_ROWS = 20
const NEW_ROWS = 60
/** A program that still meets the call after so many is taken to never end. */
const POINTS_MAX = 2000
const SPACE_CALLS = ['openat', 'write', 'pwrite64', 'pwritev', 'fallocate', 'ftruncate', 'mkdir']
const SYNC_CALLS = ['fdatasync', 'fsync']

/** One program with everything around it. */
interface Subject {
  readonly kind: ProgramKind
  readonly arguments: readonly string[]
  /** Makes the directory as it is before the program runs. */
  prepare(): void
  check(outcome: Outcome): Promise<void>
}

/** Where an unharmed run goes, and how much of it is looked at. */
interface Points {
  readonly paths: readonly string[]
  readonly calls: ReadonlyMap<string, number>
  /** Every how many points one is taken; 1 takes all, to the end. */
  readonly stride: number
}

class Enumeration {
  readonly #run: CrashRun
  readonly #result: Record<string, unknown>
  readonly directory: string

  constructor(run: CrashRun, result: Record<string, unknown>) {
    this.#run = run
    this.#result = result
    this.directory = join(run.folder, 'node')
  }

  async profile(subject: Subject, share: number): Promise<Points> {
    subject.prepare()
    const program = this.#program(subject)
    const { paths, calls, outcome } = await profile(program, this.directory, join(this.#run.folder, 'trace'))
    if (outcome.exitCode !== 0)
      throw new Error(`${subject.kind} failed unharmed: ${outcome.lines.join(', ')} ${outcome.errors}`)
    await subject.check(outcome)
    const total = [...calls.values()].reduce((sum, each) => sum + each, 0)
    return {
      paths,
      calls,
      stride: Math.max(1, Math.ceil(total / Math.max(1, Math.floor(this.#run.count * share)))),
    }
  }

  /** Kills at each point. */
  async kill(subject: Subject, points: Points): Promise<void> {
    const tally: Record<string, number> = {}
    // Where a sample begins moves from syscall to syscall, so that it does not always miss the first ones.
    let offset = 0
    for (const [syscall, calls] of points.calls) {
      const taken = await this.#each(points, calls, offset, (when) =>
        this.#hit(subject, points, syscall, 'signal=SIGKILL', String(when)),
      )
      offset += calls
      tally[syscall] = taken
    }
    const sum = Object.values(tally).reduce((total, each) => total + each, 0)
    this.#result[`${subject.kind}Kills`] = { total: sum, ...tally }
    this.#run.say(`${subject.kind}: killed at ${sum} syscalls, ${JSON.stringify(tally)}`)
  }

  /** Lets each point fail with `error`. */
  async fail(subject: Subject, points: Points, syscalls: readonly string[], error: string): Promise<void> {
    let sum = 0
    let offset = 0
    const answers = new Map<string, number>()
    for (const syscall of syscalls.filter((each) => points.calls.has(each))) {
      const calls = points.calls.get(syscall) ?? 0
      sum += await this.#each(points, calls, offset, async (when) => {
        const outcome = await this.#hit(subject, points, syscall, `error=${error}`, String(when))
        this.#checkAnswer(outcome, `${error} of ${syscall} ${when}`, error)
        for (const line of new Set(outcome.lines.filter((each) => each.startsWith('error '))))
          answers.set(line.slice(6), (answers.get(line.slice(6)) ?? 0) + 1)
        // Ended by itself without ever noticing: the error came where nothing depends on it, or not at all.
        return { ...outcome, killed: when <= calls }
      })
      offset += calls
    }
    this.#result[`${subject.kind}${error}`] = { total: sum, answers: Object.fromEntries(answers) }
    this.#run.say(
      `${subject.kind}: ${error} from ${sum} syscalls, answered by ${JSON.stringify(Object.fromEntries(answers))}`,
    )
  }

  /** Takes points until one hits nothing; returns how many there were. */
  async #each(
    { stride }: Points,
    calls: number,
    offset: number,
    take: (when: number) => Promise<Outcome>,
  ): Promise<number> {
    let taken = 0
    const first = stride === 1 ? 1 : stride - (offset % stride)
    for (let when = first; when <= (stride === 1 ? POINTS_MAX : calls); when += stride) {
      const { killed } = await take(when)
      if (!killed) {
        // With several threads the profile counts more calls than any one thread makes.
        if (when === 1) throw new Error('strace injected nothing, though the call was made')
        return taken
      }
      taken++
    }
    return taken
  }

  async #hit(
    subject: Subject,
    { paths }: Points,
    syscall: string,
    action: string,
    when: string,
  ): Promise<Outcome> {
    subject.prepare()
    const where = `${subject.kind}, ${action} at ${syscall} ${when}`
    try {
      const outcome = await inject(this.#program(subject), paths, syscall, action, when)
      if (!outcome.killed && action.startsWith('signal') && outcome.exitCode !== 0)
        throw new Error(`it failed by itself: ${outcome.lines.join(', ')} ${outcome.errors}`)
      await subject.check(outcome)
      return outcome
    } catch (error) {
      throw new Error(`${where}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    }
  }

  /** An error is one of ours; after a failed sync nothing is acknowledged any more. */
  #checkAnswer({ lines, errors, exitCode }: Outcome, where: string, error: string): void {
    if (exitCode === null || lines.some((line) => line.includes('UNEXPECTED')) || errors.includes('Error:'))
      throw new Error(`${where}: no typed error but ${lines.join(', ')} ${errors}`)
    const first = lines.findIndex((line) => line.startsWith('error'))
    if (error === 'EIO' && first >= 0 && lines.slice(first).some((line) => line.startsWith('ack')))
      throw new Error(`${where}: acknowledged after a failed sync: ${lines.join(', ')}`)
  }

  #program(subject: Subject): string[] {
    return [PROGRAM, subject.kind, this.directory, ...subject.arguments]
  }
}

function logSubject(kind: 'append' | 'rotation', directory: string): Subject {
  return {
    kind,
    arguments: [],
    prepare: () => rmSync(directory, { recursive: true, force: true }),
    check: ({ lines }) => checkLog(directory, lastAck(lines)),
  }
}

function commitSubject(directory: string): Subject {
  return {
    kind: 'commit',
    arguments: [],
    prepare: () => rmSync(directory, { recursive: true, force: true }),
    check: ({ lines }) => checkLeader(directory, Math.max(0, lastAck(lines))),
  }
}

async function insertRows(leader: UnderstudyNode, from: number, to: number): Promise<void> {
  for (let id = from; id <= to; id++)
    await leader.write((tx) => tx.run('insert into t values (?, ?)', [id, rowOf(id)]))
}

/** A leader with rows, and a follower's directory that its log does not reach back to any more. */
async function prepareLeader(folder: string, outdated: string): Promise<UnderstudyNode> {
  const common = { ...formatOptions(), transport: tcp(), segmentBytes: LOG_SEGMENT_BYTES }
  const leader = await createNode({
    ...common,
    name: 'a',
    directory: join(folder, 'leader'),
    role: 'leader',
    listen: 'tcp://127.0.0.1:0',
    slotBytesMax: 1,
  })
  await leader.write((tx) =>
    tx.exec('create table t (id integer primary key, v text); create index t_v on t (v)'),
  )
  await insertRows(leader, 1, OLD_ROWS)
  const follower = await createNode({
    ...common,
    name: 'b',
    directory: outdated,
    role: 'follower',
    leader: leader.address!,
  })
  await follower.read((tx) => tx.get('select 1'), { after: leader.applied })
  await follower.close()
  await insertRows(leader, OLD_ROWS + 1, NEW_ROWS)
  // Larger than a segment each, so that what the follower needs lies in segments that can go.
  for (let n = 0; n < 4; n++) {
    await leader.write((tx) => tx.run('insert into t values (?, ?)', [1000, 'z'.repeat(10_000)]))
    await leader.write((tx) => tx.run('delete from t where id = 1000'))
  }
  await leader.checkpoint()
  return leader
}

function followerSubject(
  kind: 'bootstrap' | 'renewal',
  directory: string,
  leader: UnderstudyNode,
  outdated: string,
): Subject {
  return {
    kind,
    arguments: [leader.address!],
    prepare() {
      rmSync(directory, { recursive: true, force: true })
      if (kind === 'renewal') cpSync(outdated, directory, { recursive: true })
    },
    async check({ lines, exitCode }) {
      if (exitCode === 0 && !lines.includes('bootstrapped')) throw new Error('it took no snapshot')
      await checkFollower(directory, leader, kind === 'renewal' ? [OLD_ROWS, NEW_ROWS] : [NEW_ROWS])
    },
  }
}

process.exitCode = await runCommand({
  name: 'syscalls',
  countDefault: POINTS_MAX * 10,
  async run(run, result) {
    const why = whyNoStrace()
    if (why !== undefined) {
      run.say(`skipped: syscalls cannot be interfered with here, ${why}`)
      result['skipped'] = why
      return
    }
    const enumeration = new Enumeration(run, result)
    const { directory } = enumeration
    const outdated = join(run.folder, 'outdated')
    const commit = commitSubject(directory)
    for (const subject of [logSubject('append', directory), logSubject('rotation', directory), commit])
      await enumeration.kill(subject, await enumeration.profile(subject, 1 / 6))
    await using leader = await prepareLeader(run.folder, outdated)
    for (const kind of ['bootstrap', 'renewal'] as const) {
      const subject = followerSubject(kind, directory, leader, outdated)
      await enumeration.kill(subject, await enumeration.profile(subject, 1 / 6))
    }
    const points = await enumeration.profile(commit, 1 / 6)
    await enumeration.fail(commit, points, SYNC_CALLS, 'EIO')
    await enumeration.fail(commit, points, SPACE_CALLS, 'ENOSPC')
  },
})
