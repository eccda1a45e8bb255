/** A node as a process of its own, started by the command line: what it tells, how it is stopped, killed and paused. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { endChild, hasEnded, within } from './children.ts'

/** One line of `understudy start --json`. */
export interface ToldEvent {
  readonly kind: string
  readonly [field: string]: unknown
}

const LINES_MAX = 60

export class NodeProcess {
  readonly name: string
  readonly events: ToldEvent[] = []
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  readonly #waiting = new Set<() => void>()
  readonly #ended: Promise<unknown>

  constructor(name: string, command: { readonly file: string; readonly args: readonly string[] }) {
    this.name = name
    this.#child = spawn(command.file, command.args, { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#ended = once(this.#child, 'exit')
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.#hear(line))
    createInterface({ input: this.#child.stderr! }).on('line', (line) => this.#hear(line))
    this.#child.once('exit', () => this.#look())
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get hasEnded(): boolean {
    return hasEnded(this.#child)
  }

  /** The last lines that it printed. */
  get lines(): readonly string[] {
    return this.#lines
  }

  #hear(line: string): void {
    this.#lines.push(line)
    if (this.#lines.length > LINES_MAX) this.#lines.shift()
    if (!line.startsWith('{')) return
    try {
      this.events.push(JSON.parse(line) as ToldEvent)
    } catch {
      return
    }
    this.#look()
  }

  #look(): void {
    for (const look of this.#waiting) look()
  }

  /** An event of this life: also one that was told already. */
  async until(
    kind: string,
    fits: (event: ToldEvent) => boolean = () => true,
    timeoutMs: number = 30_000,
  ): Promise<ToldEvent> {
    const { promise, resolve, reject } = Promise.withResolvers<ToldEvent>()
    const look = (): void => {
      const found = this.events.find((event) => event.kind === kind && fits(event))
      if (found !== undefined) resolve(found)
      else if (this.hasEnded)
        reject(new Error(`${this.name} ended before it told ${kind}:\n${this.#lines.join('\n')}`))
    }
    this.#waiting.add(look)
    look()
    try {
      return await within(
        promise,
        timeoutMs,
        () => `${this.name} to tell ${kind}; it said last:\n${this.#lines.join('\n')}`,
      )
    } finally {
      this.#waiting.delete(look)
    }
  }

  async ready(timeoutMs?: number): Promise<string> {
    const { address } = await this.until('ready', () => true, timeoutMs)
    return typeof address === 'string' ? address : ''
  }

  /** SIGKILL, and until it is gone. */
  async kill(): Promise<void> {
    await endChild(this.#child)
  }

  /** SIGSTOP: it stands still, and its connections stay open. */
  pause(): void {
    this.#child.kill('SIGSTOP')
  }

  resume(): void {
    this.#child.kill('SIGCONT')
  }

  /** As a person stops it. */
  async stop(timeoutMs: number = 20_000): Promise<void> {
    if (this.hasEnded) return
    this.resume()
    this.#child.kill('SIGTERM')
    await within(
      this.#ended,
      timeoutMs,
      () => `${this.name} to stop; it said last:\n${this.#lines.join('\n')}`,
    )
  }
}
