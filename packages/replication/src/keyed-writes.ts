/**
 * Writes with a key: each is done once, and whoever sends it again is answered what the first one was.
 *
 * Decides: which write is a retry, what it waits for, what it is answered. Leaves to others: the rows (`KeyTable` of the storage),
 * groups (commit-group), what followers have (ack-gate, ack-waits).
 *
 * Validity conditions:
 * 1. A key is looked up in the turn of its group, in the transaction: nothing can come between the look and the row.
 * 2. The row is part of the write: one that throws, or is rolled back with its group, keeps none.
 * 3. A retry of a write whose group is not visible yet waits for that group, and shares its fate: its position, or its error.
 * 4. A retry is never told `NOT_WRITTEN` while the first write stands, or may stand in an end of the log that is hidden still.
 * 5. The row names the end of the log before its group. The first write of a later group, of whatever kind, notes the record that
 *    the group ended with; so only the newest group with keys may lack its note, and its record is the end of the log or near it.
 *    Its records are told by their flags (`FLAG_CONTINUES`, `FLAG_JOINS_GROUP`).
 */
import {
  FLAG_CONTINUES,
  FLAG_JOINS_GROUP,
  FORMAT_CONTROL,
  UnderstudyError,
  formatPosition,
  isUnderstudyError,
  type Clock,
  type KeyedWrite,
  type KeyLimits,
  type KeyTable,
  type Log,
  type LogPoint,
  type LogRecord,
  type Lsn,
} from '@understudy/contracts'
import type { AckGate } from './ack-gate.ts'
import { AckWaits } from './ack-waits.ts'
import { outcomeUnknown, writtenNotAcked } from './failures.ts'
import type { CommitPipelineOptions, WriteOptions, WriteResult } from './pipeline-api.ts'
import type { PipelineLimits } from './limits.ts'
import { reach } from './reach.ts'
import { LeaderReceipt, runIdOf, type Reached, type Reaches, type ReceiptOrigin } from './receipts.ts'
import { checkedKey, digestOf, jsonOf } from './write-key.ts'
import type { PendingWrite } from './write-queue.ts'

/** What a write says of its key. */
export interface KeyRequest {
  readonly key: string
  readonly digest: Uint8Array | undefined
  readonly signal: AbortSignal | undefined
}

export interface KeyedWritesOptions<T> {
  readonly keys: KeyTable | undefined
  readonly log: Log
  readonly clock: Clock
  readonly gate: AckGate<T>
  readonly limits: KeyLimits
  readonly cluster: string
  readonly leader: Reaches
  /** End of the log while its end is hidden. */
  readonly hidden: () => LogPoint | undefined
}

/** A write of a group that is not visible yet. */
interface Open<T> {
  readonly write: PendingWrite<T>
  readonly row: KeyedWrite
  readonly retries: PendingWrite<T>[]
}

export class KeyedWrites<T> {
  readonly #options: KeyedWritesOptions<T>
  /** By key. */
  readonly #open = new Map<string, Open<T>>()
  /** While callbacks run, the storage is in the middle of a write. */
  #isRunning = false
  /** The newest group with keys, whose record is to be noted. */
  #unsettled: { readonly after: Lsn; readonly point: LogPoint } | undefined
  #isKnown = false
  /** End of the log when the note was written. */
  #notedAt: Lsn = -1

  /** Of those who ask for more after the answer. */
  readonly waits: AckWaits

  constructor(options: KeyedWritesOptions<T>) {
    this.#options = options
    this.waits = new AckWaits(options.clock)
  }

  /** What receipts say of where they come from. */
  get origin(): ReceiptOrigin {
    const { leader, cluster, log } = this.#options
    return { leader, cluster, history: log.history }
  }

  reach(...[receipt, level, count, options]: Parameters<Reaches['reach']>): Promise<Reached> {
    const { log, cluster, gate } = this.#options
    return reach({ log, cluster, gate, waits: this.waits }, receipt, level, count, options)
  }

  /** What the options of a write say of a key. Throws `INVALID_ARGUMENT`. */
  request(body: unknown, { key, fingerprint, signal }: WriteOptions): KeyRequest | undefined {
    if (key === undefined) {
      if (fingerprint === undefined) return undefined
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        'A fingerprint says what a key stands for, and there is no key. Nothing was changed; give both, or neither.',
      )
    }
    if (this.#options.keys === undefined)
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        'The storage of this node keeps no keys. Nothing was changed; write without one.',
      )
    return { key: checkedKey(key), digest: digestOf(body, fingerprint), signal }
  }

  /** A write with a key is about to be queued, or refused: what is known already is answered at once. Whether it was. */
  begin(write: PendingWrite<T>): boolean {
    this.#watch(write)
    return !this.#isRunning && this.find(write)
  }

  /** Runs the callbacks of a group. */
  run<R>(callbacks: () => R): R {
    this.#isRunning = true
    try {
      return callbacks()
    } finally {
      this.#isRunning = false
    }
  }

  /** In the turn of a group: whether the write is a retry; then it runs no more. */
  find(write: PendingWrite<T>): boolean {
    const { key } = write.keyed as KeyRequest
    const open = this.#open.get(key)
    if (open !== undefined && !open.write.threw) {
      if (this.#refuse(write, open.row)) return true
      this.#join(write, open)
      return true
    }
    const row = this.#options.keys?.find(key)
    if (row === undefined) return false
    if (this.#refuse(write, row)) return true
    const point = this.#pointOf(row)
    // Committed, and not durable in the log yet: its turn comes after that.
    if (point === 'later') return false
    void this.#answer(write, row, point)
    return true
  }

  /** The body of a write with what its key, or an earlier group's, asks for. `index`: writes of the group before it. */
  body(write: PendingWrite<T>, index: number): (tx: T) => unknown {
    const body = write.body as (tx: T) => unknown
    const { keyed } = write
    const { keys } = this.#options
    if (!this.#isKnown) this.#learn()
    if (keys === undefined || (keyed === undefined && this.#unsettled === undefined)) return body
    return (tx) => {
      const value = body(tx)
      // A promise fails the write right after this.
      if (isPromise(value)) return value
      if (this.#unsettled !== undefined) this.#note(keys, this.#unsettled)
      if (keyed !== undefined) this.#remember(keys, write, keyed, value, index)
      return value
    }
  }

  /** At the end of a write without a key, in its transaction: what an earlier group's keys ask for. */
  note(): void {
    if (!this.#isKnown) this.#learn()
    const { keys } = this.#options
    if (keys !== undefined && this.#unsettled !== undefined) this.#note(keys, this.#unsettled)
  }

  /** Whether the group that runs has keys, so that its records must tell that they are of one group. */
  get isInGroup(): boolean {
    return this.#open.size > 0
  }

  #remember(keys: KeyTable, write: PendingWrite<T>, keyed: KeyRequest, value: unknown, index: number): void {
    const { log, clock, limits } = this.#options
    const row: KeyedWrite = {
      epoch: log.history.at(-1)?.number ?? 0,
      after: log.end.lsn,
      index,
      digest: keyed.digest,
      value: value === undefined ? UNDEFINED : jsonOf(value),
    }
    keys.put(keyed.key, row, clock.now(), limits)
    this.#open.set(keyed.key, { write, row, retries: [] })
  }

  /** Written again when its write, or its group, was rolled back; over once the log went on. */
  #note(keys: KeyTable, { after, point }: { readonly after: Lsn; readonly point: LogPoint }): void {
    const end = this.#options.log.end.lsn
    if (keys.settled(after) === undefined) {
      keys.settle(after, point)
      this.#notedAt = end
    } else if (end > this.#notedAt) this.#unsettled = undefined
  }

  /** What a former life left. */
  #learn(): void {
    this.#isKnown = true
    try {
      const found = this.#options.keys?.unsettled()
      if (found === undefined) return
      const point = this.#inLog(found.epoch, found.lsn)
      if (typeof point === 'object') this.#unsettled = { after: found.lsn, point }
    } catch {
      // Tables that are not ours: whoever sends a key is told. Other writes go on.
    }
  }

  /** Every answer of a write with a key passes here. */
  #watch(write: PendingWrite<T>): void {
    const { resolve, reject } = write
    write.resolve = (result) => {
      resolve(result)
      this.#done(write, result as WriteResult<unknown>)
    }
    write.reject = (error) => {
      const open = this.#openOf(write)
      if (open === undefined && isUnderstudyError(error, 'NOT_WRITTEN') && this.#stands(write, reject)) return
      reject(error)
      // One that is written and waits no longer for its acks is still in its group.
      if (open === undefined || isUnderstudyError(error, 'WRITTEN_NOT_ACKED')) return
      this.#open.delete((write.keyed as KeyRequest).key)
      for (const retry of open.retries) retry.reject(error)
    }
  }

  #openOf(write: PendingWrite<T>): Open<T> | undefined {
    const open = this.#open.get((write.keyed as KeyRequest).key)
    return open?.write === write ? open : undefined
  }

  /** The group of the write is visible. */
  #done(write: PendingWrite<T>, { receipt }: WriteResult<unknown>): void {
    const open = this.#openOf(write)
    if (open === undefined) return
    this.#open.delete((write.keyed as KeyRequest).key)
    const point = { ...receipt.position, crc: receipt.crc }
    this.#unsettled = { after: open.row.after, point }
    this.#isKnown = true
    for (const retry of open.retries) void this.#answer(retry, open.row, point)
  }

  /** A write that was never run: whether an earlier one of its key stands, or may. */
  #stands(write: PendingWrite<T>, reject: (error: unknown) => void): boolean {
    try {
      if (this.find(write)) return true
    } catch {
      // The storage is closed or has failed: what the caller is told anyway is all that is known.
      return false
    }
    const end = this.#options.hidden()
    if (end === undefined) return false
    reject(hidden((write.keyed as KeyRequest).key, end))
    return true
  }

  /** Of another body: whether it was refused. */
  #refuse(write: PendingWrite<T>, row: KeyedWrite): boolean {
    const { key, digest } = write.keyed as KeyRequest
    if (sameDigest(digest, row.digest)) return false
    write.reject(reused(key, row))
    return true
  }

  /** Waits for the group of the first write, and then as a retry does. */
  #join(write: PendingWrite<T>, open: Open<T>): void {
    const { log, gate } = this.#options
    open.retries.push(write)
    const key = (write.keyed as KeyRequest).key
    const isOver = (): boolean => this.#open.get(key) !== open
    this.waits
      .wait({
        isMet: isOver,
        dueMs: () => Number.POSITIVE_INFINITY,
        timeoutMs: write.ackTimeoutMs ?? gate.ackTimeoutMs,
        signal: write.keyed?.signal,
        failed: (why) => {
          const point = this.#inLog(open.row.epoch, open.row.after)
          if (typeof point !== 'object')
            return outcomeUnknown(
              { epoch: open.row.epoch, lsn: open.row.after + 1 },
              'the first write of this key is not durable yet.',
            )
          return log.durable >= point.lsn ? writtenNotAcked(point, REASONS[why]) : outcomeUnknown(point, why)
        },
      })
      .catch((error: unknown) => {
        const at = open.retries.indexOf(write)
        if (at < 0) return
        open.retries.splice(at, 1)
        write.reject(error)
      })
  }

  /** The first write is visible: the retry waits for the acks that it asks for itself. */
  async #answer(write: PendingWrite<T>, row: KeyedWrite, point: LogPoint | 'pruned'): Promise<void> {
    const { gate, log, cluster, leader } = this.#options
    const { keyed, rule } = write
    if (point === 'pruned') return write.reject(forgotten((keyed as KeyRequest).key, row))
    try {
      if (rule !== undefined)
        await this.waits.wait({
          isMet: () => gate.isDegraded || gate.isMet(rule, point.lsn),
          dueMs: () => gate.dueMs(rule),
          timeoutMs: write.ackTimeoutMs ?? gate.ackTimeoutMs,
          signal: keyed?.signal,
          failed: (why) => writtenNotAcked(point, REASONS[why]),
        })
    } catch (error) {
      return write.reject(error)
    }
    const of = { cluster, runId: runIdOf(log.history, point.epoch), point, index: row.index }
    const receipt = new LeaderReceipt(leader, of, gate.verdict(rule, point))
    const valueKept = row.value !== undefined
    const value: unknown =
      row.value !== undefined && row.value !== UNDEFINED ? JSON.parse(row.value) : undefined
    write.resolve({ value, receipt, replayed: true, valueKept } satisfies WriteResult<unknown>)
  }

  // Which record a group ended with

  #pointOf({ epoch, after }: KeyedWrite): LogPoint | 'later' | 'pruned' {
    if (this.#unsettled?.after === after) return this.#unsettled.point
    const found = this.#options.keys?.settled(after) ?? this.#inLog(epoch, after)
    // Pages are committed before their record is durable, which it may never become.
    return typeof found === 'object' && found.lsn > this.#options.log.durable ? 'later' : found
  }

  /**
   * The last record of the group that was begun in `epoch` when the log ended at `after`. When a crash kept a group of pages out of
   * the log, a later epoch begins there, and the group is its first record that is no control record.
   */
  #inLog(epoch: number, after: Lsn): LogPoint | 'later' | 'pruned' {
    const { log } = this.#options
    if (after + 1 < log.first) return 'pruned'
    let last: LogRecord | undefined
    for (const record of log.records(after + 1, log.end.lsn)) {
      if (last === undefined) {
        if (record.epoch === epoch || record.format !== FORMAT_CONTROL) last = record
        continue
      }
      const isSame = (last.flags & FLAG_CONTINUES) !== 0 || (record.flags & FLAG_JOINS_GROUP) !== 0
      if (!isSame || record.epoch !== last.epoch) break
      last = record
    }
    return last === undefined ? 'later' : { epoch: last.epoch, lsn: last.lsn, crc: last.crc }
  }
}

/** Keys that one new key lets go of. */
const DROPPED_MAX = 2

/** The writes with keys of a pipeline. `hidden`: the end of its log, while nobody may see that. */
export function keyedWrites<C, T>(
  { storage, log, clock, cluster }: CommitPipelineOptions<C, T>,
  { keyKeepMs, keysMax }: PipelineLimits,
  gate: AckGate<T>,
  leader: Reaches,
  hidden: () => LogPoint | undefined,
): KeyedWrites<T> {
  const limits = { keepMs: keyKeepMs, keysMax, droppedMax: DROPPED_MAX }
  return new KeyedWrites({ keys: storage.keys, log, clock, cluster, gate, leader, hidden, limits })
}

/** Kept for a write that returned nothing; no JSON. */
const UNDEFINED = ''

const REASONS = { late: 'deadline', aborted: 'aborted', stopped: 'stopped' } as const

function isPromise(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

function sameDigest(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return Buffer.compare(a, b) === 0
}

function reused(key: string, { epoch, after }: KeyedWrite): UnderstudyError {
  return new UnderstudyError(
    'KEY_REUSED',
    `The key ${JSON.stringify(key)} stands for another write, done after ${formatPosition({ epoch, lsn: after })}. Nothing was changed; ` +
      'send that write again as it was, or give this one a key of its own.',
    { key, epoch, after },
  )
}

/** The first write is in the database, and nobody knows any more which record holds it. */
function forgotten(key: string, { epoch, after }: KeyedWrite): UnderstudyError {
  return new UnderstudyError(
    'LOG_TRUNCATED',
    `The write of the key ${JSON.stringify(key)} was done after ${formatPosition({ epoch, lsn: after })}; the log does not reach back to its record any more, ` +
      'so that there is no receipt of it. It is committed and was not done again.',
    { key, epoch, after },
  )
}

function hidden(key: string, point: LogPoint): UnderstudyError {
  const position = { epoch: point.epoch, lsn: point.lsn }
  return new UnderstudyError(
    'OUTCOME_UNKNOWN',
    `The write was not run. But an earlier one of the key ${JSON.stringify(key)} may be in the end of the log, up to ${formatPosition(position)}, ` +
      'which nobody may see before followers have it. Send it again with the same key.',
    { position, key },
  )
}
