/**
 * Leader side of the statement format: what the writes of a group ran, as one payload.
 *
 * Decides: which statements are logged, what happens to unsafe ones. Leaves to others: the judgement (`safety.ts`), the
 * results of functions (`overrides.ts`), digests (`tripwire.ts`), numbers of texts (`dictionary.ts`), bytes.
 *
 * 1. Nothing else writes through the connection between `beginGroup` and `finishGroup`.
 * 2. A statement is written down when it has run; a write that is rolled back is cut off again.
 * 3. A statement that began and did not end has failed. SQLite undid it, or it left changes behind (OR FAIL): the count
 *    of all changes tells. Then it is written down as one that fails, and followers check that it does.
 * 4. In policy `row` a recorder of rows runs beside this one, and its payloads are taken for a group that has a
 *    statement which is not safe.
 * 5. Unapplied: the dictionary is in memory, nothing is run that writes or teaches the planner, no statement is refused;
 *    what a recorder in force would have refused is thrown at the end of the group. Functions go on answering as SQLite's.
 */
import type { StatementSync } from 'node:sqlite'
import type { Recorder, SqliteConnection, StatementInfo, StatementObserver } from '@understudy/contracts'
import { ByteWriter } from './bytes.ts'
import { arrays, first, flush, hasVirtualTables, reloadStatistics, rereadSchema } from './connection.ts'
import { Dictionary } from './dictionary.ts'
import { Overrides } from './overrides.ts'
import {
  DIGEST_BYTES,
  DIGEST_HARD_ROWS,
  DIGEST_ROWS,
  encodePayload,
  writeEnd,
  writeFlush,
  writeStatement,
  type TextEntry,
} from './payload.ts'
import type { SafetyReason } from './reasons.ts'
import type { RecorderOptions } from './recorder-options.ts'
import { Classifier, type Judgement } from './safety.ts'
import { SeenTexts } from './seen-texts.ts'
import { Settings } from './settings.ts'
import { Tripwire } from './tripwire.ts'
import { unsafe, unsupported } from './unsafe.ts'
import { CARRIED_PRAGMAS, SCHEMA_VERBS } from './verdicts.ts'

const ID_MAX = 2n ** 63n - 1n

export class StatementRecorder implements Recorder, StatementObserver {
  readonly #connection: SqliteConnection
  readonly #options: RecorderOptions
  readonly #overrides: Overrides
  readonly #dictionary: Dictionary
  readonly #tripwire: Tripwire
  readonly #classifier: Classifier
  readonly #rows: Recorder | undefined
  readonly #totalChanges: StatementSync
  readonly #schemaVersion: StatementSync
  readonly #settings: Settings
  readonly #unobserve: () => void
  readonly #seen = new SeenTexts()
  /** Tables whose largest id is not taken, as far as is known. */
  readonly #roomy = new Set<string>()
  /** AUTOINCREMENT counters as they were when last looked at, if nothing changed a row since. */
  #counters: string | undefined
  readonly #body = new ByteWriter()
  readonly #payload = new ByteWriter()
  #closed = false
  #version = -1
  // Of the group:
  #isOpen = false
  #flushes = false
  #texts: string[] = []
  #textIndex = new Map<string, number>()
  #textUses: number[] = []
  #statements = 0
  /** All changes of the connection, as of the last statement that ended. */
  #total = 0
  /** Something was rolled back or failed, which leaves its mark on sessions. */
  #disturbed = false
  #escalated = false
  /** ANALYZE ran, which the planner remembers beyond a rollback. */
  #groupLearnt = false
  /** Unapplied: what would have been refused, in the open group and before the open write. */
  #refusal: unknown
  // Of the write:
  #refusalBefore: unknown
  #markBody = 0
  #markTexts = 0
  #markStatements = 0
  #wasEscalated = false
  #ran = false
  #touchedSchema = false
  #learnt = false
  #defers: { readonly sql: string; readonly parameters: StatementInfo['parameters'] } | undefined
  // Of the statement that is running:
  #running: Judgement | undefined
  #runningStatement: StatementInfo | undefined
  #pragmaBefore: unknown

  constructor(connection: SqliteConnection, options: RecorderOptions) {
    const { database, ownTablePrefix } = connection
    this.#connection = connection
    this.#options = options
    this.#tripwire = new Tripwire(database, ownTablePrefix)
    this.#overrides = new Overrides(connection)
    this.#dictionary = new Dictionary(connection, options.unapplied)
    this.#classifier = new Classifier(database, {
      ownPrefix: ownTablePrefix,
      overridden: () => this.#overrides.signatures,
      declared: options.declared,
      allowsOtherSqlite: options.allowsOtherSqlite,
    })
    try {
      this.#overrides.install()
      this.#overrides.engage()
    } catch (error) {
      this.#tripwire.close()
      throw error
    }
    const { totalChanges, schemaVersion } = connection.internal(() => ({
      totalChanges: arrays(database, 'select total_changes()'),
      schemaVersion: arrays(database, 'pragma main.schema_version'),
    }))
    this.#totalChanges = totalChanges
    this.#schemaVersion = schemaVersion
    this.#settings = connection.internal(() => new Settings(database))
    this.#unobserve = connection.observe(this)
    this.#rows =
      options.unsafe === 'row'
        ? options.row?.recorder(connection, { unapplied: options.unapplied })
        : undefined
  }

  /** The group that was finished last, when it was escalated. */
  get finishedFormat(): number | undefined {
    return this.#escalated ? this.#options.row?.id : undefined
  }

  beginGroup(): void {
    this.#connection.internal(() => {
      if (!this.#overrides.current) {
        this.#overrides.install()
        this.#dictionary.forget()
        this.#classifier.forget()
        this.#roomy.clear()
        this.#counters = undefined
      }
      this.#overrides.engage()
      this.#readSchema(false)
      this.#dictionary.sync()
      this.#total = first(this.#totalChanges)
    })
    this.#rows?.beginGroup()
    this.#tripwire.open()
    this.#texts = []
    this.#textIndex.clear()
    this.#textUses = []
    this.#body.reset()
    this.#statements = 0
    this.#disturbed = false
    this.#escalated = false
    this.#groupLearnt = false
    this.#refusal = undefined
    this.#isOpen = true
    this.#beginWrite()
  }

  beginWrite(): void {
    this.#rows?.beginWrite()
    if (this.#flushes) {
      this.#connection.internal(() => flush(this.#connection))
      this.#total = first(this.#totalChanges)
    }
    this.#beginWrite()
  }

  endWrite(): void {
    if (this.#running !== undefined) this.#failed()
    this.#overrides.statementEnds()
    this.#rows?.endWrite()
    writeEnd(this.#body)
    this.#tripwire.endWrite()
  }

  abandonWrite(): void {
    this.#running = undefined
    this.#overrides.statementEnds()
    this.#rows?.abandonWrite()
    this.#body.reset(this.#markBody)
    for (const text of this.#texts.slice(this.#markTexts)) this.#textIndex.delete(text)
    this.#texts.length = this.#markTexts
    this.#textUses.length = this.#markTexts
    this.#statements = this.#markStatements
    this.#escalated = this.#wasEscalated
    this.#refusal = this.#refusalBefore
    if (this.#ran) {
      this.#disturbed = true
      this.#total = first(this.#totalChanges)
    }
    this.#counters = undefined
    this.#tripwire.abandonWrite()
    if (!this.#touchedSchema) return
    this.#connection.internal(() => {
      if (this.#learnt && !this.#options.unapplied) rereadSchema(this.#connection)
      this.#readSchema(true)
    })
  }

  finishGroup(): readonly Uint8Array[] {
    if (this.#refusal !== undefined) throw this.#refusal
    const rows = this.#rows?.finishGroup() ?? []
    this.#isOpen = false
    this.#overrides.statementEnds()
    if (this.#escalated) {
      this.#tripwire.drop()
      return rows
    }
    if (this.#statements === 0) {
      this.#tripwire.drop()
      return []
    }
    const kind = this.#options.allowsOtherSqlite ? DIGEST_ROWS : DIGEST_BYTES
    return [
      this.#connection.internal(() => {
        if (this.#flushes) flush(this.#connection)
        const digest = this.#tripwire.take(this.#disturbed ? DIGEST_HARD_ROWS : kind)
        this.#tripwire.drop()
        const texts = this.#number()
        const head = { flushes: this.#flushes, settings: this.#settings.read() }
        return encodePayload(this.#payload, head, texts, this.#body.bytes(), digest)
      }),
    ]
  }

  abandonGroup(): void {
    if (this.#groupLearnt && !this.#options.unapplied)
      this.#connection.internal(() => rereadSchema(this.#connection))
    this.#groupLearnt = false
    this.#isOpen = false
    this.#running = undefined
    this.#escalated = false
    this.#overrides.statementEnds()
    this.#tripwire.drop()
    this.#rows?.abandonGroup()
    this.#dictionary.forget()
    this.#counters = undefined
    // The schema may be an older one again, under a version that was used for another.
    this.#version = -1
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#unobserve()
    this.#rows?.close()
    this.#tripwire.close()
    this.#overrides.release()
  }

  before(statement: StatementInfo): void {
    if (!this.#options.unapplied) return this.#before(statement)
    try {
      this.#before(statement)
    } catch (error) {
      // The statement runs all the same, and its functions answer as SQLite's own.
      this.#refusal ??= error
      this.#ran = true
      this.#running = undefined
      this.#overrides.passes()
    }
  }

  #before(statement: StatementInfo): void {
    if (this.#running !== undefined) this.#failed()
    const judgement = this.#connection.internal(() => this.#classifier.judge(statement.sql))
    if (this.#classifier.isFresh) this.#total = first(this.#totalChanges)
    if (statement.effect === 'read' || judgement.verdict === 'local') {
      this.#overrides.passes(judgement.pure)
      return
    }
    const { verdict, reasons } = judgement
    if (verdict === 'refused') {
      this.#refuse(unsupported(reasons))
      this.#ran = true
      this.#overrides.passes(judgement.pure)
      return
    }
    if (verdict === 'unsafe') this.#judged(reasons, judgement.verb)
    if (!this.#isOpen) return
    if (judgement.draws.length > 0) this.#checkIds(judgement)
    if (judgement.givesIds) this.#roomy.clear()
    if (statement.effect === 'pragma') this.#pragmaBefore = this.#pragmaValue(statement)
    if (statement.effect === 'schema') {
      this.#touchedSchema = true
      if (SCHEMA_VERBS.has(judgement.verb)) this.#beforeCut()
      if (judgement.verb === 'analyze') {
        this.#learnt = true
        this.#groupLearnt = true
      }
    }
    this.#ran = true
    this.#running = judgement
    this.#runningStatement = statement
    this.#overrides.captures(judgement.counters, judgement.pure)
  }

  after(statement: StatementInfo): void {
    const judgement = this.#running
    this.#running = undefined
    if (judgement === undefined) {
      this.#overrides.statementEnds()
      return
    }
    const { captured } = this.#overrides
    const total = first(this.#totalChanges)
    const changes = total - this.#total
    this.#total = total
    const version = this.#version
    if (statement.effect === 'schema' || judgement.touchesStatistics) {
      this.#connection.internal(() => {
        if (judgement.touchesStatistics && judgement.verb !== 'drop' && !this.#options.unapplied)
          reloadStatistics(this.#connection)
        this.#readSchema(true)
        this.#total = first(this.#totalChanges)
      })
    }
    const hasEffect = this.#hasEffect(statement, judgement, changes, version)
    if (SCHEMA_VERBS.has(judgement.verb)) this.#afterCut(hasEffect)
    if (hasEffect) this.#log(statement, judgement, changes)
    this.#overrides.statementEnds()
    if (captured.length > 0) captured.length = 0
  }

  /** Once the largest id is taken SQLite draws ids at random: then a statement that lets it choose is unsafe. */
  #checkIds({ draws, verb }: Judgement): void {
    for (const table of draws) {
      if (this.#roomy.has(table)) continue
      const row = this.#connection.internal(() => {
        const statement = arrays(this.#connection.database, `select max(rowid) from ${table}`)
        statement.setReadBigInts(true)
        return statement.get() as unknown as [bigint | null]
      })
      if (row[0] === ID_MAX) this.#judged([{ code: 'DRAWN_IDS', detail: table }], verb)
      else this.#roomy.add(table)
    }
  }

  /** A session does not answer across schema changes: what it has is digested first. */
  #beforeCut(): void {
    this.#connection.internal(() => {
      if (this.#flushes) flush(this.#connection)
      this.#tripwire.beforeSchema()
    })
    if (this.#flushes) this.#total = first(this.#totalChanges)
  }

  #afterCut(changed: boolean): void {
    this.#tripwire.afterSchema(changed)
    // Virtual tables have written down what they held: a follower does so at the same moment.
    if (!changed && this.#flushes) writeFlush(this.#body)
  }

  #beginWrite(): void {
    this.#markBody = this.#body.length
    this.#markTexts = this.#texts.length
    this.#markStatements = this.#statements
    this.#wasEscalated = this.#escalated
    this.#refusalBefore = this.#refusal
    this.#ran = false
    this.#touchedSchema = false
    this.#learnt = false
    this.#defers = undefined
    this.#running = undefined
  }

  #hasEffect(statement: StatementInfo, judgement: Judgement, changes: number, version: number): boolean {
    if (statement.effect === 'schema') {
      return changes > 0 || this.#version !== version || judgement.verb === 'analyze'
    }
    if (statement.effect !== 'pragma') return changes > 0 || this.#movedCounter(judgement)
    if (statement.pragma?.name === 'defer_foreign_keys') {
      // It changes nothing by itself: it goes along with the next statement of its write.
      this.#defers = { sql: statement.sql, parameters: statement.parameters }
      return false
    }
    return this.#pragmaValue(statement) !== this.#pragmaBefore
  }

  /**
   * A statement that changes no row may still move an AUTOINCREMENT counter. Counters that are what they were when last
   * looked at did not move; otherwise it is logged, which does no harm.
   */
  #movedCounter({ counts }: Judgement): boolean {
    if (!counts) return false
    const counters = this.#connection.internal(() =>
      JSON.stringify(this.#connection.database.prepare('select * from main.sqlite_sequence').all()),
    )
    const moved = counters !== this.#counters
    this.#counters = counters
    return moved
  }

  #log(statement: StatementInfo, judgement: Judgement, changes: number): void {
    if (changes > 0 || statement.effect === 'schema') this.#counters = undefined
    if (this.#escalated) return
    // ANALYZE counts the project's own tables too, which nodes need not have alike.
    this.#write(statement, judgement.verb === 'analyze' ? 0 : changes, false)
  }

  #write({ sql, parameters }: StatementInfo, changes: number, fails: boolean): void {
    if (this.#defers !== undefined) {
      writeStatement(this.#body, this.#textOf(this.#defers.sql), 0, this.#defers.parameters, [])
      this.#defers = undefined
      this.#statements += 1
    }
    writeStatement(this.#body, this.#textOf(sql), changes, parameters, this.#overrides.captured, fails)
    this.#statements += 1
  }

  #textOf(sql: string): number {
    const known = this.#textIndex.get(sql)
    if (known !== undefined) {
      this.#textUses[known] = (this.#textUses[known] ?? 0) + 1
      return known
    }
    const index = this.#texts.length
    this.#texts.push(sql)
    this.#textUses.push(1)
    this.#textIndex.set(sql, index)
    return index
  }

  /** Texts of the group with their numbers; those met for the second time get one. */
  #number(): TextEntry[] {
    const dictionary = this.#dictionary
    this.#seen.advance(this.#body.length)
    const before = dictionary.highest
    const entries = this.#texts.map((text, index) => {
      const number = dictionary.numberOf(text)
      if (number !== undefined) return { number, text: this.#seen.mustRepeat(number) ? text : undefined }
      if (!this.#seen.deservesNumber(text, this.#textUses[index] ?? 1)) return { number: 0, text }
      const given = dictionary.define(text)
      this.#seen.sent(given)
      return { number: given, text }
    })
    // Making the table is a change of the schema that concerns no statement.
    if (before === 0 && dictionary.highest > 0) this.#version = first(this.#schemaVersion)
    return entries
  }

  /** The statement that was running did not end. */
  #failed(): void {
    const statement = this.#runningStatement
    if (SCHEMA_VERBS.has(this.#running?.verb ?? '')) this.#afterCut(false)
    this.#running = undefined
    this.#disturbed = true
    const total = first(this.#totalChanges)
    const changes = total - this.#total
    this.#total = total
    if (changes > 0 && statement !== undefined && !this.#escalated) this.#write(statement, changes, true)
  }

  #judged(reasons: readonly SafetyReason[], verb: string): void {
    switch (this.#options.unsafe) {
      case 'refuse':
        this.#refuse(unsafe(reasons, verb))
        return
      case 'row':
        this.#escalated = true
        return
      case 'allow':
        this.#options.warnings.warn(reasons)
    }
  }

  /** Unapplied, the statement runs, and its group counts as refused. */
  #refuse(error: unknown): void {
    if (!this.#options.unapplied) throw error
    this.#refusal ??= error
  }

  /** Reads the version of the schema; what was judged under another one is void. */
  #readSchema(changed: boolean): void {
    const version = first(this.#schemaVersion)
    if (!changed && version === this.#version) return
    this.#version = version
    this.#roomy.clear()
    this.#classifier.forget()
    // Once there were virtual tables in a group it stays so: what is written down twice does no harm.
    this.#flushes =
      !this.#options.unapplied && (hasVirtualTables(this.#connection) || (this.#isOpen && this.#flushes))
  }

  #pragmaValue({ pragma }: StatementInfo): unknown {
    if (pragma === undefined || !CARRIED_PRAGMAS.has(pragma.name)) return undefined
    return this.#connection.internal(() =>
      first(arrays(this.#connection.database, `pragma main.${pragma.name}`)),
    )
  }
}
