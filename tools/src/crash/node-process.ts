/**
 * The observer's side of a node's process: starts it, kills it, asks it, and keeps what it told before it died.
 *
 * Every wait has an end: a node that does not answer is a failure, not a hang.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { NodeOptions, NodeStatus } from '@understudy/node'
import type { LoadState } from './workload.ts'

/** What a node process is given. */
export interface Settings {
  /** The part of the node's options that is plain data. */
  readonly node: Pick<
    NodeOptions,
    | 'name'
    | 'directory'
    | 'role'
    | 'listen'
    | 'leader'
    | 'segmentBytes'
    | 'slotBytesMax'
    | 'checkpointBytes'
    | 'snapshotBytesPerSecondMax'
    | 'pipeline'
    | 'link'
  >
  readonly writers: number
  /** Mean pause of a writer between two writes. */
  readonly pauseMs: number
}

export type Request =
  | { readonly ask: 'state'; readonly thorough: boolean }
  | { readonly ask: 'digest'; readonly at: string; readonly timeoutMs: number }
  | { readonly ask: 'load' | 'pause' | 'status' | 'mark' | 'stop' }

export interface ToldError {
  readonly code: string
  readonly message: string
}

export interface Reply {
  readonly error?: ToldError
  readonly state?: LoadState
  readonly status?: NodeStatus
  readonly position?: string
  readonly tables?: readonly unknown[]
}

/** What a node process tells unasked, and its answers. */
export type Tidings =
  | { readonly type: 'ready'; readonly address: string | undefined }
  | { readonly type: 'acks'; readonly pairs: number[] }
  | { readonly type: 'event'; readonly kind: string; readonly redone: number }
  | { readonly type: 'failed' | 'writeFailed'; readonly error: ToldError }
  | { readonly type: 'reply'; readonly id: number; readonly reply: Reply }

const ANSWER_MS = 30_000
const PROGRAM = fileURLToPath(new URL('node-program.ts', import.meta.url))

/** How every program of the crash tests is run: from source, without a build. */
export const NODE_FLAGS: readonly string[] = [
  '--conditions=@understudy/source',
  '--disable-warning=ExperimentalWarning',
]

export interface ProcessOptions {
  readonly settings: Settings
  readonly onTidings: (tidings: Tidings) => void
  /** Further flags of node. */
  readonly flags?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
}

export class NodeProcess {
  readonly #child: ChildProcess
  readonly #exit = Promise.withResolvers<void>()
  readonly #ready = Promise.withResolvers<void>()
  readonly #waiting = new Map<number, (reply: Reply) => void>()
  #isReady = false
  #error: ToldError | undefined
  #output = ''
  #ids = 0

  constructor({ settings, onTidings, flags = [], env }: ProcessOptions) {
    this.#child = fork(PROGRAM, [JSON.stringify(settings)], {
      execArgv: [...NODE_FLAGS, ...flags],
      env: env ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    this.#ready.promise.catch(() => {})
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (bytes: Buffer) => (this.#output = (this.#output + bytes.toString()).slice(-4000)))
    this.#child.on('message', (message) => this.#take(message as Tidings, onTidings))
    // `close` comes after the last message was read, which `exit` does not promise.
    this.#child.once('close', () => {
      this.#ready.reject(new Error('the process ended before it was ready'))
      for (const settle of this.#waiting.values())
        settle({ error: { code: 'DEAD', message: `the process ended. ${this.#output}` } })
      this.#exit.resolve()
    })
  }

  get isReady(): boolean {
    return this.#isReady
  }

  /** Whether it ended, by itself or killed. */
  get isOver(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  /** What it failed with, if it said so. */
  get error(): ToldError | undefined {
    return this.#error
  }

  /** How it ended. */
  get end(): string {
    return `exit code ${this.#child.exitCode}, signal ${this.#child.signalCode}`
  }

  /** The end of what it printed. */
  get output(): string {
    return this.#output
  }

  /** Resolves when it takes requests; rejects when it ended, or did not get there in time. */
  ready(timeoutMs: number = ANSWER_MS): Promise<void> {
    return within(this.#ready.promise, timeoutMs, 'it to be ready')
  }

  /** Resolves once it ended and everything it told was read. */
  over(): Promise<void> {
    return within(this.#exit.promise, ANSWER_MS, 'its end')
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.over()
  }

  async ask(request: Request): Promise<Reply> {
    const id = ++this.#ids
    const { promise, resolve } = Promise.withResolvers<Reply>()
    this.#waiting.set(id, resolve)
    if (this.isOver || !this.#child.connected) resolve({ error: { code: 'DEAD', message: this.#output } })
    else this.#child.send({ ...request, id }, () => {})
    try {
      return await within(promise, ANSWER_MS, `an answer to ${request.ask}`)
    } finally {
      this.#waiting.delete(id)
    }
  }

  /** Asks and insists. */
  async get(request: Request): Promise<Reply> {
    const reply = await this.ask(request)
    if (reply.error !== undefined)
      throw new Error(`${request.ask} failed: ${reply.error.code} ${reply.error.message}`)
    return reply
  }

  async stop(): Promise<void> {
    await this.get({ ask: 'stop' })
    await this.over()
  }

  #take(tidings: Tidings, onTidings: (tidings: Tidings) => void): void {
    if (tidings.type === 'reply') {
      this.#waiting.get(tidings.id)?.(tidings.reply)
      return
    }
    if (tidings.type === 'failed') this.#error = tidings.error
    onTidings(tidings)
    if (tidings.type !== 'ready') return
    this.#isReady = true
    this.#ready.resolve()
  }
}

/** Rejects after `timeoutMs`. */
export async function within<T>(promise: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`waited ${timeoutMs} ms for ${what}`)), timeoutMs)
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
