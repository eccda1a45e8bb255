/**
 * Judges statements: does running the same text again, on another node, do the same?
 *
 * Decides: the verdict, its reasons, which functions must be captured. Leaves to others: what happens to an unsafe
 * statement, and the reading of programs (`explain.ts`, `ordering.ts`).
 *
 * 1. SQLite's own program is judged, so that DEFAULTs, triggers, CHECKs, views and foreign-key actions count.
 * 2. A judgement is as good as the schema that it was made with; whoever changes the schema calls `forget`.
 * 3. Where only the run itself can tell (an id beyond 2^63 - 1 makes SQLite choose ids at random, a NULL in a column of
 *    explicit ids), the verdict is hopeful, and the tripwire decides.
 */
import type { DatabaseSync } from 'node:sqlite'
import { Case, CONTEXT_CODES, type ClassifierOptions } from './case.ts'
import { explain, pureDates, type Programs } from './explain.ts'
import { Inspection } from './inspection.ts'
import { verbOf, words } from './lexer.ts'
import { OrderInspection } from './order-inspection.ts'
import { registeredFunctions } from './overrides.ts'
import type { Safety, SafetyReason, SafetyVerdict } from './reasons.ts'
import { readFacts, type SchemaFacts } from './schema.ts'
import { verdictByWords } from './verdicts.ts'

/** What the recorder must know of a statement. */
export interface Judgement extends Safety {
  /** Functions of the connection that it reaches: `last_insert_rowid`, `changes`. */
  readonly counters: ReadonlySet<string>
  /** Date functions that must not look at the clock, because they stand in a generated column, an index or a CHECK. */
  readonly pure: ReadonlySet<string>
  /** Tables in which SQLite may choose ids, quoted. */
  readonly draws: readonly string[]
  /** It may move an AUTOINCREMENT counter. */
  readonly counts: boolean
  /** It may give rows ids of its own, however large. */
  readonly givesIds: boolean
  /** Names a table of statistics: what the planner knows is read anew after it. */
  readonly touchesStatistics: boolean
  /** The first word that says what it does. */
  readonly verb: string
}

const CACHED_MAX = 4000
const NONE: ReadonlySet<string> = new Set()
const STATISTICS = /^sqlite_stat\d$/

export class Classifier {
  readonly #database: DatabaseSync
  readonly #options: ClassifierOptions
  readonly #judgements = new Map<string, Judgement>()
  #facts: SchemaFacts | undefined
  #registered: ReadonlySet<string> | undefined

  constructor(database: DatabaseSync, options: ClassifierOptions) {
    this.#database = database
    this.#options = options
  }

  /** The schema changed, or functions were registered. */
  forget(): void {
    this.#judgements.clear()
    this.#facts = undefined
    this.#registered = undefined
  }

  /** Whether the last judgement was made just then, which may have touched the counters of the connection. */
  isFresh = false

  /** Judges one statement. In `internal`. */
  judge(sql: string): Judgement {
    const known = this.#judgements.get(sql)
    this.isFresh = known === undefined
    if (known !== undefined) return known
    const judgement = this.#judge(sql)
    if (this.#judgements.size >= CACHED_MAX) this.#judgements.clear()
    this.#judgements.set(sql, judgement)
    return judgement
  }

  get #schema(): SchemaFacts {
    return (this.#facts ??= readFacts(this.#database, this.#options.ownPrefix))
  }

  #judge(sql: string): Judgement {
    const list = words(sql)
    const verb = verbOf(list)
    const plain = {
      functions: [],
      counters: NONE,
      pure: NONE,
      draws: [],
      counts: false,
      givesIds: true,
      touchesStatistics: false,
      verb,
    }
    const byWords = verdictByWords(list, verb, this.#options.ownPrefix)
    if (byWords !== undefined) {
      const { verdict, code, detail } = byWords
      return { ...plain, verdict, reasons: code === undefined ? [] : [{ code, detail }] }
    }
    let programs: Programs
    try {
      programs = explain(this.#database, sql)
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error)
      return { ...plain, verdict: 'unsafe', reasons: [{ code: 'NOT_ANALYSED', detail }] }
    }
    const facts = this.#schema
    const judged = new Case({
      sql,
      list,
      verb,
      programs,
      facts,
      database: this.#database,
      options: this.#options,
    })
    this.#registered ??= registeredFunctions(this.#database)
    const inspection = new Inspection(judged)
    inspection.functions(this.#registered)
    inspection.tables()
    const order = new OrderInspection(judged)
    order.order()
    const { reasons } = judged
    return {
      ...plain,
      verdict: verdictOf(reasons),
      reasons,
      functions: [...judged.functions].sort(),
      counters: judged.counters,
      ...order.ids(),
      pure: pureDates(programs),
      touchesStatistics: list.some(({ text }) => STATISTICS.test(text)),
    }
  }
}

function verdictOf(reasons: readonly SafetyReason[]): SafetyVerdict {
  if (reasons.some(({ code }) => code === 'TEMP')) return 'refused'
  if (reasons.some(({ code }) => !CONTEXT_CODES.has(code))) return 'unsafe'
  return reasons.length > 0 ? 'context' : 'safe'
}
