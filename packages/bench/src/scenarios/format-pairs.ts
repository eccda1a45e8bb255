/**
 * What runs while the formats are compared: a leader and a follower for each, and bare SQLite beside them.
 *
 * Decides: that all of it ends together. Leaves to others: what is measured on it.
 */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import type { FormatName } from '../formats.ts'
import { Pair } from '../pair.ts'
import type { BareCalls } from '../processes/bare.ts'
import { Child } from '../processes/child.ts'

export type Synchronous = 'full' | 'off'

export class FormatPairs implements AsyncDisposable {
  readonly #pairs = new Map<FormatName, Pair>()
  readonly #bare = new Map<Synchronous, Child<BareCalls>>()

  static async start(directory: string, names: readonly FormatName[]): Promise<FormatPairs> {
    const pairs = new FormatPairs()
    try {
      for (const name of names) {
        const folder = path.join(directory, name)
        await mkdir(folder)
        pairs.#pairs.set(name, await Pair.start(folder, { format: name }))
      }
      for (const synchronous of ['full', 'off'] as const) {
        const child = new Child<BareCalls>('bare')
        pairs.#bare.set(synchronous, child)
        await child.call('open', { path: path.join(directory, `bare-${synchronous}.db`), synchronous })
      }
      return pairs
    } catch (error) {
      await pairs[Symbol.asyncDispose]()
      throw error
    }
  }

  get(name: FormatName): Pair {
    const pair = this.#pairs.get(name)
    if (pair === undefined) throw new TypeError(`no pair of format ${name} runs`)
    return pair
  }

  /** Commits per second of bare SQLite. */
  async bare(synchronous: Synchronous, seconds: number): Promise<number> {
    const child = this.#bare.get(synchronous)
    if (child === undefined) throw new TypeError(`no bare SQLite with synchronous=${synchronous} runs`)
    return child.call('load', { seconds })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pair of this.#pairs.values()) await pair[Symbol.asyncDispose]()
    for (const child of this.#bare.values()) await child[Symbol.asyncDispose]()
  }
}
