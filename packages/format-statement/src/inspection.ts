/** What a statement calls and which tables it touches: the reasons that do not depend on any order. */
import type { Case } from './case.ts'
import { functionName, type Instruction } from './explain.ts'
import {
  BUILD,
  CAPTURED_FUNCTIONS,
  CONNECTION_STATE,
  FLOAT_MATH,
  LOCAL_RESOURCES,
  signature,
  VIRTUAL,
  WINDOW_FUNCTIONS,
} from './functions.ts'
import { hasSequence } from './lexer.ts'

const STATISTICS = /^sqlite_stat\d$/
const TEXT_MODULES = /^fts[345]$|^rtree(_i32)?$|^geopoly$/
/** Table-valued functions that give their rows in the order of their argument. */
const JSON_TABLES: ReadonlySet<string> = new Set(['json_each', 'json_tree', 'jsonb_each', 'jsonb_tree'])
const NODE_TABLES =
  /^pragma_|^(dbstat|sqlite_dbpage|sqlite_stmt|bytecode|tables_used|sqlite_schema|sqlite_master|sqlite_temp_schema|sqlite_temp_master)$/

export class Inspection {
  readonly #case: Case

  constructor(subject: Case) {
    this.#case = subject
  }

  functions(registered: ReadonlySet<string>): void {
    for (const { opcode, p4 } of this.#case.subject.programs.flat()) {
      const isCall =
        opcode === 'Function' || opcode === 'PureFunc' || opcode === 'AggStep' || opcode === 'AggFinal'
      if (isCall) this.#function(functionName(p4), p4.toLowerCase(), registered)
      else if (opcode === 'AggValue' || opcode === 'AggInverse')
        this.#case.add('WINDOW_ORDER', functionName(p4))
    }
    if (this.#case.reached.some((list) => hasSequence(list, ')', 'over')))
      this.#case.add('WINDOW_ORDER', 'over')
  }

  #function(name: string, full: string, registered: ReadonlySet<string>): void {
    const { declared, overridden, ownPrefix, allowsOtherSqlite } = this.#case.subject.options
    if (name.startsWith(ownPrefix)) return
    this.#case.functions.add(name)
    const captured = CAPTURED_FUNCTIONS.find((each) => signature(each.name, each.arguments) === full)
    const ours = overridden()
    // Before overrides are in place, what is registered under such a name is the user's.
    if (captured !== undefined && (ours === undefined ? !registered.has(full) : ours.has(full))) {
      if (captured.kind === 'random') this.#case.add('RANDOM', name)
      else if (captured.kind === 'connection') {
        this.#case.add('CONNECTION_COUNTER', name)
        this.#case.counters.add(name)
      } else this.#case.add('MOMENT', name)
      return
    }
    if (registered.has(full)) {
      if (!declared.has(name)) this.#case.add('USER_FUNCTION', name)
    } else if (FLOAT_MATH.has(name)) this.#case.add('FLOAT_MATH', name)
    else if (LOCAL_RESOURCES.has(name)) this.#case.add('LOCAL_RESOURCE', name)
    else if (CONNECTION_STATE.has(name)) this.#case.add('CONNECTION_STATE', name)
    else if (BUILD.has(name) && allowsOtherSqlite) this.#case.add('SQLITE_BUILD', name)
    else if (VIRTUAL.has(name) && allowsOtherSqlite) this.#case.add('VIRTUAL_TABLE', name)
    else if (WINDOW_FUNCTIONS.has(name)) this.#case.add('WINDOW_ORDER', name)
  }

  tables(): void {
    const { allowsOtherSqlite, ownPrefix } = this.#case.subject.options
    const all = this.#case.subject.programs.flat()
    const usesVirtual = all.some(({ opcode }) => opcode === 'VOpen' || opcode === 'VUpdate')
    for (const name of this.#case.names) {
      if (this.#case.subject.facts.tempTriggers.has(name)) this.#case.add('TEMP_TRIGGER', name)
      if (NODE_TABLES.test(name) && this.#reads(name, usesVirtual)) this.#case.add('NODE_STATE', name)
    }
    if (
      usesVirtual ||
      (this.#case.subject.verb === 'create' && this.#case.subject.list[1]?.text === 'virtual')
    )
      this.#virtual()
    const statistics = [...this.#case.names].find((name) => STATISTICS.test(name))
    if (statistics !== undefined && this.#writesOther(statistics)) this.#case.add('STATISTICS', statistics)
    for (const { opcode, p1, p3 } of all) {
      const isTemp =
        ((opcode === 'OpenWrite' || opcode === 'OpenRead') && p3 === 1) ||
        (opcode === 'CreateBtree' && p1 === 1)
      if (isTemp && this.#case.subject.verb !== 'drop' && this.#case.subject.verb !== 'alter')
        this.#case.add('TEMP', 'a temporary table')
    }
    this.#hiddenRowid(all, ownPrefix)
    if (allowsOtherSqlite && this.#case.subject.verb === 'analyze') this.#case.add('SQLITE_BUILD', 'analyze')
  }

  /** The schema table is opened by every change of the schema; only who names it reads it. */
  #reads(name: string, usesVirtual: boolean): boolean {
    const isSchema = name.endsWith('_schema') || name.endsWith('_master')
    if (isSchema) return this.#case.subject.verb !== 'analyze'
    return usesVirtual
  }

  #virtual(): void {
    const { allowsOtherSqlite } = this.#case.subject.options
    if (this.#case.subject.verb === 'create') {
      const using = this.#case.subject.list.findIndex(({ text, quoted }) => text === 'using' && !quoted)
      const module = this.#case.subject.list[using + 1]?.text ?? ''
      const isKnown = TEXT_MODULES.test(module) || module === 'fts5vocab' || module === 'fts4aux'
      if (!isKnown || allowsOtherSqlite) this.#case.add('VIRTUAL_TABLE', module)
      return
    }
    let known = 0
    for (const name of this.#case.names) {
      const module = this.#case.subject.facts.virtual.get(name)
      if (JSON_TABLES.has(name) || NODE_TABLES.test(name)) known += 1
      if (module === undefined) continue
      known += 1
      if (module === 'fts5vocab' || module === 'fts4aux') this.#case.add('NODE_STATE', name)
      else if (!TEXT_MODULES.test(module) || allowsOtherSqlite) this.#case.add('VIRTUAL_TABLE', name)
    }
    if (known === 0) this.#case.add('VIRTUAL_TABLE', 'an unknown module')
  }

  /** Whether a statement that names statistics changes another table than that. */
  #writesOther(statistics: string): boolean {
    if (this.#case.subject.verb === 'drop' || this.#case.subject.verb === 'analyze') return false
    const at = this.#case.subject.list.findIndex(
      ({ text, quoted }) => !quoted && (text === 'into' || text === 'from' || text === 'update'),
    )
    const named = this.#case.subject.list
      .slice(at + 1)
      .find(({ text }) => !['or', 'replace', 'ignore', 'main', '.'].includes(text))
    return named?.text !== statistics
  }

  #hiddenRowid(all: readonly Instruction[], ownPrefix: string): void {
    const aliases = ['rowid', 'oid', '_rowid_'].filter((alias) => this.#case.names.has(alias))
    if (aliases.length === 0) return
    for (const { opcode, p2, p3 } of all) {
      if ((opcode !== 'OpenRead' && opcode !== 'OpenWrite') || p3 !== 0) continue
      const table = this.#case.subject.facts.trees.get(p2)?.table
      if (table === undefined || table.rowidColumn >= 0 || table.name.startsWith(ownPrefix)) continue
      if (table.name.startsWith('sqlite_')) continue
      const alias = aliases.find((each) => !table.columns.some(({ name }) => name === each))
      // A WITHOUT ROWID table has none to name.
      if (alias !== undefined && !table.keyed) this.#case.add('HIDDEN_ROWID', `${table.name}.${alias}`)
    }
  }
}
