/**
 * The results of a run, as they are kept: everything that reports and comparisons are made from.
 *
 * Format: JSON, `format` and `version` first. Histograms are HDR V2, compressed, base64, values in microseconds. Decides: what is kept, and that a file is
 * replaced whole. Leaves to others: making sense of it.
 */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { UnderstudyError } from '@understudy/contracts'
import type { EncodedHistogram } from '../load/histogram.ts'
import type { Machine } from '../machine.ts'
import type { Latency } from '../processes/load.ts'
import type { Cell } from './cell.ts'

export const RESULTS_FORMAT = 'understudy-bench'
export const RESULTS_VERSION = 1

export interface Results {
  readonly format: typeof RESULTS_FORMAT
  readonly version: typeof RESULTS_VERSION
  /** ISO 8601. */
  readonly startedAt: string
  /** The command line's own words, so that a run can be made again. */
  readonly command: string
  readonly machine: Machine
  readonly settings: RunSettings
  /** By subject: what it is, its version and what it was told; or what is missing. */
  readonly subjects: Readonly<Record<string, SubjectReport>>
  readonly cells: readonly CellResult[]
}

/** Those that make two runs comparable. */
export interface RunSettings {
  readonly rounds: number
  readonly seconds: number
  readonly warmUpSeconds: number
  readonly followers: number
  readonly measures: readonly string[]
  readonly seed: number
}

export interface SubjectReport {
  readonly title: string
  readonly version?: string
  /** Why it was left out. */
  readonly missing?: string
  /** By variant. */
  readonly facts: Readonly<Record<string, Readonly<Record<string, string>>>>
}

export interface CellResult {
  readonly key: string
  readonly cell: Cell
  /** Why it was not measured, where it was not. */
  readonly skipped?: string
  readonly rounds: readonly RoundSample[]
  readonly bootstrap?: readonly TransferSample[]
  readonly catchUp?: readonly CatchUpSample[]
  readonly kill?: KillSample
  /** How long the relay held bytes in one direction, in milliseconds: half of the round trip, and what it was late. */
  readonly heldMs?: Latency
}

export interface RoundSample {
  /** From 1. Rounds of one number were measured beside each other, but only those of one `batch`. */
  readonly round: number
  /** Number of the batch, over all sessions of the run. */
  readonly batch: number
  readonly operations: number
  readonly commits: number
  /** Those of the warm-up too: bytes and processor time are of all of them. */
  readonly commitsInAll: number
  readonly seconds: number
  readonly operationsPerSecond: number
  readonly commitsPerSecond: number
  readonly latency: EncodedHistogram
  readonly byOperation: Readonly<
    Record<string, { readonly count: number; readonly latency: EncodedHistogram }>
  >
  /** Open loop: the longest that an operation began late because no writer or no timer was there. */
  readonly lateMsMax: number
  /** From the end of the load until every replica showed all of it. */
  readonly settleMs: number
  readonly wireBytesPerCommit?: number
  readonly logBytesPerCommit?: number
  /** By node, `load` among them where it is a process of its own. */
  readonly nodes?: Readonly<Record<string, NodeUse>>
  readonly lag?: LagSample
  readonly staleness?: EncodedHistogram
}

/** Of the load until every replica showed it. */
export interface NodeUse {
  readonly cpuSeconds: number
  readonly residentMiB: number
}

export interface LagSample {
  /** Commits per second while it was measured: half of what the round reached. */
  readonly commitsPerSecond: number
  readonly latency: EncodedHistogram
  /** Milliseconds since the beginning, median and highest lag of the commits of that time. */
  readonly series: readonly (readonly [atMs: number, p50Ms: number, maxMs: number])[]
}

export interface TransferSample {
  readonly bytes: number
  readonly seconds: number
  readonly mibPerSecond: number
}

export interface CatchUpSample {
  readonly operations: number
  readonly seconds: number
  readonly operationsPerSecond: number
}

export interface KillSample {
  readonly acknowledged: number
  /** Acknowledged, and not on the most advanced replica: gone if that one takes over. */
  readonly lostOnReplica: number
  /** Acknowledged, and gone when the leader is back. */
  readonly lostOnRestart: number
  /** There without having been acknowledged: nobody was told, and it may be there or not. */
  readonly unacknowledged: number
  /** Failover by the cluster itself is not part of it yet. */
  readonly failoverSeconds: 'not measured'
}

/** Replaces the file whole: a run that is killed leaves the one before. */
export async function writeResults(file: string, results: Results): Promise<void> {
  const beside = `${file}.writing`
  await writeFile(beside, `${JSON.stringify(results)}\n`)
  await rename(beside, file)
}

/** Throws `INVALID_ARGUMENT` for what is no results file of this version. */
export async function readResults(file: string): Promise<Results> {
  let parsed: unknown
  try {
    parsed = JSON.parse(await readFile(file, 'utf8'))
  } catch (error) {
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `${file} cannot be read as results of the benchmark: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    )
  }
  const { format, version } = (parsed ?? {}) as Partial<Results>
  if (format === RESULTS_FORMAT && version === RESULTS_VERSION) return parsed as Results
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    format === RESULTS_FORMAT
      ? `${file} has version ${String(version)} of the benchmark's results, this program reads version ${RESULTS_VERSION}.`
      : `${file} holds no results of the benchmark. Make some with --json FILE.`,
  )
}
