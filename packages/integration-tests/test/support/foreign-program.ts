/** Another process with plain SQLite, told what to do line by line. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

const PROGRAM = fileURLToPath(new URL('../programs/foreign-program.ts', import.meta.url))

export class ForeignProgram {
  readonly #child: ChildProcess
  readonly #answers: AsyncIterator<string>

  constructor(path: string) {
    this.#child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', PROGRAM, path], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    onTestFinished(() => void this.#child.kill('SIGKILL'))
    this.#answers = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]()
  }

  /** The answer to one command. */
  async ask(command: string): Promise<string> {
    this.#child.stdin!.write(`${command}\n`)
    const { value, done } = await this.#answers.next()
    if (done === true) throw new Error(`the program ended at: ${command}`)
    return value
  }

  /** Runs statements; throws SQLite's message. */
  async sql(...statements: string[]): Promise<void> {
    for (const sql of statements) {
      const answer = await this.ask(`sql ${sql.replaceAll('\n', ' ')}`)
      if (answer !== 'done') throw new Error(`${sql}: ${answer}`)
    }
  }

  async close(): Promise<void> {
    const ended = once(this.#child, 'close')
    this.#child.stdin!.end()
    await ended
  }
}
