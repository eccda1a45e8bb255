/**
 * Starts and asks the checkpointing thread.
 *
 * Decides: that one checkpoint runs at a time. Leaves to others: when to checkpoint, what a failure means.
 */
import { Worker } from 'node:worker_threads'
import { storageFailed } from './errors.ts'

interface Answer {
  readonly complete?: boolean
  readonly failure?: { readonly message: string; readonly errcode?: number; readonly code?: string }
}

export class Checkpointer {
  readonly #path: string
  readonly #databaseDescriptor: number
  #worker: Worker | undefined
  #answer: { resolve(complete: boolean): void; reject(error: Error): void } | undefined
  #exited: Promise<void> | undefined

  /** `databaseDescriptor` must outlive this object. */
  constructor(path: string, databaseDescriptor: number) {
    this.#path = path
    this.#databaseDescriptor = databaseDescriptor
  }

  /**
   * Makes every commit so far durable. Resolves with whether all of them are in the database file too (never when
   * `held`). Rejects with `STORAGE_FAILED`. One call at a time.
   */
  run(held: boolean, syncDatabase: boolean): Promise<boolean> {
    const worker = (this.#worker ??= this.#start())
    return new Promise((resolve, reject) => {
      this.#answer = { resolve, reject }
      worker.ref()
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
      worker.postMessage({ held, syncDatabase })
    })
  }

  /** Ends the thread after its connection is closed. No call may be under way. */
  async close(): Promise<void> {
    const worker = this.#worker
    if (worker === undefined) return
    this.#worker = undefined
    worker.ref()
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    worker.postMessage({ close: true })
    await this.#exited
  }

  #start(): Worker {
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
    const worker = new Worker(new URL(`./checkpoint-worker${extension}`, import.meta.url), {
      workerData: { path: this.#path, databaseDescriptor: this.#databaseDescriptor },
      name: 'understudy-checkpoint',
      stdin: false,
    })
    worker.on('message', ({ complete, failure }: Answer) => {
      worker.unref()
      if (failure === undefined) this.#settle((answer) => answer.resolve(complete === true))
      else this.#fail(Object.assign(new Error(failure.message), failure))
    })
    worker.on('error', (error) => this.#fail(error))
    this.#exited = new Promise((resolve) => {
      worker.on('exit', () => {
        if (this.#worker === worker) this.#worker = undefined
        this.#fail(new Error('the checkpointing thread ended'))
        resolve()
      })
    })
    return worker
  }

  #fail(cause: unknown): void {
    this.#settle((answer) => answer.reject(storageFailed(`A checkpoint of ${this.#path} failed`, cause)))
  }

  #settle(settle: (answer: { resolve(complete: boolean): void; reject(error: Error): void }) => void): void {
    const answer = this.#answer
    this.#answer = undefined
    if (answer !== undefined) settle(answer)
  }
}
