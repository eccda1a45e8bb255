/**
 * Two nodes that take turns in leading, each start a process of its own.
 *
 * Decides: how a leader is lost. Leaves to others: what is measured.
 *
 * One turn: the follower is closed, the leader commits alone and is killed (SIGKILL), the follower is promoted and commits, the
 * former leader is started again and rejoins. Afterwards both are compared, and have changed places.
 */
import path from 'node:path'
import { performance } from 'node:perf_hooks'
import { UnderstudyError } from '@understudy/contracts'
import type { FormatName } from '../formats.ts'
import { Child } from '../processes/child.ts'
import type { MemberCalls } from '../processes/member.ts'

const ENTRY = 'member'
/** Commits that the new leader has made when the former one comes back. */
const COMMITS_OF_NEW = 10

export interface Rejoined {
  readonly seconds: number
  /** On the connections of the new leader, both directions. */
  readonly wireBytes: number
  /** Bytes of pages among them; `undefined` when none were asked for. */
  readonly pageBytes: number | undefined
}

export interface Turn {
  readonly format: FormatName
  readonly commits: number
  /** Rows that are there, of which commits change some. */
  readonly rows: number
  /** The first thing that the leader does alone. */
  readonly before?: string
}

interface Member {
  readonly name: string
  readonly directory: string
  child: Child<MemberCalls>
}

export class Duo implements AsyncDisposable {
  #leading: Member
  #following: Member
  /** Bytes on the wire of the follower's first start, a full copy. */
  copyBytes = 0
  copySeconds = 0

  private constructor(directory: string) {
    const member = (name: string): Member => ({
      name,
      directory: path.join(directory, name),
      child: new Child<MemberCalls>(ENTRY),
    })
    this.#leading = member('a')
    this.#following = member('b')
  }

  /** Both stream, with the database that `importFrom` is. */
  static async start(directory: string, importFrom: string): Promise<Duo> {
    const duo = new Duo(directory)
    try {
      const { name, directory: folder, child } = duo.#leading
      const address = await child.call('lead', { name, directory: folder, format: 'row', importFrom })
      const { seconds, wireBytes } = await duo.#follow('row', address, false)
      duo.copyBytes = wireBytes
      duo.copySeconds = seconds
      return duo
    } catch (error) {
      await duo[Symbol.asyncDispose]()
      throw error
    }
  }

  async turn({ format, commits, rows, before }: Turn): Promise<Rejoined> {
    const { child: old } = this.#leading
    await old.call('switchFormat', format)
    await this.#equal()
    await this.#following.child[Symbol.asyncDispose]()
    if (before !== undefined) await old.call('exec', before)
    await old.call('commits', { count: commits, rows })
    old.signal('SIGKILL')
    await old[Symbol.asyncDispose]()
    this.#changePlaces()
    const { name, directory } = this.#leading
    const address = await this.#leading.child.call('lead', { name, directory, format, isPromoted: true })
    await this.#leading.child.call('commits', { count: COMMITS_OF_NEW, rows })
    const rejoined = await this.#follow(format, address, true)
    await this.verify()
    return rejoined
  }

  /** The leader begins to log pages, so that every follower makes its file equal first. */
  async base(rows: number, commits: number): Promise<Rejoined> {
    const { child } = this.#leading
    await this.#following.child[Symbol.asyncDispose]()
    await child.call('commits', { count: commits, rows })
    await child.call('switchFormat', 'wal')
    const { name, directory } = this.#leading
    await child.call('close')
    const address = await child.call('lead', { name, directory, format: 'wal' })
    this.#following.child = new Child<MemberCalls>(ENTRY)
    const rejoined = await this.#follow('wal', address, false)
    await this.verify()
    return rejoined
  }

  async #follow(format: FormatName, leader: string, rejoin: boolean): Promise<Rejoined> {
    const { name, directory, child } = this.#following
    const before = await this.#leading.child.call('wireBytes')
    const at = await this.#leading.child.call('position')
    const startMs = performance.now()
    const openMs = await child.call('follow', { name, directory, format, leader, rejoin })
    // What the process itself takes to start is no matter of the node.
    const startedMs = performance.now()
    await child.call('waitFor', at)
    const seconds = (Math.min(openMs, startedMs - startMs) + performance.now() - startedMs) / 1000
    const wireBytes = (await this.#leading.child.call('wireBytes')) - before
    return { seconds, wireBytes, pageBytes: await child.call('bootstrapBytes') }
  }

  #changePlaces(): void {
    ;[this.#leading, this.#following] = [this.#following, this.#leading]
    this.#leading.child = new Child<MemberCalls>(ENTRY)
    this.#following.child = new Child<MemberCalls>(ENTRY)
  }

  async #equal(): Promise<void> {
    await this.#following.child.call('waitFor', await this.#leading.child.call('position'))
  }

  /** Compares every table at one position. Throws `DIVERGED`: a benchmark of wrong rows is worth nothing. */
  async verify(): Promise<void> {
    const at = await this.#leading.child.call('mark')
    const [ours, theirs] = await Promise.all([
      this.#leading.child.call('digest', at),
      this.#following.child.call('digest', at),
    ])
    if (JSON.stringify(ours) === JSON.stringify(theirs)) return
    throw new UnderstudyError(
      'DIVERGED',
      `Both nodes differ at ${at.epoch}/${at.lsn}: ${JSON.stringify(ours)} and ${JSON.stringify(theirs)}. The figures of this run are worth nothing.`,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#following.child[Symbol.asyncDispose]()
    await this.#leading.child[Symbol.asyncDispose]()
  }
}
