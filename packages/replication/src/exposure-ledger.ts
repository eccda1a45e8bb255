/**
 * Keeps what a log says of exposed commits up to date with the log.
 *
 * Decides: what of the log is read when, what is read again. Leaves to others: what records say (exposure).
 *
 * 1. Each record is read once: the first look costs the log that is kept, every further one what came since.
 * 2. A log that was cut, or replaced by a snapshot, is read anew: what is remembered must follow the records that there are.
 * 3. What is remembered outlives the records, as long as the ledger does.
 * 4. Reading goes on in steps, between which other work has its turn.
 */
import type { Log } from '@understudy/contracts'
import { beginExposure, takeRecord, type ExposureState } from './exposure.ts'
import type { Defer } from './pipeline-api.ts'

/** Records, and bytes of payloads, that are read in one turn. */
const STEP_RECORDS = 2000
const STEP_BYTES = 4 * 1024 * 1024
/** Turns at most of one `keepUp`: more than a checkpoint lets go of, and no long work at a start. */
const KEEP_UP_STEPS = 10

export class ExposureLedger {
  readonly #log: Log
  readonly #defer: Defer
  #state: ExposureState
  #reading: Promise<void> | undefined

  /** `defer`: default `setImmediate`. */
  constructor(log: Log, defer: Defer = setImmediate) {
    this.#log = log
    this.#defer = defer
    this.#state = beginExposure(log.first - 1)
  }

  /**
   * What the log says up to where it is durable at the moment of the call, at least. Rejects with what reading the log throws
   * (`LOG_CORRUPT`, `CLOSED`); what was read is kept then.
   */
  async read(): Promise<ExposureState> {
    const upTo = this.#log.durable
    do {
      this.#reading ??= this.#catchUp().finally(() => (this.#reading = undefined))
      await this.#reading
    } while (this.#state.at.lsn < Math.min(upTo, this.#log.durable))
    return this.#state
  }

  /**
   * Reads on for a few turns: called before records are collected, so that what they say is remembered. Never rejects: what
   * cannot be read, `read` says.
   */
  async keepUp(): Promise<void> {
    try {
      for (let step = 0; step < KEEP_UP_STEPS && this.#step(); step++) await this.#turn()
    } catch {}
  }

  async #catchUp(): Promise<void> {
    while (this.#step()) await this.#turn()
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => this.#defer(resolve))
  }

  /** Whether there is more to read. */
  #step(): boolean {
    const log = this.#log
    if (!this.#follows()) this.#state = beginExposure(log.first - 1)
    const from = this.#state.at.lsn + 1
    let records = 0
    let bytes = 0
    if (from > log.durable) return false
    for (const record of log.records(from)) {
      takeRecord(this.#state, record)
      bytes += record.payload.length
      if (++records >= STEP_RECORDS || bytes >= STEP_BYTES) break
    }
    return this.#state.at.lsn < log.durable
  }

  /** Whether the log still is the one that was read so far. */
  #follows(): boolean {
    const { lsn, crc } = this.#state.at
    const { first, end } = this.#log
    if (lsn > end.lsn || lsn < first - 1) return false
    return this.#state.at.epoch === 0 || this.#log.crcAt(lsn) === crc
  }
}
