/**
 * A node as a process of its own: `understudy start --json`, run by the same Node.js with the same flags as this
 * command, so from source where this runs from source.
 *
 * No process outlives the demo: it is told to end, is killed when this process exits, and ends by itself when this
 * process is gone, because its standard input ends then.
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { UnderstudyError, type Clock } from '@understudy/contracts'

export interface NodeProcessOptions {
  readonly name: string
  readonly directory: string
  /** Every node of the cluster, as `--members` takes them. */
  readonly members: string
  /** File in which the nodes agree on who leads. */
  readonly coordinator: string
  /** Begins the cluster: the first start of its first node. */
  readonly founds: boolean
  readonly snapshotBytesPerSecond: number
}

/** An event as `start --json` prints it. */
export interface ProcessEvent {
  readonly kind: string
  readonly [field: string]: unknown
}

/** How long a node has for stopping cleanly. */
const STOP_MS = 5000
/** Characters of its error output that are kept. */
const ERRORS_KEPT = 4000

/** `main` beside the folder of this file, as source or built. */
const MAIN = new URL(import.meta.url.endsWith('.ts') ? '../main.ts' : '../main.js', import.meta.url)

export class NodeProcess {
  readonly name: string
  readonly #clock: Clock
  readonly #child: ChildProcessWithoutNullStreams
  readonly #ready = Promise.withResolvers<ProcessEvent>()
  readonly #ended = Promise.withResolvers<void>()
  readonly #killNow = (): void => void this.#child.kill('SIGKILL')
  #address: string | undefined
  #errors = ''
  #told = false
  #over = false

  /** `onEvent` gets each event; `onLost` is called when the process ends without having been told to. */
  constructor(
    options: NodeProcessOptions,
    clock: Clock,
    onEvent: (event: ProcessEvent) => void,
    onLost: (error: UnderstudyError) => void,
  ) {
    this.name = options.name
    this.#clock = clock
    this.#child = spawn(process.execPath, [...nodeFlags(), fileURLToPath(MAIN), ...commandLine(options)])
    process.once('exit', this.#killNow)
    this.#ready.promise.catch(() => {})
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#line(line, onEvent))
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-ERRORS_KEPT)
    })
    this.#child.stdin.on('error', () => {})
    this.#child.once('error', (error) => this.#end(error.message, onLost))
    this.#child.once('close', (code, signal) => this.#end(signal ?? `exit code ${code}`, onLost))
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Where it listens, once it does. */
  get address(): string | undefined {
    return this.#address
  }

  /** Whether the process is there and is meant to be. */
  get running(): boolean {
    return !this.#over && !this.#told
  }

  /** Resolves with the event that says that it serves. */
  get ready(): Promise<ProcessEvent> {
    return this.#ready.promise
  }

  /** SIGKILL: as if its power were cut. Resolves once it is gone. */
  async kill(): Promise<void> {
    this.#told = true
    this.#killNow()
    await this.#ended.promise
  }

  /** SIGTERM, and SIGKILL when that does not help. */
  async stop(): Promise<void> {
    this.#told = true
    this.#child.kill('SIGTERM')
    const patience = this.#clock.schedule(STOP_MS, this.#killNow)
    await this.#ended.promise
    patience.cancel()
  }

  #line(line: string, onEvent: (event: ProcessEvent) => void): void {
    let event: Partial<ProcessEvent>
    try {
      event = JSON.parse(line) as Partial<ProcessEvent>
    } catch {
      this.#errors = `${this.#errors}${line}\n`.slice(-ERRORS_KEPT)
      return
    }
    if (event.kind === undefined) {
      this.#errors = `${this.#errors}${line}\n`.slice(-ERRORS_KEPT)
      return
    }
    if (event.kind === 'listening') this.#address = String(event['address'])
    if (event.kind === 'ready') this.#ready.resolve(event as ProcessEvent)
    onEvent(event as ProcessEvent)
  }

  #end(how: string, onLost: (error: UnderstudyError) => void): void {
    if (this.#over) return
    this.#over = true
    process.off('exit', this.#killNow)
    const error = new UnderstudyError(
      'DEMO_FAILED',
      `The process of node ${this.name} ended by itself (${how}). Its last words: ${this.#errors.trim() || 'none'}`,
    )
    this.#ready.reject(error)
    this.#ended.resolve()
    if (!this.#told) onLost(error)
  }
}

/** Flags that make this process run from source go to the node as well; a debugger's port can be had only once. */
function nodeFlags(): string[] {
  return process.execArgv.filter((flag) => !flag.startsWith('--inspect'))
}

function commandLine(options: NodeProcessOptions): string[] {
  const { name, directory, members, coordinator, founds, snapshotBytesPerSecond } = options
  const line = ['start', '--name', name, '--directory', directory, '--members', members]
  line.push('--coordinator', `sqlite:${coordinator}`, '--snapshot-rate', String(snapshotBytesPerSecond))
  line.push('--json', '--until-input-ends')
  if (founds) line.push('--found')
  return line
}
