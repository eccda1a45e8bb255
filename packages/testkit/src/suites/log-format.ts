/**
 * What every `LogFormat` of SQLite must carry. Call `logFormatSuite` from a test file.
 *
 * For each feature a leader runs groups of writes; their payloads go to a follower, and to a copy of the leader from
 * before (its own redo after a crash). All three must end alike, before and after triggers are restored, and the
 * follower must be able to lead: what it then writes must reach the copy.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  isUnderstudyError,
  type Applier,
  type LogFormat,
  type Recorder,
  type SqliteConnection,
  type Storage,
  type WriteTransaction,
} from '@understudy/contracts'
import { dumpDatabase } from './log-format-dump.ts'
import { FEATURES } from './log-format-features.ts'
import { REFUSALS } from './log-format-refusals.ts'
import type { FeatureWrite, LogFormatSupport } from './log-format-types.ts'

export type { Feature, FeatureWrite, LogFormatSupport, Refusal } from './log-format-types.ts'

export interface LogFormatSuiteOptions {
  readonly name: string
  readonly format: LogFormat<SqliteConnection>
  /** Opens the storage whose database file is at `path`; makes it when missing. */
  openStorage(path: string, setup?: (database: DatabaseSync) => void): Storage<SqliteConnection>
  readonly supports: LogFormatSupport
}

export function logFormatSuite(options: LogFormatSuiteOptions): void {
  const { format, supports } = options
  describe(`log format suite: ${options.name}`, () => {
    let directory = ''
    let nodes: SuiteNode[] = []

    beforeEach(() => {
      directory = mkdtempSync(join(tmpdir(), 'understudy-format-'))
      nodes = []
    })
    afterEach(async () => {
      for (const node of nodes) await node.close()
      rmSync(directory, { recursive: true, force: true })
    })

    const open = (name: string, setup?: (database: DatabaseSync) => void): SuiteNode => {
      const node = new SuiteNode(format, options.openStorage(join(directory, `${name}.db`), setup))
      nodes.push(node)
      return node
    }

    for (const feature of FEATURES) {
      if (feature.needs !== undefined && !supports[feature.needs]) continue
      it(feature.name, async () => {
        const leader = open('leader', feature.setup)
        const follower = open('follower', feature.setup)
        leader.lead()
        follower.follow()
        const given = feature.given === undefined ? [] : leader.group([feature.given])
        leader.copyTo(join(directory, 'copy.db'))
        const copy = open('copy', feature.setup)
        copy.follow()
        const payloads = feature.groups.flatMap((group) => leader.group(group))

        for (const payload of [...given, ...payloads]) follower.apply(payload)
        for (const payload of payloads) copy.apply(payload)
        leader.stop()
        const data = { triggers: false, statistics: true }
        expect(follower.dump(data)).toEqual(leader.dump(data))
        expect(copy.dump(data)).toEqual(leader.dump(data))
        expect(leader.query(feature.check.sql)).toEqual(feature.check.rows)

        follower.stop()
        copy.stop()
        const all = { triggers: true, statistics: true }
        expect(follower.dump(all)).toEqual(leader.dump(all))
        expect(copy.dump(all)).toEqual(leader.dump(all))
        expect(follower.query(feature.check.sql)).toEqual(feature.check.rows)

        if (feature.promoted === undefined) return
        follower.lead()
        copy.follow()
        for (const payload of follower.group([feature.promoted])) copy.apply(payload)
        follower.stop()
        copy.stop()
        expect(copy.dump(all)).toEqual(follower.dump(all))
      })
    }

    for (const refusal of REFUSALS) {
      if (supports[refusal.lacks]) continue
      it(`refuses ${refusal.name}`, () => {
        const leader = open('leader')
        leader.lead()
        if (refusal.given !== undefined) leader.group([refusal.given])
        const before = leader.dump({ triggers: true, statistics: true })
        const errors: unknown[] = []
        const payloads = leader.group([{ run: refusal.run, fails: true }], errors)
        expect(errors.map((error) => isUnderstudyError(error, refusal.code))).toEqual([true])
        expect(payloads).toEqual([])
        leader.stop()
        expect(leader.dump({ triggers: true, statistics: true })).toEqual(before)
      })
    }
  })
}

/** A storage that leads or follows. */
class SuiteNode {
  readonly #format: LogFormat<SqliteConnection>
  readonly #storage: Storage<SqliteConnection>
  #recorder: Recorder | undefined
  #applier: Applier | undefined
  #lsn = 0

  constructor(format: LogFormat<SqliteConnection>, storage: Storage<SqliteConnection>) {
    this.#format = format
    this.#storage = storage
  }

  lead(): void {
    this.#recorder = this.#format.recorder(this.#storage.connection)
  }

  follow(): void {
    const applier = this.#format.applier(this.#storage.connection)
    this.#applier = applier
    this.#inTransaction(() => applier.prepare())
  }

  /** Ends leading or following; triggers are back. */
  stop(): void {
    this.#recorder?.close()
    this.#recorder = undefined
    const applier = this.#applier
    this.#applier = undefined
    if (applier === undefined) return
    this.#inTransaction(() => applier.restore())
    applier.close()
  }

  /** Runs writes as one group; returns its payloads. Errors of writes that may fail go to `errors`. */
  group(writes: readonly (string | FeatureWrite)[], errors: unknown[] = []): Uint8Array[] {
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
    // The bytes may be views of the recorder's buffers until the next group.
    const payloads = recorder.finishGroup().map((payload) => new Uint8Array(payload))
    this.#mark()
    this.#storage.commit()
    return payloads
  }

  apply(payload: Uint8Array): void {
    this.#inTransaction(() => this.#applier?.apply(payload))
  }

  copyTo(path: string): void {
    const { connection } = this.#storage
    connection.internal(() => connection.database.prepare('vacuum into ?').run(path))
  }

  dump(options: { triggers: boolean; statistics: boolean }): string[] {
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
    this.#applier?.close()
    await this.#storage.close()
  }

  #inTransaction(run: () => void): void {
    this.#storage.begin()
    try {
      run()
    } catch (error) {
      this.#storage.rollback()
      throw error
    }
    this.#mark()
    this.#storage.commit()
  }

  #mark(): void {
    this.#lsn += 1
    this.#storage.mark({ epoch: 1, lsn: this.#lsn, crc: 0 })
  }
}
