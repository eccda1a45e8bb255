/** Runs commands in this process, and nodes as processes of their own. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { onTestFinished } from 'vitest'
import { runCommandLine } from '../src/program.ts'

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url))

/** Parsed JSON, whose fields a test names and compares. */
export interface Json {
  readonly [field: string]: Json
}

/** A field that is a list. */
export function list(value: Json | undefined): Json[] {
  if (!Array.isArray(value)) throw new Error(`no list: ${JSON.stringify(value)}`)
  return value as Json[]
}

/** A field that is text. */
export function text(value: Json | undefined): string {
  if (typeof value !== 'string') throw new Error(`no text: ${JSON.stringify(value)}`)
  return value
}

export function parse(line: string | undefined): Json {
  return JSON.parse(line ?? '') as Json
}

export interface Ran {
  readonly code: number
  readonly out: readonly string[]
  readonly error: readonly string[]
  /** The last line of the output, parsed. */
  readonly json: Json
}

/** Runs a command line to its end, in this process. */
export async function run(...argv: string[]): Promise<Ran> {
  const out: string[] = []
  const error: string[] = []
  const lines = (text: string): string[] => stripVTControlCharacters(text).split('\n')
  const code = await runCommandLine(argv, {
    out: (text) => void out.push(...lines(text)),
    error: (text) => void error.push(...lines(text)),
  })
  return {
    code,
    out,
    error,
    get json() {
      return parse(out.at(-1))
    },
  }
}

/** A folder that is removed with the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-cli-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The command as a process of its own. */
export class CommandProcess {
  readonly child: ChildProcessWithoutNullStreams
  readonly lines: string[] = []
  errors = ''
  readonly #ended = Promise.withResolvers<number | string>()
  #waiting: (() => void)[] = []

  /** `group`: with its own children in a process group of its own, as a shell would start it. */
  constructor(first: string | { readonly group: true }, ...rest: string[]) {
    const argv = typeof first === 'string' ? [first, ...rest] : rest
    this.child = spawn(process.execPath, [...process.execArgv, MAIN, ...argv], {
      detached: typeof first !== 'string',
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined },
    })
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      this.lines.push(line)
      this.#wake()
    })
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => (this.errors += text))
    this.child.once('close', (code, signal) => {
      this.#ended.resolve(signal ?? code ?? -1)
      this.#wake()
    })
    onTestFinished(async () => {
      this.child.kill('SIGKILL')
      await this.#ended.promise
    })
  }

  /** Exit code or signal. */
  get ended(): Promise<number | string> {
    return this.#ended.promise
  }

  /** The first line that `matches`; throws when the process ends without. */
  async line(matches: (line: string) => boolean): Promise<string> {
    for (;;) {
      const found = this.lines.find(matches)
      if (found !== undefined) return found
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`ended without that line: ${this.lines.join('\n')}\n${this.errors}`)
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  /** The first event of that kind that holds. */
  async event(kind: string, holds: (event: Json) => boolean = () => true): Promise<Json> {
    return parse(await this.line((line) => text(parse(line)['kind']) === kind && holds(parse(line))))
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

export interface RunningNode {
  readonly process: CommandProcess
  readonly address: string
}

/** Starts a node on a free port and waits until it serves. */
export async function startNode(name: string, directory: string, ...more: string[]): Promise<RunningNode> {
  const listen = more.includes('--listen') ? [] : ['--listen', 'tcp://127.0.0.1:0']
  const started = new CommandProcess(
    'start',
    '--name',
    name,
    '--directory',
    directory,
    '--json',
    ...listen,
    ...more,
  )
  const { address } = await started.event('ready')
  return { process: started, address: text(address) }
}
