/**
 * What every `LogFormat` of SQLite must carry. Call `logFormatSuite` from a test file.
 *
 * For each feature a leader runs groups of writes; their records go to a follower, and to a copy of the leader from
 * before (its own redo after a crash). All three must end alike, before and after triggers are restored, and the
 * follower must be able to lead: what it then writes must reach the copy. Files of a physical format must end equal byte
 * for byte, too.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isUnderstudyError, type LogFormat, type SqliteConnection, type Storage } from '@understudy/contracts'
import { FEATURES } from './log-format/features.ts'
import { nextSecond } from './log-format/next-second.ts'
import { SuiteNode } from './log-format/node.ts'
import { REFUSALS } from './log-format/refusals.ts'
import type { Feature, LogFormatSupport, Refusal } from './log-format/types.ts'

export type { Feature, FeatureWrite, LogFormatSupport, Refusal } from './log-format/types.ts'

export interface LogFormatSuiteOptions {
  /** A comma separates the format from the variant of it: the README's table has a column for each format. */
  readonly name: string
  readonly format: LogFormat<SqliteConnection>
  /** Opens the storage whose database file is at `path`; makes it when missing. */
  openStorage(path: string, setup?: (database: DatabaseSync) => void): Storage<SqliteConnection>
  /** What the format cannot do by nature, as false. Default everything; `equalFiles` when the format is physical. */
  readonly supports?: Partial<LogFormatSupport>
  /** Formats that `finishedFormat` of the recorder may name. */
  readonly others?: readonly LogFormat<SqliteConnection>[]
}

export function logFormatSuite(options: LogFormatSuiteOptions): void {
  const supports = supported(options)
  describe(`log format suite: ${options.name}`, () => {
    const bench = new Bench(options, supports)
    beforeEach(() => bench.begin())
    afterEach(() => bench.end())

    for (const feature of FEATURES) {
      if (feature.needs !== undefined && !supports[feature.needs]) continue
      it(feature.name, () => bench.carries(feature))
    }
    for (const refusal of REFUSALS) {
      if (supports[refusal.lacks]) continue
      describe(`refuses ${refusal.of} with ${refusal.code}`, () => {
        it(refusal.name, () => bench.refuses(refusal))
      })
    }
  })
}

function supported({ format, supports }: LogFormatSuiteOptions): LogFormatSupport {
  return {
    keylessTables: true,
    nullKeys: true,
    hiddenRowids: true,
    undeclaredFunctions: true,
    unorderedEffects: true,
    equalFiles: format.physical === true,
    ...supports,
  }
}

/** The nodes of one test, in a folder of their own. */
class Bench {
  readonly #options: LogFormatSuiteOptions
  readonly #supports: LogFormatSupport
  readonly #nodes = new Map<string, SuiteNode>()
  #directory = ''

  constructor(options: LogFormatSuiteOptions, supports: LogFormatSupport) {
    this.#options = options
    this.#supports = supports
  }

  begin(): void {
    this.#directory = mkdtempSync(join(tmpdir(), 'understudy-format-'))
  }

  async end(): Promise<void> {
    for (const node of this.#nodes.values()) await node.close()
    this.#nodes.clear()
    rmSync(this.#directory, { recursive: true, force: true })
  }

  async carries(feature: Feature): Promise<void> {
    const { format } = this.#options
    const leader = this.#open('leader', feature)
    leader.lead()
    if (format.physical === true) await leader.copyTo(this.#path('follower'))
    const follower = this.#open('follower', feature)
    const given = feature.given === undefined ? [] : leader.group([feature.given])
    await leader.copyTo(this.#path('copy'))
    const copy = this.#open('copy', feature)
    const records = feature.groups.flatMap((group) => leader.group(group))

    if (feature.isAppliedLater === true) await nextSecond()
    for (const record of [...given, ...records]) follower.apply(record)
    for (const record of records) copy.apply(record)
    const data = { triggers: false, statistics: true, rowids: this.#supports.hiddenRowids }
    expect(follower.dump(data)).toEqual(leader.dump(data))
    expect(copy.dump(data)).toEqual(leader.dump(data))
    expect(leader.query(feature.check.sql)).toEqual(feature.check.rows)

    for (const node of [leader, follower, copy]) node.stop()
    const all = { ...data, triggers: true }
    expect(follower.dump(all)).toEqual(leader.dump(all))
    expect(copy.dump(all)).toEqual(leader.dump(all))
    expect(follower.query(feature.check.sql)).toEqual(feature.check.rows)
    if (feature.promoted !== undefined) {
      follower.lead()
      for (const record of follower.group([feature.promoted])) {
        copy.apply(record)
        if (this.#supports.equalFiles) leader.apply(record)
      }
      for (const node of [leader, follower, copy]) node.stop()
      expect(copy.dump(all)).toEqual(follower.dump(all))
    }
    if (this.#supports.equalFiles) await this.#expectEqualFiles()
  }

  refuses({ setup, given, run, code }: Refusal): void {
    const leader = this.#open('leader', { setup })
    leader.lead()
    if (given !== undefined) leader.group([given])
    const dumped = { triggers: true, statistics: true, rowids: true }
    const before = leader.dump(dumped)
    const errors: unknown[] = []
    const records = leader.group([{ run, fails: true }], errors)
    expect(errors.map((error) => (isUnderstudyError(error) ? error.code : error))).toEqual([code])
    expect(records).toEqual([])
    leader.stop()
    expect(leader.dump(dumped)).toEqual(before)
  }

  /** Files are read when nobody has them open: closing one here would drop the locks of SQLite. */
  async #expectEqualFiles(): Promise<void> {
    for (const node of this.#nodes.values()) await node.close()
    const names = [...this.#nodes.keys()]
    this.#nodes.clear()
    const [first, ...others] = names.map((name) => readFileSync(this.#path(name)))
    expect(others.length).toBe(2)
    for (const other of others) expect(first?.equals(other)).toBe(true)
  }

  #path(name: string): string {
    return join(this.#directory, `${name}.db`)
  }

  #open(name: string, { setup }: { readonly setup?: Feature['setup'] }): SuiteNode {
    const { format, others } = this.#options
    const storage = this.#options.openStorage(this.#path(name), setup)
    const node = new SuiteNode([format, ...(others ?? [])], storage)
    this.#nodes.set(name, node)
    return node
  }
}
