/**
 * Records what clients ask of a cluster, and what they are answered, as a history for the checkers.
 *
 * Decides which errors say that nothing happened. Leaves times to the clock it is given, and where the lines go to its sink.
 *
 * 1. A call is recorded before it is made and its answer after it came: what happened, happened between the two times.
 * 2. Only an error that promises that nothing was written makes a `fail`; each other one is `unknown`. A read that failed saw nothing.
 * 3. All clients of a history have one clock: one recorder's, or one that several processes share, with one origin; such histories are merged.
 */
import { isUnderstudyError, type Clock, type ErrorCode } from '@understudy/contracts'
import { encodeEvent, historyOf, type History, type HistoryEvent, type HistoryModel } from './lines.ts'
import type { FinalRow } from './acked-writes.ts'
import type { Action, Output, Scalar } from './operation.ts'

export {
  encodeEvent,
  encodeHistory,
  historyOf,
  mergeHistories,
  parseHistory,
  type History,
  type HistoryEvent,
  type HistoryModel,
} from './lines.ts'

export interface RecorderOptions {
  readonly clock: Clock
  readonly model: HistoryModel
  /** Takes each line with its end, such as `(line) => writeSync(file, line)`. */
  readonly sink?: (line: string) => void
  /** What the clock said at time 0 of the history. Default: what it says now; 0 where several processes share one clock. */
  readonly originMs?: number
  /** Whether an error says that nothing was written, now or later; `saysNotWritten` by default. */
  readonly isFailure?: (error: unknown) => boolean
}

/** What a call gave. */
export interface Answer {
  readonly output?: Output
  /** `epoch/lsn` or `epoch/lsn#index`. */
  readonly position?: string
}

/** A client that can be recorded: what it calls a register is up to it. */
export interface RegisterClient {
  read(key: string): Promise<Scalar>
  write(key: string, value: Scalar): Promise<Answer | void>
  cas?(key: string, from: Scalar, to: Scalar): Promise<boolean>
}

/** The same of sets and lists. */
export interface CollectionClient {
  add(key: string, value: Scalar): Promise<Answer | void>
  read(key: string): Promise<readonly Scalar[]>
}

const NOT_WRITTEN: ReadonlySet<string> = new Set([
  'NOT_WRITTEN',
  'NOT_LEADER',
  'OVERLOADED',
  'TRANSACTION_LOST',
  'TRANSACTION_TOO_LARGE',
  'EXPECTATION_FAILED',
  'SQL_FAILED',
  'WRITE_FORBIDDEN',
] satisfies ErrorCode[])

/** Whether an error promises that the write left no trace. */
export function saysNotWritten(error: unknown): boolean {
  return isUnderstudyError(error) && NOT_WRITTEN.has(error.code)
}

export class HistoryRecorder {
  readonly #clock: Clock
  readonly #sink: ((line: string) => void) | undefined
  readonly #isFailure: (error: unknown) => boolean
  readonly #events: HistoryEvent[] = []
  readonly #originMs: number
  #next = 0

  constructor(options: RecorderOptions) {
    const { clock, model, sink, originMs = clock.monotonic(), isFailure = saysNotWritten } = options
    this.#clock = clock
    this.#sink = sink
    this.#isFailure = isFailure
    this.#originMs = originMs
    this.#record({ understudyHistory: 1, model })
  }

  /** What was recorded so far. */
  get history(): History {
    return historyOf(this.#events)
  }

  /** Milliseconds since the origin. */
  elapsedMs(): number {
    return this.#clock.monotonic() - this.#originMs
  }

  /** Makes one call; gives what it gave, and throws what it threw. */
  async run<T extends Answer | void>(process: string, action: Action, call: () => Promise<T>): Promise<T> {
    const id = this.#next++
    this.#record({ type: 'call', id, process, ...action, at: this.elapsedMs() })
    try {
      const answer = await call()
      this.#record({ type: 'ok', id, at: this.elapsedMs(), ...answerOf(answer) })
      return answer
    } catch (error) {
      const type = action.kind === 'read' || this.#isFailure(error) ? 'fail' : 'unknown'
      this.#record({ type, id, at: this.elapsedMs(), error: codeOf(error) })
      throw error
    }
  }

  /** The same client, each call of which is recorded as one of `process`. */
  registers(process: string, client: RegisterClient): RegisterClient {
    const cas = client.cas?.bind(client)
    return {
      read: async (key) => {
        const answer = await this.run(process, { kind: 'read', key }, async () => ({
          output: await client.read(key),
        }))
        return answer.output
      },
      write: (key, value) => this.run(process, { kind: 'write', key, value }, () => client.write(key, value)),
      ...(cas !== undefined && {
        cas: async (key: string, from: Scalar, value: Scalar) => {
          const answer = await this.run(process, { kind: 'cas', key, from, value }, async () => ({
            output: await cas(key, from, value),
          }))
          return answer.output
        },
      }),
    }
  }

  /** The same for a client of sets or lists. */
  collections(process: string, client: CollectionClient): CollectionClient {
    return {
      add: (key, value) => this.run(process, { kind: 'add', key, value }, () => client.add(key, value)),
      read: async (key) => {
        const answer = await this.run(process, { kind: 'read', key }, async () => ({
          output: await client.read(key),
        }))
        return answer.output
      },
    }
  }

  /** What is done to the cluster; explanations show it among the operations. */
  note(text: string): void {
    this.#record({ type: 'note', at: this.elapsedMs(), text })
  }

  /** What is there when all is over, in the order of the cluster. */
  final(key: string, rows: readonly FinalRow[]): void {
    this.#record({
      type: 'final',
      key,
      rows: rows.map(({ value, position }) => (position === undefined ? [value] : [value, position])),
    })
  }

  #record(event: HistoryEvent): void {
    this.#events.push(event)
    this.#sink?.(encodeEvent(event))
  }
}

function answerOf(answer: Answer | void): Answer {
  if (typeof answer !== 'object') return {}
  const { output, position } = answer
  return { ...(output !== undefined && { output }), ...(position !== undefined && { position }) }
}

function codeOf(error: unknown): string {
  if (isUnderstudyError(error)) return error.code
  return error instanceof Error ? error.name : typeof error
}
