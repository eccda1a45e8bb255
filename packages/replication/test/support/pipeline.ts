/** A commit pipeline over reference implementations, on simulated time. */
import { UnderstudyError, type LogPoint } from '@understudy/contracts'
import {
  MemoryStorage,
  SimulatedClock,
  memoryFormat,
  type MemoryConnection,
  type MemoryTransaction,
} from '@understudy/testkit'
import { createCommitPipeline, type CommitPipeline, type CommitPipelineOptions } from '../../src/index.ts'
import { MemoryLog } from './memory-log.ts'

export interface TestPipeline {
  readonly clock: SimulatedClock
  readonly log: MemoryLog
  readonly storage: MemoryStorage
  readonly pipeline: CommitPipeline<MemoryTransaction, MemoryConnection>
  readonly durable: LogPoint[]
  readonly markers: LogPoint[]
  readonly failures: UnderstudyError[]
  /** A write of one key. */
  readonly set: (key: string, value: string) => Promise<LogPoint>
}

export function testPipeline(
  options: Partial<CommitPipelineOptions<MemoryConnection, MemoryTransaction>> = {},
): TestPipeline {
  const clock = new SimulatedClock()
  const storage = new MemoryStorage({ clock })
  const log = new MemoryLog()
  const epoch = log.startEpoch({ runId: '0123456789abcdef', leader: 'a', committedAtMs: 0 })
  log.durable = epoch.lsn
  storage.begin()
  storage.mark(epoch)
  storage.commit()
  log.counts.append = 0
  const durable: LogPoint[] = []
  const markers: LogPoint[] = []
  const failures: UnderstudyError[] = []
  const pipeline = createCommitPipeline<MemoryConnection, MemoryTransaction>({
    storage,
    log,
    format: memoryFormat(),
    cluster: 'c',
    clock,
    defer: (run) => clock.schedule(0, run),
    onDurable: (point) => durable.push(point),
    onMarker: (point) => markers.push(point),
    onFailed: (failure) => failures.push(failure),
    ...options,
    // Syncs of a group go to the pool, where a test can hold them back, unless it asks otherwise.
    limits: { syncHereMsMax: Number.MIN_VALUE, ...options.limits },
  })
  const set = async (key: string, value: string): Promise<LogPoint> => {
    const { receipt } = await pipeline.write((tx) => tx.set(key, value))
    return { ...receipt.position, crc: receipt.crc }
  }
  return { clock, log, storage, pipeline, durable, markers, failures, set }
}

/** The code of what a promise rejects with, and the code of its cause; `resolved` when it does not reject. */
export async function outcomeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'resolved'
  } catch (error) {
    return describe(error)
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const name = error instanceof UnderstudyError ? error.code : error.message
  const at =
    error instanceof UnderstudyError && error.position !== undefined
      ? ` ${error.position.epoch}/${error.position.lsn}`
      : ''
  return error.cause === undefined ? `${name}${at}` : `${name}${at} <- ${describe(error.cause)}`
}
