/** Clients in a process of their own, at a place of the network, that record what they do: started, waited for, ended. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { FLAGS, endChild, hasEnded, within } from './children.ts'
import type { FaultNetwork } from './network.ts'

export interface LoadOptions {
  /** Unique in its test. */
  readonly name: string
  /** Where the histories are written. */
  readonly folder: string
  readonly addresses: readonly string[]
  /** Of unique values. */
  readonly writers: number
  readonly registers: { readonly clients: number; readonly keys: number }
  readonly seed: number
  /** How long one call waits. */
  readonly timeoutMs: number
  /** Between calls of one client. */
  readonly pauseMs: number
}

export class Load {
  readonly options: LoadOptions
  /** Answers by what they said. */
  readonly counts: Map<string, number> = new Map()
  readonly #child: ChildProcess
  readonly #explain: () => Promise<string>
  readonly #waiting = new Set<() => void>()
  readonly #ended: Promise<unknown>

  /** `explain`: what else is worth knowing when something does not come. */
  constructor(network: FaultNetwork, place: string, options: LoadOptions, explain: () => Promise<string>) {
    this.#explain = explain
    this.options = options
    const program = join(import.meta.dirname, '../../programs/record-load.ts')
    const { file, args } = network.command(place, [
      process.execPath,
      ...FLAGS,
      program,
      JSON.stringify(options),
    ])
    this.#child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#ended = once(this.#child, 'exit')
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      this.counts.set(line, (this.counts.get(line) ?? 0) + 1)
      for (const look of this.#waiting) look()
    })
  }

  /** Calls that were answered well. */
  get acked(): number {
    return sumOf(this.counts, (line) => line.startsWith('ok '))
  }

  get failed(): number {
    return sumOf(this.counts, (line) => !line.startsWith('ok ') && line !== 'ready' && line !== 'done')
  }

  /** Until so many more calls are answered well. */
  async more(count: number, timeoutMs: number = 30_000): Promise<void> {
    const target = this.acked + count
    await this.until(() => this.acked >= target, timeoutMs, `${count} more answers`)
  }

  async until(holds: () => boolean, timeoutMs: number, what: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const look = (): void => {
      if (holds()) resolve()
    }
    this.#waiting.add(look)
    look()
    try {
      await within(
        promise,
        timeoutMs,
        () => `${what}; ${this.options.name} has ${JSON.stringify([...this.counts])}`,
      )
    } catch (error) {
      throw new Error(`${String(error)}\n${await this.#explain()}`, { cause: error })
    } finally {
      this.#waiting.delete(look)
    }
  }

  /** Lets each client finish its call. */
  async stop(): Promise<void> {
    if (hasEnded(this.#child)) return
    this.#child.stdin!.end()
    await within(
      this.#ended,
      this.options.timeoutMs + 20_000,
      () => `the clients of ${this.options.name} to end`,
    )
  }

  async kill(): Promise<void> {
    await endChild(this.#child)
  }
}

function sumOf(counts: ReadonlyMap<string, number>, fits: (line: string) => boolean): number {
  let sum = 0
  for (const [line, count] of counts) if (fits(line)) sum += count
  return sum
}
