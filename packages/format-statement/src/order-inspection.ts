/** Where the order of rows, or the ids that SQLite chooses, decide about what a statement does. */
import type { Case } from './case.ts'
import { arrays, first } from './connection.ts'
import { explain, functionName, type Instruction, type Programs } from './explain.ts'
import { ORDERED_AGGREGATES, SUMS } from './functions.ts'
import { hasSequence, type Word } from './lexer.ts'
import { bareColumn, hasLoops, Ordering } from './ordering.ts'

export class OrderInspection {
  readonly #case: Case

  constructor(subject: Case) {
    this.#case = subject
  }

  /** Where SQLite chooses ids: one above the largest, and at random when there is none above. */
  ids(): { draws: string[]; counts: boolean; givesIds: boolean } {
    const draws = new Set<string>()
    let givesIds = false
    let counts = false
    for (const program of this.#case.subject.programs) {
      const ordering = new Ordering(program, program, this.#case.subject.facts.trees, true)
      for (const { address, opcode, p1 } of program) {
        if (opcode === 'OpenWrite')
          counts ||= ordering.treeOf(p1, address + 1)?.table.name === 'sqlite_sequence'
        // An id that is given is made an integer; whole rows are copied with theirs.
        if (opcode === 'MustBeInt' || opcode === 'RowData' || opcode === 'RowCell') givesIds = true
        if (opcode !== 'NewRowid' || idIsGiven(program, address)) continue
        const table = ordering.treeOf(p1, address)?.table
        if (table === undefined || table.rowidColumn < 0) continue
        // AUTOINCREMENT fails instead.
        if (/autoincrement/i.test(this.#case.subject.facts.tableSql.get(table.name.toLowerCase()) ?? ''))
          continue
        draws.add(`main."${table.name.replaceAll('"', '""')}"`)
      }
    }
    return { draws: [...draws], counts, givesIds }
  }

  #updateFrom(main: Ordering): void {
    if (this.#case.subject.verb !== 'update' || !this.#case.subject.list.some(isUpdateFrom)) return
    const target = this.#case.subject.programs[0]?.find(({ opcode }) => opcode === 'OpenWrite')
    const table =
      target === undefined ? undefined : main.treeOf(target.p1, target.address + 1)?.table.name.toLowerCase()
    // One row at most is found for each row of the table when nothing else is gone over.
    if (table === undefined || !main.loopsOnlyOver(table)) this.#case.add('UPDATE_FROM', table ?? 'a table')
  }

  order(): void {
    if (!hasLoops(this.#case.subject.programs)) return
    const { programs, facts } = this.#case.subject
    const ordered = [...this.#case.names].every((name) => !facts.virtual.has(name))
    const made = (reversed: Programs): Ordering[] =>
      programs.map((program, index) => new Ordering(program, reversed[index] ?? [], facts.trees, ordered))
    const plain = made(programs)
    const orderings = this.#needsReversal(plain) ? made(this.#explainReversed()) : plain
    const [main] = orderings
    if (main !== undefined) this.#updateFrom(main)
    // What a trigger does is done in the order of the rows that fire it.
    const fires = this.#case.subject.programs.flatMap((program, index) =>
      program
        .filter(({ opcode }) => opcode === 'Program')
        .map(({ address }) => ({ ordering: orderings[index] as Ordering, address })),
    )
    const fireShared = fires.every(({ ordering, address }) => ordering.shared(address))
    const hasConflicts = this.#hasConflicts()
    for (const [index, program] of this.#case.subject.programs.entries()) {
      const ordering = orderings[index] as Ordering
      const isShared = (address: number) => ordering.shared(address) && (index === 0 || fireShared)
      for (const instruction of program) {
        this.#step(instruction, program, ordering, isShared, hasConflicts)
      }
      const bare = bareColumn(program)
      if (bare !== undefined && ordering.repeats(bare))
        this.#case.add('BARE_COLUMN', 'a column beside an aggregate')
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
        if (!ordering.specified(address) || !isShared(address))
          this.#case.add('UNORDERED_IDS', tree.table.name)
        return
      }
      case 'DecrJumpZero': {
        const set = ordering.counterSet(p1, address)
        const before = program[address - 1]
        // EXISTS only asks whether there is a row.
        const isExists = before?.opcode === 'Integer' && before.p1 === 1
        if (!isExists && !ordering.specified(address, set)) this.#case.add('LIMIT_WITHOUT_ORDER', 'limit')
        return
      }
      case 'IfNotZero': {
        const last = program[address + 1]
        if (last?.opcode === 'Last' && !ordering.sortsTotally(last.p1, address))
          this.#case.add('LIMIT_WITHOUT_ORDER', 'limit')
        return
      }
      case 'AggStep':
        this.#aggregate(instruction, program, ordering, isShared)
        return
      case 'Function': {
        const name = functionName(p4)
        const perRow = name === 'random' || name === 'randomblob' || this.#case.counters.has(name)
        if (perRow && !isShared(address)) this.#case.add('UNORDERED_CONTEXT', name)
        return
      }
      case 'Insert':
      case 'Delete': {
        const tree = ordering.treeOf(p1, address)
        if (hasConflicts && tree !== undefined && !isShared(address))
          this.#case.add('UNORDERED_CONFLICT', tree.table.name)
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
      this.#case.add('UNORDERED_AGGREGATE', name)
    if (!SUMS.has(name) || isShared(address)) return
    const source = program.findLast(
      (each) => each.opcode === 'Column' && each.p3 === p2 && each.address < address,
    )
    const column = source === undefined ? undefined : ordering.treeOf(source.p1, source.address)
    const number = source === undefined ? undefined : column?.columns[source.p2]
    const isInteger = column?.table.columns.find((each) => each.number === number)?.isInteger === true
    if (!isInteger) this.#case.add('UNORDERED_SUM', name)
  }

  /** Whether anything depends on ORDER BY, which only the second compilation shows. */
  #needsReversal(orderings: readonly Ordering[]): boolean {
    return this.#case.subject.programs.some((program, index) =>
      program.some(
        ({ address, opcode, p4 }) =>
          (opcode === 'NewRowid' ||
            opcode === 'DecrJumpZero' ||
            (opcode === 'AggStep' && ORDERED_AGGREGATES.has(functionName(p4)))) &&
          orderings[index]?.repeats(address) === true,
      ),
    )
  }

  #explainReversed(): Programs {
    const isReversed = first(arrays(this.#case.subject.database, 'pragma reverse_unordered_selects'))
    this.#case.subject.database.exec(`pragma reverse_unordered_selects = ${1 - isReversed}`)
    try {
      return explain(this.#case.subject.database, this.#case.subject.sql)
    } finally {
      this.#case.subject.database.exec(`pragma reverse_unordered_selects = ${isReversed}`)
    }
  }

  #hasConflicts(): boolean {
    const clauses = ['replace', 'ignore', 'fail']
    return (
      this.#case.reached.some(
        (list) =>
          hasSequence(list, 'on', 'conflict') ||
          hasSequence(list, 'replace', 'into') ||
          clauses.some((clause) => hasSequence(list, 'or', clause)),
      ) ||
      [...this.#case.names].some((name) => {
        const sql = this.#case.subject.facts.tableSql.get(name)
        return sql !== undefined && /on\s+conflict\s+(replace|ignore|fail)/i.test(sql)
      })
    )
  }
}

/** A NewRowid for where the id that a statement gives is NULL. */
function idIsGiven(program: readonly Instruction[], address: number): boolean {
  const before = program[address - 1]
  return before?.opcode === 'NotNull' && before.p1 === program[address]?.p2 && before.p2 > address
}

function isUpdateFrom({ text, quoted, depth }: Word): boolean {
  return text === 'from' && !quoted && depth === 0
}
