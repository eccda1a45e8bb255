/**
 * Parent side: starts a process of the benchmark and calls it.
 *
 * Decides: that a process which ends by itself fails every call to it. Leaves to others: what is called.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { UnderstudyError } from '@understudy/contracts'
import type { AnswerMessage, Calls, CallMessage } from './serve.ts'

export class Child<C extends Calls> implements AsyncDisposable {
  readonly #name: string
  readonly #process: ChildProcess
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>()
  readonly #exited: Promise<void>
  #calls = 0

  /** `entry`: a module of this folder, without its ending. */
  constructor(entry: string) {
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
    this.#name = entry
    this.#process = fork(new URL(`./${entry}${extension}`, import.meta.url), { serialization: 'advanced' })
    this.#process.on('message', (answer: AnswerMessage) => this.#settle(answer))
    this.#exited = new Promise((resolve) => {
      this.#process.once('exit', (code, signal) => {
        this.#failAll(`it ended with ${signal ?? `code ${String(code)}`}`)
        resolve()
      })
      this.#process.once('error', (error) => {
        this.#failAll(error.message)
        resolve()
      })
    })
  }

  /** Calls by name. Rejects with `REQUEST_FAILED` when the call failed or the process ended. */
  call<N extends keyof C & string>(
    name: N,
    ...[argument]: Parameters<C[N]>
  ): Promise<Awaited<ReturnType<C[N]>>> {
    return this.#ask(name, argument) as Promise<Awaited<ReturnType<C[N]>>>
  }

  #ask(name: string, argument: unknown): Promise<unknown> {
    const id = this.#calls++
    const waiting = Promise.withResolvers<unknown>()
    this.#waiting.set(id, waiting)
    const message: CallMessage = { id, name, argument }
    this.#process.send(message, (error) => {
      if (error !== null) this.#settle({ id, error: { code: undefined, message: error.message } })
    })
    return waiting.promise
  }

  /** `undefined` when it could not be started. */
  get pid(): number | undefined {
    return this.#process.pid
  }

  /** `SIGSTOP`, `SIGCONT`, `SIGKILL`. */
  signal(signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
    this.#process.kill(signal)
  }

  /** As `kill -9` does; resolves when the process is gone. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.#exited
  }

  /** Resident memory in bytes as the system counts it, also of a process that is stopped. Linux only; `undefined` elsewhere. */
  residentBytes(): number | undefined {
    try {
      const status = readFileSync(`/proc/${this.#process.pid}/status`, 'utf8')
      const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]
      return kibibytes === undefined ? undefined : Number(kibibytes) * 1024
    } catch {
      return undefined
    }
  }

  /** Ends the process in order, with its call `close`, which every process has. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return this.#exited
    this.#process.kill('SIGCONT')
    await this.#ask('close', undefined).catch(() => undefined)
    this.#process.kill('SIGTERM')
    await this.#exited
  }

  #settle({ id, value, error }: AnswerMessage): void {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    this.#waiting.delete(id)
    if (error === undefined) waiting.resolve(value)
    else waiting.reject(this.#failed(error.message))
  }

  #failAll(why: string): void {
    for (const { reject } of this.#waiting.values()) reject(this.#failed(why))
    this.#waiting.clear()
  }

  #failed(why: string): UnderstudyError {
    return new UnderstudyError(
      'REQUEST_FAILED',
      `The benchmark's ${this.#name} process failed: ${why}. The measurement was given up.`,
    )
  }
}
