/** The nodes of one test of the log format suite, and what is done with a feature or a refusal. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { isUnderstudyError } from '@understudy/contracts'
import type { LogFormatSuiteOptions } from '../log-format.ts'
import { nextSecond } from './next-second.ts'
import { SuiteNode, type SuiteRecord } from './node.ts'
import type { Feature, LogFormatSupport, Refusal } from './types.ts'

/** The nodes of one test, in a folder of their own. */
export class Bench {
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
    const leader = this.open('leader', feature)
    leader.lead()
    if (format.physical === true) await leader.copyTo(this.path('follower'))
    const follower = this.open('follower', feature)
    follower.settle()
    const given = feature.given === undefined ? [] : leader.group([feature.given])
    await leader.copyTo(this.path('copy'))
    const copy = this.open('copy', feature)
    copy.settle()
    const records = feature.groups.flatMap((group) => leader.group(group))
    if (format.needsPages !== undefined) {
      await copy.copyTo(this.path('undone'))
      this.#undoes(this.open('undone', feature), records, feature.undo === 'pages')
    }

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

  /**
   * Applying a record and undoing it must leave everything as it was; so must going all the way forth and back. A record that
   * needs pages ends the way back, and may come only where the feature says so.
   */
  #undoes(node: SuiteNode, records: readonly SuiteRecord[], mayNeedPages: boolean): void {
    const data = { triggers: false, statistics: true, rowids: this.#supports.hiddenRowids }
    const before: string[][] = []
    for (const record of records) {
      before.push(node.dump(data))
      node.apply(record)
      // Large ones go forth and back once, below.
      if (record.payload.length > 1 << 20 || node.needsPages(record) !== undefined) continue
      const after = node.dump(data)
      node.undo(record)
      expect(node.dump(data)).toEqual(before.at(-1))
      node.apply(record)
      expect(node.dump(data)).toEqual(after)
    }
    const reasons: string[] = []
    for (const record of records.toReversed()) {
      const why = node.needsPages(record)
      if (why !== undefined) reasons.push(why)
      const dump = before.pop()
      if (reasons.length > 0) continue
      node.undo(record)
      expect(node.dump(data)).toEqual(dump)
    }
    if (!mayNeedPages) expect(reasons).toEqual([])
    node.stop()
  }

  refuses({ setup, given, run, code }: Refusal): void {
    const leader = this.open('leader', { setup })
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
    const [first, ...others] = names.map((name) => readFileSync(this.path(name)))
    expect(others.length).toBe(2)
    for (const other of others) expect(first?.equals(other)).toBe(true)
  }

  /** Where the database file of a node lies. */
  path(name: string): string {
    return join(this.#directory, `${name}.db`)
  }

  /** Opens, or makes, the storage of a node; it is closed at the end. */
  open(name: string, { setup }: { readonly setup?: Feature['setup'] } = {}): SuiteNode {
    const { format, others } = this.#options
    const storage = this.#options.openStorage(this.path(name), setup)
    const node = new SuiteNode([format, ...(others ?? [])], storage)
    this.#nodes.set(name, node)
    return node
  }
}
