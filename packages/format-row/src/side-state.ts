/**
 * What a payload carries beside rows and schema changes: AUTOINCREMENT counters, user_version, application_id,
 * triggers, statistics of the query planner.
 *
 * 1. What the group began with is read before the first statement that may change it, and kept between groups where
 *    nothing else can change it (counters).
 * 2. The values at the end decide: a change that was rolled back leaves no difference.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Before, Extras, PlainValue, Sequences, SequenceValue, TriggerDefinition } from './payload.ts'
import type { RowEncoder } from './row-encoder.ts'
import type { Schema } from './schema.ts'
import { number, plainRows, plainStatement } from './sql.ts'
import { readTriggers } from './triggers.ts'

const SEQUENCES = 'sqlite_sequence'
const STATISTICS_SQL = `select tbl, idx, stat from main.sqlite_stat1 where substr(tbl, 1, 12) <> '_understudy_' order by rowid`

interface Pragmas {
  readonly userVersion: number
  readonly applicationId: number
}

type PlainRows = readonly (readonly PlainValue[])[]

export class SideState {
  readonly #database: DatabaseSync
  #sequenceStatement: StatementSync | undefined
  /** Counters as of the last group's end, or the first touch. */
  #sequences: PlainRows | undefined
  #sequencesTouched = false
  #pragmas: Pragmas | undefined
  #triggers: readonly TriggerDefinition[] | undefined
  #statistics: PlainRows | undefined
  #schemaTouched = false

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  /** Before a statement that may change a counter. */
  touchSequences(): void {
    this.#sequencesTouched = true
    this.#sequences ??= this.#readSequences()
  }

  /** Before a PRAGMA that writes. */
  touchPragmas(): void {
    this.#pragmas ??= this.#readPragmas()
  }

  /** Before a statement that writes to the table of statistics itself. */
  touchStatistics(schema: Schema): void {
    this.#statistics ??= schema.hasStatistics ? plainRows(this.#database, STATISTICS_SQL) : []
  }

  /** Before a schema change. */
  touchAll(schema: Schema): void {
    this.#schemaTouched = true
    this.#sequencesTouched = true
    this.#sequences ??= schema.counted.has(SEQUENCES) ? this.#readSequences() : []
    this.#triggers ??= readTriggers(this.#database)
    this.touchStatistics(schema)
  }

  /** The group was rolled back, or something else changed the database: nothing remembered holds. */
  forget(): void {
    this.#sequences = undefined
    this.#begin()
  }

  /**
   * What changed, and forgets what the group began with. `schemaChanged`: the payload has a schema change. `rowsKnown`: the
   * payload has every row as it was.
   */
  collect(schema: Schema, rows: RowEncoder, schemaChanged: boolean, rowsKnown: boolean): Extras {
    const old = this.#pragmas
    const pragmas = old === undefined ? undefined : this.#readPragmas()
    const counters = this.#sequences
    const statisticsBefore = this.#statistics
    const changed: Omit<Extras, 'before'> = {
      sequences: this.#sequenceChanges(schema, rows.inserted),
      triggers: this.#schemaTouched ? this.#triggerChanges(schemaChanged) : undefined,
      userVersion: pragmas?.userVersion === old?.userVersion ? undefined : pragmas?.userVersion,
      applicationId: pragmas?.applicationId === old?.applicationId ? undefined : pragmas?.applicationId,
      statistics: this.#statisticsChanges(schema, rows.sawStatistics),
    }
    const { sequences, userVersion, applicationId, statistics } = changed
    const needed = Object.values(changed).some((value) => value !== undefined) || rows.replaced
    // Rows of the table of statistics that a user wrote are not in the payload, so neither is what they were.
    const known = rowsKnown && !schemaChanged && (statistics === undefined || statisticsBefore !== undefined)
    const before: Before | undefined =
      needed && known
        ? {
            sequences: countersBefore(sequences, counters ?? this.#sequences ?? []),
            userVersion: userVersion === undefined ? undefined : old?.userVersion,
            applicationId: applicationId === undefined ? undefined : old?.applicationId,
            statistics: statistics === undefined ? undefined : statisticsBefore,
          }
        : undefined
    this.#begin()
    return { ...changed, before }
  }

  #begin(): void {
    this.#sequencesTouched = false
    this.#pragmas = undefined
    this.#triggers = undefined
    this.#statistics = undefined
    this.#schemaTouched = false
  }

  /** Counters that changed, and those that the payload's rows would change on a follower alone. */
  #sequenceChanges(schema: Schema, inserted: ReadonlySet<string>): Sequences | undefined {
    let wanted = this.#sequencesTouched
    for (const table of inserted) wanted ||= schema.counted.has(table)
    if (!wanted) return undefined
    const before = this.#sequences ?? []
    const after = schema.counted.has(SEQUENCES) ? this.#readSequences() : []
    this.#sequences = after
    const names = new Set(after.map(([name]) => name))
    // A follower makes a counter for a row that it inserts, also where the leader has none any more.
    let missing = false
    for (const table of inserted) missing ||= schema.counted.has(table) && !names.has(table)
    const carried = after.filter(
      (row, index) => !sameRow(row, before[index]) || inserted.has(row[0] as string),
    )
    if (carried.length === 0 && after.length === before.length && !missing) return undefined
    // By name, as long as names are unique texts and only counts moved or names were added at the end.
    const simple =
      !this.#schemaTouched &&
      !missing &&
      before.every(([name], index) => after[index]?.[0] === name) &&
      after.every(([name]) => typeof name === 'string') &&
      names.size === after.length
    const rows = simple ? carried : after
    return {
      all: !simple,
      sequences: rows.map(([name, value]) => ({ name: name ?? null, value: value ?? null })),
    }
  }

  #triggerChanges(schemaChanged: boolean): readonly TriggerDefinition[] | undefined {
    const before = this.#triggers ?? []
    const after = readTriggers(this.#database)
    const same =
      before.length === after.length &&
      after.every(({ name, sql }, index) => before[index]?.name === name && before[index].sql === sql)
    return schemaChanged || !same ? after : undefined
  }

  #statisticsChanges(schema: Schema, sawStatistics: boolean): PlainRows | undefined {
    if (!sawStatistics && !this.#schemaTouched) return undefined
    const before = this.#statistics ?? []
    const after = schema.hasStatistics ? plainRows(this.#database, STATISTICS_SQL) : []
    const same = before.length === after.length && after.every((row, index) => sameRow(row, before[index]))
    return sawStatistics || !same ? after : undefined
  }

  #readSequences(): PlainRows {
    this.#sequenceStatement ??= plainStatement(
      this.#database,
      'select name, seq from main.sqlite_sequence order by rowid',
    )
    return this.#sequenceStatement.all() as unknown as PlainRows
  }

  #readPragmas(): Pragmas {
    return {
      userVersion: number(this.#database, 'pragma main.user_version'),
      applicationId: number(this.#database, 'pragma main.application_id'),
    }
  }
}

/** What the counters were that a payload names. Where nothing touched them, they are what they were. */
function countersBefore(changed: Sequences | undefined, before: PlainRows): SequenceValue[] {
  if (changed === undefined) return []
  const named = new Set(changed.sequences.map(({ name }) => name))
  return before
    .filter(([name]) => changed.all || named.has(name ?? null))
    .map(([name, value]) => ({ name: name ?? null, value: value ?? null }))
}

function sameRow(a: readonly PlainValue[], b: readonly PlainValue[] | undefined): boolean {
  return b !== undefined && a.length === b.length && a.every((value, index) => sameValue(value, b[index]))
}

function sameValue(a: PlainValue, b: PlainValue | undefined): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0
  return Object.is(a, b)
}
