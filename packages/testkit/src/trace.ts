/**
 * A trace of a simulation: what happened, in order, with a running hash.
 *
 * Two runs of one seed must end with equal hashes; a difference says that something outside the simulation (real time,
 * a thread pool, object identity) got in. Only the last lines are kept, so that a long run does not fill the memory.
 */
import { crc32 } from 'node:zlib'

/** Takes one line for each thing that happened. */
export type TraceSink = (line: string) => void

export class Trace {
  #hash = 0
  #count = 0
  readonly #lines: string[] = []
  readonly #linesMax: number

  constructor(options: { readonly linesMax?: number } = {}) {
    this.#linesMax = options.linesMax ?? 1000
  }

  /** Bound, so that it can be handed out as a `TraceSink`. */
  readonly add: TraceSink = (line) => {
    this.#hash = crc32(`${line}\n`, this.#hash)
    this.#count += 1
    this.#lines.push(line)
    if (this.#lines.length > this.#linesMax * 2) this.#lines.splice(0, this.#lines.length - this.#linesMax)
  }

  /** Lines and hash so far, such as `1042:9af3c001`. */
  get hash(): string {
    return `${this.#count}:${this.#hash.toString(16).padStart(8, '0')}`
  }

  /** The last lines, oldest first. */
  get lines(): readonly string[] {
    return this.#lines.slice(-this.#linesMax)
  }
}
