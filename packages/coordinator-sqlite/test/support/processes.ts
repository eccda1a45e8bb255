/** Other processes on the same file: each prints a line for what it did, and is ended with the test. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export interface RivalOptions {
  readonly path: string
  readonly holder: string
  readonly ttlMs: number
  /** Keep the lease with a thread, and do something visible all the time: see `Rival.acted`. Default: acquire it and stay. */
  readonly keep?: boolean
}

export class Rival implements AsyncDisposable {
  readonly child: ChildProcess
  readonly #path: string
  readonly #lines: string[] = []
  readonly #exited: Promise<unknown>
  #woken = Promise.withResolvers<void>()
  #over = false

  constructor(child: ChildProcess, path: string) {
    this.#path = path
    this.child = child
    createInterface({ input: child.stdout! }).on('line', (line) => {
      this.#lines.push(line)
      this.#wake()
    })
    this.#exited = once(child, 'close').then(() => {
      this.#over = true
      this.#wake()
    })
  }

  /** The next line, which is taken; throws when it ended without one. */
  async line(): Promise<string> {
    const line = await this.peek()
    this.#lines.shift()
    return line
  }

  /** The next line, which stays. */
  async peek(): Promise<string> {
    for (;;) {
      const line = this.#lines[0]
      if (line !== undefined) return line
      if (this.#over) throw new Error('the process ended')
      await this.#woken.promise
    }
  }

  /** Everything that it wrote and nobody has taken, after it ended. */
  async rest(): Promise<string[]> {
    await this.#exited
    return this.#lines.splice(0)
  }

  #wake(): void {
    this.#woken.resolve()
    this.#woken = Promise.withResolvers<void>()
  }

  get ended(): boolean {
    return this.#over
  }

  /** The last visible thing that it did, `valid time epoch`; empty before the first. */
  acted(): string {
    const path = `${this.#path}.${this.child.pid}.valid`
    return existsSync(path) ? readFileSync(path, 'utf8').trim() : ''
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL')
    await this.#exited
  }
}

/** Resolves when it is up, and tries to get the lease. */
export async function startRival(options: RivalOptions): Promise<Rival> {
  const program = fileURLToPath(new URL('./rival.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, program, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const rival = new Rival(child, options.path)
  if ((await rival.line()) !== 'up') throw new Error('the process did not come up')
  return rival
}
