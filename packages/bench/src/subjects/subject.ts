/**
 * What can be measured: the seam between the benchmark and a database. One file is one subject.
 *
 * Decides: the life of a subject. `find` says whether it is here; `start` makes a private instance in a folder of the run; `connect` runs in another
 * process, that of the load, and executes operations. Leaves to others: which operations, when, and what is kept of them.
 *
 * Validity:
 * 1. An instance touches nothing outside of its folder and of loopback ports that the system chose as free, and is gone when it is disposed of.
 * 2. A write step is answered when it is as durable as `facts` say; what is not durable then must be said there.
 * 3. Both halves of a subject are in one module, because the process of the load imports it by its URL and gets `endpoint` as a structured clone.
 */
import type { Latency } from '../processes/load.ts'
import type { LoadHost } from '../load/load-calls.ts'
import type { Step, Workload } from '../workloads/workload.ts'

/** Name and value of what tells the variants of a subject apart, such as `ack: async`. Values are short: they are part of names. */
export type Settings = Readonly<Record<string, string>>

export type Found = { readonly version: string } | { readonly missing: string }

export interface Subject {
  readonly name: string
  /** For people: one line. */
  readonly title: string
  /** In the order in which they are measured; `{}` for the only one. */
  readonly variants: readonly Settings[]
  /** Whether it can be started here; what is missing otherwise, in words. */
  find(): Promise<Found>
  /** Why it cannot run a workload, in words; `undefined` where it can. */
  refuses?(workload: Workload, variant: Settings): string | undefined
  /** A private instance with the workload's tables and rows, and its replicas streaming. */
  start(options: StartOptions): Promise<Instance>
  /** In the process of the load. */
  connect(endpoint: unknown, options: ConnectOptions): Promise<Connections>
}

export interface StartOptions {
  /** Empty, for this instance alone; the caller removes it after the instance is gone. */
  readonly directory: string
  readonly variant: Settings
  readonly followers: number
  /** `schema` of a dialect and `rows` are what an instance has before it is measured. */
  readonly workload: Workload
  /** Rows to begin with. */
  readonly rows: number
  /** A SQLite file with the tables and the rows, made once for all that can start from one. Read it only. */
  readonly database: () => Promise<string>
}

export interface ConnectOptions {
  /** At most so many operations at once. */
  readonly writers: number
}

/** Executes operations: everything that the load's writers share. */
export interface Connections extends AsyncDisposable {
  /** Until it is answered; `undefined` where it is done when the call returns. What it resolves with is a number that grows, where commits have one. */
  run(step: Step, writer: number): Promise<number | undefined> | undefined
}

/** A process of the instance, or the first of a tree of them. */
export interface InstanceNode {
  readonly name: string
  readonly pid: number
}

/** What has been counted so far. Missing: it cannot be told. */
export interface Counters {
  /** Between the leader and its replicas, both directions, without the system's own headers. */
  readonly wireBytes?: number
  /** Appended to the leader's log: what is replicated, or what a crash would be healed from. */
  readonly logBytes?: number
}

export interface Instance extends AsyncDisposable {
  /** For `connect`; plain data. */
  readonly endpoint: unknown
  /** The process of the engine, where the callers live in it; the load then runs there. Default: a process of its own. */
  readonly load?: LoadHost
  /** For the report: durability first, then version and settings that matter. */
  readonly facts: Readonly<Record<string, string>>
  /** For processor time and memory. The process of a load is not among them. */
  nodes(): readonly InstanceNode[]
  /** Until every replica shows what the leader has. */
  settled(): Promise<void>
  counters?(): Promise<Counters>
  /** Outside of measurements: whatever would otherwise be paid by the next one. */
  rest?(): Promise<void>
  /** Compares all nodes, and throws `DIVERGED`. */
  verify?(): Promise<void>
  /** How long a relay between the nodes held bytes in one direction; `undefined` without one. */
  held?(): Promise<Latency | undefined>
  /** The first column of the rows of a query on the leader, as text; for what a workload keeps true. */
  column?(sql: string): Promise<readonly string[]>
  /** Readers on the replicas begin to note what they see, and when. Needs `run` of the connections to resolve with a number that grows. */
  watch?(): Promise<void>
  /** What they noted since. */
  watched?(): Promise<readonly ReplicaNotes[]>
  /** A new replica, from nothing until it shows all the leader has; it is gone afterwards. */
  bootstrap?(): Promise<Transfer>
  /** A replica is down while `write` runs, then comes back and catches up. */
  catchUp?(write: () => Promise<void>): Promise<{ readonly seconds: number }>
  /** Ends the leader as `kill -9` does. */
  killLeader?(): Promise<void>
  /** After `killLeader`. The instance is of no further use. */
  survivors?(): Promise<Survivors>
}

/** What is there after the leader was killed. */
export interface Survivors {
  /** The replica that has most: values of the column `k` of the table `kv` that it shows once it leads, or up to which number of `run` it has all commits. */
  readonly replica: { readonly keys: readonly string[] } | { readonly reached: number }
  /** Values of the column `k` on the old leader once it is back. */
  readonly leader: readonly string[]
}

export interface Transfer {
  readonly bytes: number
  readonly seconds: number
}

/** Notes of a replica's readers, in milliseconds of the system's monotonic clock. */
export interface ReplicaNotes {
  /** A reader that waits for the next commit: everything up to `numbers[i]` was seen at `atMs[i]`. */
  readonly waiter: Notes
  /** A reader that reads all the time, and what it saw each time. */
  readonly poller: Notes
}

export interface Notes {
  readonly numbers: Float64Array
  readonly atMs: Float64Array
}
