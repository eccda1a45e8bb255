/**
 * In which order a program goes over rows, and where that order decides about the result.
 *
 * Decides: which instructions run once for each of several rows, and what fixes the order of those rows.
 * Leaves to others: what follows from it for a statement (`safety.ts`).
 *
 * Two degrees are told apart:
 * - **specified**: by ORDER BY over columns that no two rows share, by GROUP BY, or by the index that serves the ORDER BY.
 * - **shared**: by what nodes have in common. Followers have the same schema, statistics and build, so they go over a
 *   table in the same way; that is the order of its key, unless the table has none: rowids that nobody sees may differ.
 *
 * 1. Reading the program is conservative: what is not understood has no order.
 * 2. An ORDER BY that an index serves leaves no trace in a program. So the statement is compiled a second time with
 *    `PRAGMA reverse_unordered_selects`: a loop that then runs backwards was not asked to run in any order.
 */
import type { Instruction, Programs } from './explain.ts'
import type { BTree } from './schema.ts'

type Program = readonly Instruction[]

interface Loop {
  readonly start: number
  readonly end: number
  readonly kind: 'tree' | 'sorter' | 'temporary' | 'virtual' | 'coroutine' | 'queue' | 'rowset'
  /** Cursor, or register of a coroutine or row set. */
  readonly subject: number
}

const TREES: ReadonlySet<string> = new Set(['OpenRead', 'OpenWrite', 'ReopenIdx'])
const TEMPORARY: ReadonlySet<string> = new Set(['OpenAutoindex', 'OpenDup', 'OpenEphemeral', 'SorterOpen'])
const P2_IS_REGISTER = 0x10
const STEPS: ReadonlySet<string> = new Set(['Next', 'Prev', 'VNext', 'SorterNext'])

export class Ordering {
  readonly #program: Program
  readonly #reversed: Program
  readonly #trees: ReadonlyMap<number, BTree>
  readonly #opens: readonly Instruction[]
  readonly #loops: readonly Loop[]
  readonly #gosubs: readonly Instruction[]
  /** By register: where its last Return stands. Asked for each of a statement's 32,766 rows: no walk over the program then. */
  readonly #lastReturns = new Map<number, number>()
  /** Virtual tables of this statement keep their order. */
  readonly #virtualOrdered: boolean

  constructor(
    program: Program,
    reversed: Program,
    trees: ReadonlyMap<number, BTree>,
    virtualOrdered: boolean,
  ) {
    this.#program = program
    this.#reversed = reversed
    this.#trees = trees
    this.#virtualOrdered = virtualOrdered
    this.#opens = program.filter(({ opcode }) => TREES.has(opcode) || TEMPORARY.has(opcode))
    this.#loops = program.flatMap((instruction) => this.#loopOf(instruction))
    this.#gosubs = program.filter(({ opcode }) => opcode === 'Gosub')
    for (const { address, opcode, p1 } of program) if (opcode === 'Return') this.#lastReturns.set(p1, address)
  }

  /** The b-tree behind a cursor, as it is at an instruction. */
  treeOf(cursor: number, address: number): BTree | undefined {
    const opened = this.#opened(cursor, address)
    if (opened === undefined || TEMPORARY.has(opened.opcode) || opened.p3 !== 0) return undefined
    // The root of a table that the statement itself makes is in a register.
    if ((opened.p5 & P2_IS_REGISTER) !== 0) return undefined
    return this.#trees.get(opened.p2)
  }

  /** Whether the instruction runs once for each of several rows. */
  repeats(address: number): boolean {
    return this.#around(address).length > 0
  }

  /** Whether every loop around the instruction has an order that the statement asked for. `from`: only loops that begin after it. */
  specified(address: number, from: number = -1): boolean {
    return this.#around(address, from).every((loop) => this.#isSpecified(loop, address, new Set()))
  }

  /** Whether nodes go through the loops around the instruction in the same order. */
  shared(address: number): boolean {
    return this.#around(address).every((loop) => this.#isShared(loop, new Set()))
  }

  /** Whether only rows of this table, and of b-trees that SQLite makes for a while, are gone over one by one. */
  loopsOnlyOver(table: string): boolean {
    return this.#loops.every(
      ({ end, kind, subject }) =>
        (kind === 'tree' && this.treeOf(subject, end)?.table.name.toLowerCase() === table) ||
        (kind === 'temporary' && this.#temporary(subject, end)?.p4 === ''),
    )
  }

  /** Whether a temporary b-tree is sorted by columns that no two rows share. */
  sortsTotally(cursor: number, address: number): boolean {
    const opened = this.#temporary(cursor, address)
    const keys = Number(/^k\((\d+)/.exec(opened?.p4 ?? '')?.[1] ?? 0)
    if (keys === 0) return false
    return this.#insertsInto(cursor, address).every((insert) =>
      this.#keyIsUnique(insert, keys, opened?.address ?? -1),
    )
  }

  /** Where the register that counts down a LIMIT was set, before `address`. */
  counterSet(register: number, address: number): number {
    let found = -1
    for (const { address: at, opcode, p1, p2 } of this.#program) {
      if (at >= address) break
      if ((opcode === 'Integer' && p2 === register) || (opcode === 'MustBeInt' && p1 === register)) found = at
    }
    return found
  }

  /** Where an aggregate begins: its register is set to NULL. Loops around that are none of its own. */
  aggregateSet(register: number, address: number): number {
    const sets = this.#program.filter(
      ({ opcode, p2, p3 }) => opcode === 'Null' && p2 <= register && register <= Math.max(p2, p3),
    )
    return (sets.findLast((each) => each.address < address) ?? sets[0])?.address ?? -1
  }

  /** Cursors are opened anew for other b-trees; what runs first may stand at the end. */
  #opened(cursor: number, address: number): Instruction | undefined {
    const all = this.#opens.filter(({ p1 }) => p1 === cursor)
    return all.findLast((each) => each.address < address) ?? all[0]
  }

  /** The instruction that makes a temporary b-tree. */
  #temporary(cursor: number, address: number): Instruction | undefined {
    const opened = this.#opened(cursor, address)
    if (opened === undefined || !TEMPORARY.has(opened.opcode)) return undefined
    return opened.opcode === 'OpenDup' ? this.#temporary(opened.p2, opened.address) : opened
  }

  #loopOf({ address, opcode, p1, p2 }: Instruction): Loop[] {
    if (p2 >= address) return []
    const loop = (kind: Loop['kind'], subject: number): Loop[] => [{ start: p2, end: address, kind, subject }]
    if (STEPS.has(opcode)) {
      if (opcode === 'VNext') return loop('virtual', p1)
      if (opcode === 'SorterNext') return loop('sorter', p1)
      return loop(this.#temporary(p1, address) === undefined ? 'tree' : 'temporary', p1)
    }
    if (opcode !== 'Goto') return []
    const target = this.#program[p2]
    if (target?.opcode === 'Yield') return loop('coroutine', target.p1)
    if (target?.opcode === 'RowSetRead') return loop('rowset', target.p1)
    return target?.opcode === 'Rewind' && this.#temporary(target.p1, p2) !== undefined
      ? loop('queue', target.p1)
      : []
  }

  /** Loops that run the instruction, through subroutines and coroutines too. */
  #around(address: number, from: number = -1, seen: Set<number> = new Set()): Loop[] {
    if (seen.has(address)) return []
    seen.add(address)
    const loops = this.#loops.filter(
      ({ start, end }) => start <= address && address <= end && !(start <= from && from <= end),
    )
    for (const call of this.#callsOf(address)) loops.push(...this.#around(call, from, seen))
    return loops
  }

  /** Gosubs that reach the instruction. */
  #callsOf(address: number): number[] {
    return this.#gosubs
      .filter(({ p1, p2 }) => p2 <= address && (this.#lastReturns.get(p1) ?? -1) >= address)
      .map((call) => call.address)
  }

  #isSpecified(loop: Loop, address: number, seen: Set<Loop>): boolean {
    if (seen.has(loop)) return true
    seen.add(loop)
    switch (loop.kind) {
      case 'tree': {
        if (this.#isReversed(loop)) return false
        return isTotal(this.treeOf(loop.subject, loop.end))
      }
      case 'sorter': {
        // What is run at the end of a group comes in the order of the groups.
        const isInside = loop.start <= address && address <= loop.end
        return (!isInside && this.#groups(loop)) || this.sortsTotally(loop.subject, loop.end)
      }
      case 'temporary':
        if (this.#isSorted(loop)) return this.sortsTotally(loop.subject, loop.end)
        return (
          !this.#isReversed(loop) &&
          this.#producersHold(loop, (each, at) => this.#isSpecified(each, at, seen))
        )
      case 'coroutine':
        return this.#yieldsHold(loop, (each, at) => this.#isSpecified(each, at, seen))
      case 'virtual':
        return this.#virtualOrdered
      case 'queue':
      case 'rowset':
        return true
    }
  }

  #isShared(loop: Loop, seen: Set<Loop>): boolean {
    if (seen.has(loop)) return true
    seen.add(loop)
    switch (loop.kind) {
      case 'tree':
        return isTotal(this.treeOf(loop.subject, loop.end))
      case 'sorter':
      case 'temporary':
        return (
          this.sortsTotally(loop.subject, loop.end) ||
          this.#producersHold(loop, (each) => this.#isShared(each, seen))
        )
      case 'coroutine':
        return this.#yieldsHold(loop, (each) => this.#isShared(each, seen))
      case 'virtual':
        return this.#virtualOrdered
      case 'queue':
        return true
      case 'rowset':
        return this.#program
          .filter(({ opcode, p1 }) => opcode === 'RowSetAdd' && p1 === loop.subject)
          .every(({ address }) => this.#around(address).every((each) => this.#isShared(each, seen)))
    }
  }

  #producersHold(loop: Loop, holds: (each: Loop, address: number) => boolean): boolean {
    // A loop around the making of it fills it anew each time.
    const from = this.#temporary(loop.subject, loop.end)?.address ?? -1
    return this.#insertsInto(loop.subject, loop.end).every(({ address }) =>
      this.#around(address, from)
        .filter((each) => each !== loop)
        .every((each) => holds(each, address)),
    )
  }

  #yieldsHold(loop: Loop, holds: (each: Loop, address: number) => boolean): boolean {
    const begin = this.#program.find(({ opcode, p1 }) => opcode === 'InitCoroutine' && p1 === loop.subject)
    const end = this.#program.find(({ opcode, p1 }) => opcode === 'EndCoroutine' && p1 === loop.subject)
    if (begin === undefined || end === undefined) return false
    return this.#program
      .filter(
        ({ address, opcode, p1 }) =>
          opcode === 'Yield' && p1 === loop.subject && address > begin.address && address < end.address,
      )
      .every(({ address }) => this.#around(address, begin.address).every((each) => holds(each, address)))
  }

  #isReversed({ end }: Loop): boolean {
    if (this.#reversed.length !== this.#program.length) return true
    return this.#reversed[end]?.opcode !== this.#program[end]?.opcode
  }

  /** The rows of a sorter are compared with the one before: GROUP BY. */
  #groups({ start, end, subject }: Loop): boolean {
    const keys = /^k\((\d+)/.exec(this.#temporary(subject, end)?.p4 ?? '')?.[1]
    return this.#program.some(
      ({ address, opcode, p4 }) =>
        opcode === 'Compare' && address >= start && address <= end && /^k\((\d+)/.exec(p4)?.[1] === keys,
    )
  }

  /** A temporary b-tree that is gone over in the order of its key. */
  #isSorted({ start, end, subject }: Loop): boolean {
    const isSort = this.#program.some(
      ({ address, opcode, p1 }) => opcode === 'Sort' && p1 === subject && address < start + 1,
    )
    const keys = this.#temporary(subject, end)?.p4.startsWith('k(') === true
    const before = this.#program[start - 1]
    return isSort || (keys && before?.opcode === 'Rewind' && before.p1 === subject)
  }

  #insertsInto(cursor: number, address: number): Instruction[] {
    const made = this.#temporary(cursor, address)
    return this.#program.filter(
      ({ address: at, opcode, p1 }) =>
        (opcode === 'SorterInsert' || opcode === 'IdxInsert' || opcode === 'Insert') &&
        this.#temporary(p1, at) === made,
    )
  }

  /** Whether the sort key of an inserted record identifies a row of every table that is looped over. */
  #keyIsUnique(insert: Instruction, keys: number, from: number): boolean {
    const record = this.#program.findLast(
      ({ address, opcode, p3 }) => opcode === 'MakeRecord' && p3 === insert.p2 && address < insert.address,
    )
    if (record === undefined) return false
    const sources = Array.from({ length: Math.min(keys, record.p2) }, (_, index) =>
      this.#source(record.p1 + index, record.address),
    )
    return this.#around(insert.address, from).every((loop) => {
      if (loop.kind !== 'tree') return false
      const tree = this.treeOf(loop.subject, loop.end)
      if (tree === undefined) return false
      const cursors = this.#sameRow(loop.subject)
      const columns = new Set<number>()
      for (const source of sources) {
        if (source === undefined || !cursors.has(source.cursor)) continue
        const of = this.treeOf(source.cursor, insert.address)
        if (source.column === 'rowid') columns.add(tree.table.rowidColumn)
        else columns.add(of?.columns[source.column] ?? tree.table.rowidColumn)
      }
      return tree.table.uniques.some((unique) => unique.every((column) => column >= 0 && columns.has(column)))
    })
  }

  /** Cursors that stand on the row of a loop's cursor: the table behind an index. */
  #sameRow(cursor: number): Set<number> {
    const cursors = new Set([cursor])
    for (const { opcode, p1, p3 } of this.#program) {
      if (opcode === 'DeferredSeek' && p1 === cursor) cursors.add(p3)
    }
    return cursors
  }

  /** The column that a register was read from. */
  #source(register: number, before: number): { cursor: number; column: number | 'rowid' } | undefined {
    for (let at = before - 1; at >= 0; at -= 1) {
      const instruction = this.#program[at] as Instruction
      const { opcode, p1, p2, p3 } = instruction
      if (opcode === 'Column' && p3 === register) return { cursor: p1, column: p2 }
      if ((opcode === 'Rowid' || opcode === 'IdxRowid') && p2 === register)
        return { cursor: p1, column: 'rowid' }
      if ((opcode === 'SCopy' || opcode === 'Copy') && p2 === register) return this.#source(p1, at)
      if (opcode === 'Sequence' && p2 === register) return undefined
    }
    return undefined
  }
}

/** Whether the entries of a b-tree come in an order that their content decides: by a key that no two share. */
function isTotal(tree: BTree | undefined): boolean {
  if (tree === undefined) return false
  if (tree.table.keyed) return true
  return (
    tree.isIndex &&
    tree.table.uniques.some((unique) => unique.every((column) => tree.columns.includes(column)))
  )
}

/** Whether a column is taken from whichever row of a group comes first. Returns its place. */
export function bareColumn(program: Program): number | undefined {
  if (!program.some(({ opcode }) => opcode === 'AggStep' || opcode === 'Compare')) return undefined
  for (const { address, opcode, p1, p2 } of program) {
    if (opcode !== 'If' || p2 <= address + 1) continue
    const target = program[p2]
    const before = program[address - 1]
    // Columns beside aggregates are kept under a flag: "a row was seen", or what min() and max() say of this row.
    const isFlagged = target?.opcode === 'Integer' && target.p1 === 1 && target.p2 === p1
    const isExtreme =
      before?.opcode === 'AggStep' && program.some((each) => each.opcode === 'CollSeq' && each.p1 === p1)
    if (!isFlagged && !isExtreme) continue
    const grouped = groupColumns(program, address)
    const bare = program
      .slice(address + 1, p2)
      .find((each) => ['Column', 'Rowid', 'VColumn'].includes(each.opcode) && !grouped.has(placeOf(each)))
    if (bare !== undefined) return bare.address
  }
  return undefined
}

/** Columns that the groups are told apart by. */
function groupColumns(program: Program, before: number): ReadonlySet<string> {
  const compare = program.findLast(({ address, opcode }) => opcode === 'Compare' && address < before)
  if (compare === undefined) return new Set()
  const places = new Set<string>()
  for (let index = 0; index < compare.p3; index += 1) {
    const register = compare.p2 + index
    const source = program.findLast(
      ({ address, opcode, p2, p3 }) =>
        address < compare.address &&
        ((opcode === 'Column' && p3 === register) ||
          (opcode === 'VColumn' && p3 === register) ||
          (opcode === 'Rowid' && p2 === register)),
    )
    if (source !== undefined) places.add(placeOf(source))
  }
  return places
}

function placeOf({ opcode, p1, p2 }: Instruction): string {
  return opcode === 'Rowid' ? `${p1}.rowid` : `${p1}.${p2}`
}

/** Whether any program can go over several rows at all. */
export function hasLoops(programs: Programs): boolean {
  return programs.some((program) =>
    program.some(
      ({ address, opcode, p2 }) =>
        p2 < address && (STEPS.has(opcode) || (opcode === 'Goto' && address < program.length - 1)),
    ),
  )
}
