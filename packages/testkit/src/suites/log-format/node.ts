/**
 * A storage that leads or follows in the log format suite, without a log: records are handed over one by one.
 *
 * Decides: the order of calls, for formats whose payloads are taken before COMMIT and for physical ones. Leaves to
 * others: what is written and compared.
 *
 * 1. A follower of a physical format begins as a copy of the leader's file; it stores no position of its own.
 * 2. One applier is engaged at a time: a record of another format puts back first what the one before had prepared.
 */
import { writeFileSync } from 'node:fs'
import type {
  Applier,
  LogFormat,
  LogPoint,
  Recorder,
  SqliteConnection,
  Storage,
  WriteTransaction,
} from '@understudy/contracts'
import { dumpDatabase, type DumpOptions } from './dump.ts'
import type { FeatureWrite } from './types.ts'
import { readImage } from '../snapshot-image.ts'

export interface SuiteRecord {
  readonly formatId: number
  readonly payload: Uint8Array
}

interface Engaged {
  readonly format: LogFormat<SqliteConnection>
  readonly applier: Applier
  isPrepared: boolean
}

export class SuiteNode {
  readonly #format: LogFormat<SqliteConnection>
  /** Every format that records may name. */
  readonly #formats: readonly LogFormat<SqliteConnection>[]
  readonly #storage: Storage<SqliteConnection>
  #recorder: Recorder | undefined
  #engaged: Engaged | undefined

  /** `formats`: the one to record in first. */
  constructor(formats: readonly LogFormat<SqliteConnection>[], storage: Storage<SqliteConnection>) {
    this.#formats = formats
    this.#format = formats[0] as LogFormat<SqliteConnection>
    this.#storage = storage
  }

  /** What a start does that finds the record of the last transaction in its log. */
  settle(): void {
    if (this.#storage.ahead) this.#storage.settle(this.#next())
  }

  /** Ends leading or following, and records from here on. */
  lead(): void {
    this.stop()
    this.#recorder = this.#format.recorder(this.#storage.connection)
    if (this.#format.physical !== true || this.#storage.physical) return
    // What a base does: from here on the file as a whole counts.
    this.#storage.begin()
    this.#storage.markBefore(this.#storage.applied)
    this.#storage.commit()
    expectBase(this.#recorder.base?.())
    this.#storage.settle(this.#next())
  }

  /** Ends leading or following; triggers are back. */
  stop(): void {
    this.#recorder?.close()
    this.#recorder = undefined
    this.#disengage()
  }

  /** Runs writes as one group; returns its records. Errors of writes that may fail go to `errors`. */
  group(writes: readonly (string | FeatureWrite)[], errors: unknown[] = []): SuiteRecord[] {
    const recorder = this.#recorder
    if (recorder === undefined) throw new Error('this node does not lead')
    this.#storage.begin()
    recorder.beginGroup()
    for (const write of writes) {
      const { run, fails } =
        typeof write === 'string' ? { run: (tx: WriteTransaction) => tx.exec(write) } : write
      let thrown: unknown
      try {
        this.#storage.write(run, recorder, { alone: writes.length === 1 })
      } catch (error) {
        thrown = error
        errors.push(error)
      }
      if ((thrown !== undefined) !== (fails === true))
        throw thrown ?? new Error('a write that must fail did not')
    }
    return this.#format.physical === true ? this.#commitThenTake(recorder) : this.#takeThenCommit(recorder)
  }

  /** Physical: runs a write and commits it, and nothing gets into a log. */
  commitUnlogged(sql: string): void {
    const recorder = this.#recorder
    if (recorder === undefined) throw new Error('this node does not lead')
    this.#storage.begin()
    recorder.beginGroup()
    this.#storage.write((tx) => tx.exec(sql), recorder, { alone: true })
    this.#storage.markBefore(this.#storage.applied)
    this.#storage.commit()
  }

  /** Physical: what a start finds of a transaction that was committed and never logged; names its position. */
  recover(): SuiteRecord[] {
    const recorder = this.#recorder
    if (recorder === undefined || !this.#storage.ahead) throw new Error('this node is not ahead of a log')
    const payloads = (recorder.recover?.() ?? []).map((payload) => new Uint8Array(payload))
    this.#storage.settle(this.#next())
    return payloads.map((payload) => ({ formatId: this.#format.id, payload }))
  }

  /** Physical. */
  base(): SuiteRecord {
    const payload = this.#recorder?.base?.()
    expectBase(payload)
    return { formatId: this.#format.id, payload: new Uint8Array(payload as Uint8Array) }
  }

  /** Physical: whether the file is as this record, the last one, left it. */
  holds({ payload }: SuiteRecord): boolean | undefined {
    const applier = this.#format.applier(this.#storage.connection)
    try {
      return applier.holds?.(payload)
    } finally {
      applier.close()
    }
  }

  apply({ formatId, payload }: SuiteRecord): void {
    const engaged = this.#engage(formatId)
    const { applier, format } = engaged
    this.#inTransaction(format.physical === true, () => {
      if (!engaged.isPrepared) applier.prepare()
      applier.apply(payload)
    })
    engaged.isPrepared = true
    if (format.physical === true && applier.holds?.(payload) === false)
      throw new Error('the file is not what the record that was just applied says')
  }

  /** Why the record cannot be undone from itself; `undefined` when it can. */
  needsPages({ formatId, payload }: SuiteRecord): string | undefined {
    const format = this.#formats.find(({ id }) => id === formatId)
    if (format?.needsPages === undefined) return 'its format undoes nothing'
    return format.needsPages(payload)
  }

  /** Undoes the record, the last one applied. */
  undo({ formatId, payload }: SuiteRecord): void {
    const engaged = this.#engage(formatId)
    const undo = engaged.applier.undo?.bind(engaged.applier)
    if (undo === undefined)
      throw new Error('the format says that the record can be undone, and its applier cannot')
    this.#inTransaction(false, () => {
      if (!engaged.isPrepared) engaged.applier.prepare()
      undo(payload)
    })
    engaged.isPrepared = true
  }

  /** Writes the database file as it stands to `path`, page by page. */
  async copyTo(path: string): Promise<void> {
    const snapshot = await this.#storage.snapshot()
    writeFileSync(path, await readImage(snapshot, 64))
    await snapshot.close()
  }

  dump(options: DumpOptions): string[] {
    return dumpDatabase(this.#storage.connection, options)
  }

  query(sql: string): unknown[][] {
    const { connection } = this.#storage
    return connection.internal(() => {
      const statement = connection.database.prepare(sql)
      statement.setReturnArrays(true)
      return statement.all() as unknown as unknown[][]
    })
  }

  async close(): Promise<void> {
    this.#recorder?.close()
    this.#recorder = undefined
    this.#engaged?.applier.close()
    this.#engaged = undefined
    await this.#storage.close()
  }

  #takeThenCommit(recorder: Recorder): SuiteRecord[] {
    const records = this.#records(recorder)
    this.#storage.mark(this.#next())
    this.#storage.commit()
    return records
  }

  #commitThenTake(recorder: Recorder): SuiteRecord[] {
    if (recorder.changed?.() === false) {
      this.#storage.rollback()
      recorder.abandonGroup()
      return []
    }
    this.#storage.markBefore(this.#storage.applied)
    this.#storage.commit()
    const records = this.#records(recorder)
    this.#storage.settle(this.#next())
    return records
  }

  /** The bytes may be views of the recorder's buffers until the next group. */
  #records(recorder: Recorder): SuiteRecord[] {
    const payloads = recorder.finishGroup().map((payload) => new Uint8Array(payload))
    const formatId = recorder.finishedFormat ?? this.#format.id
    return payloads.map((payload) => ({ formatId, payload }))
  }

  #engage(formatId: number): Engaged {
    if (this.#engaged?.format.id === formatId) return this.#engaged
    const format = this.#formats.find(({ id }) => id === formatId)
    if (format === undefined)
      throw new Error(`a record is of format ${formatId}, which the suite was not given`)
    this.#disengage()
    this.#engaged = { format, applier: format.applier(this.#storage.connection), isPrepared: false }
    return this.#engaged
  }

  #disengage(): void {
    const engaged = this.#engaged
    this.#engaged = undefined
    if (engaged === undefined) return
    if (engaged.isPrepared && engaged.format.physical !== true)
      this.#inTransaction(false, () => engaged.applier.restore())
    engaged.applier.close()
  }

  #inTransaction(isPhysical: boolean, run: () => void): void {
    this.#storage.begin()
    try {
      run()
      if (!isPhysical) this.#storage.mark(this.#next())
      this.#storage.commit()
    } catch (error) {
      this.#storage.rollback()
      throw error
    }
    if (isPhysical) this.#storage.settle(this.#next())
  }

  #next(): LogPoint {
    return { epoch: 1, lsn: this.#storage.applied.lsn + 1, crc: 0 }
  }
}

function expectBase(payload: Uint8Array | undefined): void {
  if (payload === undefined || payload.length === 0)
    throw new Error('the recorder of a physical format made no base')
}
