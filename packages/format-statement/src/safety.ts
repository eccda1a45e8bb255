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
import { explain, functionName, pureDates, type Instruction, type Programs } from './explain.ts'
import {
  BUILD,
  CAPTURED_FUNCTIONS,
  CONNECTION_STATE,
  FLOAT_MATH,
  LOCAL_RESOURCES,
  ORDERED_AGGREGATES,
  signature,
  SUMS,
  VIRTUAL,
  WINDOW_FUNCTIONS,
} from './functions.ts'
import { hasSequence, verbOf, words, type Word } from './lexer.ts'
import { bareColumn, hasLoops, Ordering } from './ordering.ts'
import { registeredFunctions } from './overrides.ts'
import type { Safety, SafetyReason, SafetyReasonCode, SafetyVerdict } from './reasons.ts'
import { readFacts, type SchemaFacts } from './schema.ts'
import { verdictByWords } from './verdicts.ts'

export interface ClassifierOptions {
  readonly ownPrefix: string
  /** Signatures of functions that are overridden by us: `random(0)`. `undefined`: all that can be. */
  readonly overridden: () => ReadonlySet<string> | undefined
  /** Names of user functions that do the same everywhere, in lower case. */
  readonly declared: ReadonlySet<string>
  readonly allowsOtherSqlite: boolean
}

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
const TEXT_MODULES = /^fts[345]$|^rtree(_i32)?$|^geopoly$/
/** Table-valued functions that give their rows in the order of their argument. */
const JSON_TABLES: ReadonlySet<string> = new Set(['json_each', 'json_tree', 'jsonb_each', 'jsonb_tree'])
const NODE_TABLES =
  /^pragma_|^(dbstat|sqlite_dbpage|sqlite_stmt|bytecode|tables_used|sqlite_schema|sqlite_master|sqlite_temp_schema|sqlite_temp_master)$/

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
    const inspection = new Inspection(sql, list, verb, programs, this.#schema, this.#database, this.#options)
    this.#registered ??= registeredFunctions(this.#database)
    inspection.functions(this.#registered)
    inspection.tables()
    inspection.order()
    return {
      ...plain,
      ...inspection.result(),
      ...inspection.ids(),
      pure: pureDates(programs),
      touchesStatistics: list.some(({ text }) => STATISTICS.test(text)),
    }
  }
}

/** The judgement of one statement as it grows. */
class Inspection {
  readonly #sql: string
  readonly #list: readonly Word[]
  readonly #verb: string
  readonly #programs: Programs
  readonly #facts: SchemaFacts
  readonly #database: DatabaseSync
  readonly #options: ClassifierOptions
  readonly #reasons = new Map<string, SafetyReason>()
  readonly #functions = new Set<string>()
  readonly #counters = new Set<string>()
  #isContext = false
  /** Words of the statement and of the views and triggers that it reaches. */
  readonly #reached: readonly (readonly Word[])[]
  readonly #names: ReadonlySet<string>

  constructor(
    sql: string,
    list: readonly Word[],
    verb: string,
    programs: Programs,
    facts: SchemaFacts,
    database: DatabaseSync,
    options: ClassifierOptions,
  ) {
    this.#sql = sql
    this.#list = list
    this.#verb = verb
    this.#programs = programs
    this.#facts = facts
    this.#database = database
    this.#options = options
    this.#reached = this.#closure()
    this.#names = new Set(this.#reached.flatMap((text) => text.map((word) => word.text)))
  }

  result(): { verdict: SafetyVerdict; reasons: SafetyReason[]; functions: string[]; counters: Set<string> } {
    const reasons = [...this.#reasons.values()]
    const isUnsafe = reasons.some(({ code }) => !CONTEXT_CODES.has(code))
    const isRefused = reasons.some(({ code }) => code === 'TEMP')
    return {
      verdict: isRefused ? 'refused' : isUnsafe ? 'unsafe' : this.#isContext ? 'context' : 'safe',
      reasons,
      functions: [...this.#functions].sort(),
      counters: this.#counters,
    }
  }

  #add(code: SafetyReasonCode, detail: string): void {
    this.#reasons.set(`${code} ${detail}`, { code, detail })
    if (CONTEXT_CODES.has(code)) this.#isContext = true
  }

  functions(registered: ReadonlySet<string>): void {
    for (const { opcode, p4 } of this.#programs.flat()) {
      const isCall =
        opcode === 'Function' || opcode === 'PureFunc' || opcode === 'AggStep' || opcode === 'AggFinal'
      if (isCall) this.#function(functionName(p4), p4.toLowerCase(), registered)
      else if (opcode === 'AggValue' || opcode === 'AggInverse') this.#add('WINDOW_ORDER', functionName(p4))
    }
    if (this.#reached.some((list) => hasSequence(list, ')', 'over'))) this.#add('WINDOW_ORDER', 'over')
  }

  #function(name: string, full: string, registered: ReadonlySet<string>): void {
    const { declared, overridden, ownPrefix, allowsOtherSqlite } = this.#options
    if (name.startsWith(ownPrefix)) return
    this.#functions.add(name)
    const captured = CAPTURED_FUNCTIONS.find((each) => signature(each.name, each.arguments) === full)
    const ours = overridden()
    // Before overrides are in place, what is registered under such a name is the user's.
    if (captured !== undefined && (ours === undefined ? !registered.has(full) : ours.has(full))) {
      if (captured.kind === 'random') this.#add('RANDOM', name)
      else if (captured.kind === 'connection') {
        this.#add('CONNECTION_COUNTER', name)
        this.#counters.add(name)
      } else this.#add('MOMENT', name)
      return
    }
    if (registered.has(full)) {
      if (!declared.has(name)) this.#add('USER_FUNCTION', name)
    } else if (FLOAT_MATH.has(name)) this.#add('FLOAT_MATH', name)
    else if (LOCAL_RESOURCES.has(name)) this.#add('LOCAL_RESOURCE', name)
    else if (CONNECTION_STATE.has(name)) this.#add('CONNECTION_STATE', name)
    else if (BUILD.has(name) && allowsOtherSqlite) this.#add('SQLITE_BUILD', name)
    else if (VIRTUAL.has(name) && allowsOtherSqlite) this.#add('VIRTUAL_TABLE', name)
    else if (WINDOW_FUNCTIONS.has(name)) this.#add('WINDOW_ORDER', name)
  }

  tables(): void {
    const { allowsOtherSqlite, ownPrefix } = this.#options
    const all = this.#programs.flat()
    const usesVirtual = all.some(({ opcode }) => opcode === 'VOpen' || opcode === 'VUpdate')
    for (const name of this.#names) {
      if (this.#facts.tempTriggers.has(name)) this.#add('TEMP_TRIGGER', name)
      if (NODE_TABLES.test(name) && this.#reads(name, usesVirtual)) this.#add('NODE_STATE', name)
    }
    if (usesVirtual || (this.#verb === 'create' && this.#list[1]?.text === 'virtual')) this.#virtual()
    const statistics = [...this.#names].find((name) => STATISTICS.test(name))
    if (statistics !== undefined && this.#writesOther(statistics)) this.#add('STATISTICS', statistics)
    for (const { opcode, p1, p3 } of all) {
      const isTemp =
        ((opcode === 'OpenWrite' || opcode === 'OpenRead') && p3 === 1) ||
        (opcode === 'CreateBtree' && p1 === 1)
      if (isTemp && this.#verb !== 'drop' && this.#verb !== 'alter') this.#add('TEMP', 'a temporary table')
    }
    this.#hiddenRowid(all, ownPrefix)
    if (allowsOtherSqlite && this.#verb === 'analyze') this.#add('SQLITE_BUILD', 'analyze')
  }

  /** The schema table is opened by every change of the schema; only who names it reads it. */
  #reads(name: string, usesVirtual: boolean): boolean {
    const isSchema = name.endsWith('_schema') || name.endsWith('_master')
    if (isSchema) return this.#verb !== 'analyze'
    return usesVirtual
  }

  #virtual(): void {
    const { allowsOtherSqlite } = this.#options
    if (this.#verb === 'create') {
      const using = this.#list.findIndex(({ text, quoted }) => text === 'using' && !quoted)
      const module = this.#list[using + 1]?.text ?? ''
      const isKnown = TEXT_MODULES.test(module) || module === 'fts5vocab' || module === 'fts4aux'
      if (!isKnown || allowsOtherSqlite) this.#add('VIRTUAL_TABLE', module)
      return
    }
    let known = 0
    for (const name of this.#names) {
      const module = this.#facts.virtual.get(name)
      if (JSON_TABLES.has(name) || NODE_TABLES.test(name)) known += 1
      if (module === undefined) continue
      known += 1
      if (module === 'fts5vocab' || module === 'fts4aux') this.#add('NODE_STATE', name)
      else if (!TEXT_MODULES.test(module) || allowsOtherSqlite) this.#add('VIRTUAL_TABLE', name)
    }
    if (known === 0) this.#add('VIRTUAL_TABLE', 'an unknown module')
  }

  /** Whether a statement that names statistics changes another table than that. */
  #writesOther(statistics: string): boolean {
    if (this.#verb === 'drop' || this.#verb === 'analyze') return false
    const at = this.#list.findIndex(
      ({ text, quoted }) => !quoted && (text === 'into' || text === 'from' || text === 'update'),
    )
    const named = this.#list
      .slice(at + 1)
      .find(({ text }) => !['or', 'replace', 'ignore', 'main', '.'].includes(text))
    return named?.text !== statistics
  }

  #hiddenRowid(all: readonly Instruction[], ownPrefix: string): void {
    const aliases = ['rowid', 'oid', '_rowid_'].filter((alias) => this.#names.has(alias))
    if (aliases.length === 0) return
    for (const { opcode, p2, p3 } of all) {
      if ((opcode !== 'OpenRead' && opcode !== 'OpenWrite') || p3 !== 0) continue
      const table = this.#facts.trees.get(p2)?.table
      if (table === undefined || table.rowidColumn >= 0 || table.name.startsWith(ownPrefix)) continue
      if (table.name.startsWith('sqlite_')) continue
      const alias = aliases.find((each) => !table.columns.some(({ name }) => name === each))
      // A WITHOUT ROWID table has none to name.
      if (alias !== undefined && !table.keyed) this.#add('HIDDEN_ROWID', `${table.name}.${alias}`)
    }
  }

  /** Where SQLite chooses ids: one above the largest, and at random when there is none above. */
  ids(): { draws: string[]; counts: boolean; givesIds: boolean } {
    const draws = new Set<string>()
    let givesIds = false
    let counts = false
    for (const program of this.#programs) {
      const ordering = new Ordering(program, program, this.#facts.trees, true)
      for (const { address, opcode, p1 } of program) {
        if (opcode === 'OpenWrite')
          counts ||= ordering.treeOf(p1, address + 1)?.table.name === 'sqlite_sequence'
        // An id that is given is made an integer; whole rows are copied with theirs.
        if (opcode === 'MustBeInt' || opcode === 'RowData' || opcode === 'RowCell') givesIds = true
        if (opcode !== 'NewRowid' || idIsGiven(program, address)) continue
        const table = ordering.treeOf(p1, address)?.table
        if (table === undefined || table.rowidColumn < 0) continue
        // AUTOINCREMENT fails instead.
        if (/autoincrement/i.test(this.#facts.tableSql.get(table.name.toLowerCase()) ?? '')) continue
        draws.add(`main."${table.name.replaceAll('"', '""')}"`)
      }
    }
    return { draws: [...draws], counts, givesIds }
  }

  #updateFrom(main: Ordering): void {
    if (this.#verb !== 'update' || !this.#list.some(isUpdateFrom)) return
    const target = this.#programs[0]?.find(({ opcode }) => opcode === 'OpenWrite')
    const table =
      target === undefined ? undefined : main.treeOf(target.p1, target.address + 1)?.table.name.toLowerCase()
    // One row at most is found for each row of the table when nothing else is gone over.
    if (table === undefined || !main.loopsOnlyOver(table)) this.#add('UPDATE_FROM', table ?? 'a table')
  }

  order(): void {
    if (!hasLoops(this.#programs)) return
    const reversed = this.#needsReversal() ? this.#explainReversed() : this.#programs
    const ordered = [...this.#names].every((name) => !this.#facts.virtual.has(name))
    const orderings = this.#programs.map(
      (program, index) => new Ordering(program, reversed[index] ?? [], this.#facts.trees, ordered),
    )
    const [main] = orderings
    if (main !== undefined) this.#updateFrom(main)
    // What a trigger does is done in the order of the rows that fire it.
    const fires = this.#programs.flatMap((program, index) =>
      program
        .filter(({ opcode }) => opcode === 'Program')
        .map(({ address }) => ({ ordering: orderings[index] as Ordering, address })),
    )
    const fireShared = fires.every(({ ordering, address }) => ordering.shared(address))
    const hasConflicts = this.#hasConflicts()
    for (const [index, program] of this.#programs.entries()) {
      const ordering = orderings[index] as Ordering
      const isShared = (address: number) => ordering.shared(address) && (index === 0 || fireShared)
      for (const instruction of program) {
        this.#step(instruction, program, ordering, isShared, hasConflicts)
      }
      const bare = bareColumn(program)
      if (bare !== undefined && ordering.repeats(bare))
        this.#add('BARE_COLUMN', 'a column beside an aggregate')
    }
  }

  #step(
    instruction: Instruction,
    program: readonly Instruction[],
    ordering: Ordering,
    isShared: (address: number) => boolean,
    hasConflicts: boolean,
  ): void {
    const { address, opcode, p1, p4 } = instruction
    switch (opcode) {
      case 'NewRowid': {
        const tree = ordering.treeOf(p1, address)
        if (tree === undefined || tree.table.rowidColumn < 0 || tree.table.name.startsWith('sqlite_')) return
        if (idIsGiven(program, address)) return
        // Where a trigger inserts, those that fire it must come in an order that nodes share.
        if (!ordering.specified(address) || !isShared(address)) this.#add('UNORDERED_IDS', tree.table.name)
        return
      }
      case 'DecrJumpZero': {
        const set = ordering.counterSet(p1, address)
        const before = program[address - 1]
        // EXISTS only asks whether there is a row.
        const isExists = before?.opcode === 'Integer' && before.p1 === 1
        if (!isExists && !ordering.specified(address, set)) this.#add('LIMIT_WITHOUT_ORDER', 'limit')
        return
      }
      case 'IfNotZero': {
        const last = program[address + 1]
        if (last?.opcode === 'Last' && !ordering.sortsTotally(last.p1, address))
          this.#add('LIMIT_WITHOUT_ORDER', 'limit')
        return
      }
      case 'AggStep':
        this.#aggregate(instruction, program, ordering, isShared)
        return
      case 'Function': {
        const name = functionName(p4)
        const perRow = name === 'random' || name === 'randomblob' || this.#counters.has(name)
        if (perRow && !isShared(address)) this.#add('UNORDERED_CONTEXT', name)
        return
      }
      case 'Insert':
      case 'Delete': {
        const tree = ordering.treeOf(p1, address)
        if (hasConflicts && tree !== undefined && !isShared(address))
          this.#add('UNORDERED_CONFLICT', tree.table.name)
      }
    }
  }

  #aggregate(
    { address, p2, p3, p4 }: Instruction,
    program: readonly Instruction[],
    ordering: Ordering,
    isShared: (address: number) => boolean,
  ): void {
    const name = functionName(p4)
    const from = ordering.aggregateSet(p3, address)
    if (ORDERED_AGGREGATES.has(name) && !ordering.specified(address, from))
      this.#add('UNORDERED_AGGREGATE', name)
    if (!SUMS.has(name) || isShared(address)) return
    const source = program.findLast(
      (each) => each.opcode === 'Column' && each.p3 === p2 && each.address < address,
    )
    const column = source === undefined ? undefined : ordering.treeOf(source.p1, source.address)
    const number = source === undefined ? undefined : column?.columns[source.p2]
    const isInteger = column?.table.columns.find((each) => each.number === number)?.isInteger === true
    if (!isInteger) this.#add('UNORDERED_SUM', name)
  }

  /** Whether anything depends on ORDER BY, which only the second compilation shows. */
  #needsReversal(): boolean {
    return this.#programs.some((program) =>
      program.some(
        ({ opcode, p4 }) =>
          opcode === 'NewRowid' ||
          opcode === 'DecrJumpZero' ||
          (opcode === 'AggStep' && ORDERED_AGGREGATES.has(functionName(p4))),
      ),
    )
  }

  #explainReversed(): Programs {
    this.#database.exec('pragma reverse_unordered_selects = 1')
    try {
      return explain(this.#database, this.#sql)
    } finally {
      this.#database.exec('pragma reverse_unordered_selects = 0')
    }
  }

  #hasConflicts(): boolean {
    const clauses = ['replace', 'ignore', 'fail']
    return (
      this.#reached.some(
        (list) =>
          hasSequence(list, 'on', 'conflict') ||
          hasSequence(list, 'replace', 'into') ||
          clauses.some((clause) => hasSequence(list, 'or', clause)),
      ) ||
      [...this.#names].some((name) => {
        const sql = this.#facts.tableSql.get(name)
        return sql !== undefined && /on\s+conflict\s+(replace|ignore|fail)/i.test(sql)
      })
    )
  }

  /** Texts of the statement, the views that it names and the triggers of the tables that these name, if it fires any. */
  #closure(): (readonly Word[])[] {
    const texts: (readonly Word[])[] = [this.#list]
    const fires =
      this.#programs.length > 1 || this.#programs.flat().some(({ opcode }) => opcode === 'Program')
    const seen = new Set<string>()
    for (let at = 0; at < texts.length; at += 1) {
      for (const { text } of texts[at] as readonly Word[]) {
        if (seen.has(text)) continue
        seen.add(text)
        const view = this.#facts.views.get(text)
        if (view !== undefined) texts.push(words(view))
        const triggers = this.#facts.triggers.get(text)
        if (triggers === undefined || !(fires || view !== undefined)) continue
        for (const trigger of triggers) texts.push(words(trigger))
      }
    }
    return texts
  }
}

/** A NewRowid for where the id that a statement gives is NULL. */
function idIsGiven(program: readonly Instruction[], address: number): boolean {
  const before = program[address - 1]
  return before?.opcode === 'NotNull' && before.p1 === program[address]?.p2 && before.p2 > address
}

const CONTEXT_CODES: ReadonlySet<SafetyReasonCode> = new Set(['RANDOM', 'MOMENT', 'CONNECTION_COUNTER'])

function isUpdateFrom({ text, quoted, depth }: Word): boolean {
  return text === 'from' && !quoted && depth === 0
}
