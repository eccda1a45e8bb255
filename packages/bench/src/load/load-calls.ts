/**
 * The calls of a process that holds the load: connects to a subject, runs its writers, keeps what they saw.
 *
 * Decides: what of a measurement is sent back. Leaves to others: the beginning of operations (loop.ts), what they are (workloads/), executing them (subjects/).
 */
import { systemClock, type Clock } from '@understudy/contracts'
import type { Connections } from '../subjects/subject.ts'
import { seededRandom } from '../workloads/random.ts'
import { workloadOf } from '../workloads/registry.ts'
import type { Operation, Step, Workload, WorkloadSession, WorkloadSpec } from '../workloads/workload.ts'
import { encode, type EncodedHistogram } from './histogram.ts'
import { runLoop } from './loop.ts'

export interface LoadOpenOptions {
  readonly workload: WorkloadSpec
  readonly seed: number
  /** Part of keys that must be new. */
  readonly load: number
}

export interface LoadRunOptions {
  readonly writers: number
  readonly seconds: number
  readonly warmUpSeconds?: number
  /** Operations per second: an open loop. */
  readonly rate?: number
  readonly operationsMax?: number
  /** When each commit was answered is kept for `notes`. */
  readonly noted?: boolean
  /** Keys of acknowledged inserts are kept for `acknowledged`; the first failure ends the load in place of failing it. */
  readonly untilFailure?: boolean
}

export interface LoadSample {
  readonly operations: number
  /** Write transactions of theirs. */
  readonly commits: number
  /** Those of the warm-up too: what was counted in bytes and processor time is for all of them. */
  readonly commitsInAll: number
  readonly seconds: number
  readonly latency: EncodedHistogram
  readonly byOperation: Readonly<
    Record<string, { readonly count: number; readonly latency: EncodedHistogram }>
  >
  readonly lateMsMax: number
}

/** When each commit was answered, by the number that the subject gave it, in milliseconds of the system's monotonic clock. */
export interface CommitNotes {
  readonly numbers: Float64Array
  readonly answeredAtMs: Float64Array
}

/** The inserts that were acknowledged, and what ended the load. */
export interface Acknowledged {
  readonly keys: readonly string[]
  /** Of each key, what the subject gave its commit; `NaN` for none. */
  readonly numbers: Float64Array
  readonly failure: string | undefined
}

interface Opened {
  readonly workload: Workload
  readonly session: WorkloadSession
  readonly connections: Connections
}

interface Kept {
  numbers: number[]
  answeredAtMs: number[]
  keys: string[]
  keyNumbers: number[]
  failure: string | undefined
}

/** What every process with a load answers: see `processes/serve.ts`. */
export type LoadCalls = {
  readonly run: (options: LoadRunOptions) => Promise<LoadSample>
  readonly notes: () => CommitNotes
  readonly acknowledged: () => Acknowledged
}

/** A process in which a load runs. */
export interface LoadHost {
  readonly pid: number | undefined
  call<N extends keyof LoadCalls>(
    name: N,
    ...argument: Parameters<LoadCalls[N]>
  ): Promise<Awaited<ReturnType<LoadCalls[N]>>>
}

export class Load {
  readonly #clock: Clock
  #opened: Opened | undefined
  #kept: Kept = nothingKept()

  constructor(clock: Clock = systemClock()) {
    this.#clock = clock
  }

  async open({ workload, seed, load }: LoadOpenOptions, connections: Connections): Promise<void> {
    const made = await workloadOf(workload.workload)
    const session = made.start({ random: seededRandom(seed), load, rows: workload.rows })
    this.#opened = { workload: made, session, connections }
  }

  get connections(): Connections | undefined {
    return this.#opened?.connections
  }

  async run(options: LoadRunOptions): Promise<LoadSample> {
    if (this.#opened === undefined) throw new TypeError('open comes first')
    const { session, connections, workload } = this.#opened
    const kept = (this.#kept = nothingKept())
    const stop = new AbortController()
    let commits = 0
    let commitsInAll = 0
    const execute = (operation: Operation, writer: number): Promise<unknown> | undefined =>
      executed(connections, operation.steps, writer, (number) => {
        if (options.noted !== true || number === undefined) return
        kept.numbers.push(number)
        kept.answeredAtMs.push(monotonicMs())
      })
    const guarded = async (operation: Operation, writer: number): Promise<void> => {
      try {
        let committed = Number.NaN
        await executed(connections, operation.steps, writer, (number) => (committed = number ?? committed))
        const key = operation.keyValue?.put?.key
        if (key === undefined) return
        kept.keys.push(key)
        kept.keyNumbers.push(committed)
      } catch (error) {
        kept.failure ??= error instanceof Error ? error.message : String(error)
        stop.abort()
      }
    }
    const operationsMax = options.operationsMax ?? workload.operationsMax
    const result = await runLoop<Operation>({
      clock: this.#clock,
      writers: options.writers,
      durationMs: options.seconds * 1000,
      ...(options.warmUpSeconds !== undefined && { warmUpMs: options.warmUpSeconds * 1000 }),
      ...(options.rate !== undefined && { rate: options.rate }),
      ...(operationsMax !== undefined && { operationsMax }),
      signal: stop.signal,
      next: (writer) => session.next(writer),
      run: options.untilFailure === true ? guarded : execute,
      answered: (operation, isCounted) => {
        session.done?.(operation)
        const writes = writesOf(operation)
        commitsInAll += writes
        if (isCounted) commits += writes
      },
    })
    return {
      operations: result.operations,
      commits,
      commitsInAll,
      seconds: result.durationMs / 1000,
      latency: encode(result.latency),
      byOperation: Object.fromEntries(
        [...result.byName].map(([name, latency]) => [
          name,
          { count: latency.totalCount, latency: encode(latency) },
        ]),
      ),
      lateMsMax: result.lateMsMax,
    }
  }

  notes(): CommitNotes {
    const { numbers, answeredAtMs } = this.#kept
    return { numbers: Float64Array.from(numbers), answeredAtMs: Float64Array.from(answeredAtMs) }
  }

  acknowledged(): Acknowledged {
    const { keys, keyNumbers, failure } = this.#kept
    return { keys, numbers: Float64Array.from(keyNumbers), failure }
  }

  async close(): Promise<void> {
    await this.#opened?.connections[Symbol.asyncDispose]()
    this.#opened = undefined
  }
}

function writesOf({ steps }: Operation): number {
  return steps.reduce((count, { kind }) => count + (kind === 'write' ? 1 : 0), 0)
}

/** One step after another; nothing is awaited where nothing is to be waited for. */
function executed(
  connections: Connections,
  steps: readonly Step[],
  writer: number,
  committed: (number: number | undefined) => void,
): Promise<unknown> | undefined {
  const [first] = steps
  if (first === undefined) return undefined
  if (steps.length === 1) {
    const answer = connections.run(first, writer)
    return answer?.then(committed)
  }
  return executedInOrder(connections, steps, writer, committed)
}

async function executedInOrder(
  connections: Connections,
  steps: readonly Step[],
  writer: number,
  committed: (number: number | undefined) => void,
): Promise<void> {
  for (const step of steps) committed(await connections.run(step, writer))
}

function nothingKept(): Kept {
  return { numbers: [], answeredAtMs: [], keys: [], keyNumbers: [], failure: undefined }
}

/** CLOCK_MONOTONIC, which is one clock for all processes of a machine. */
function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
