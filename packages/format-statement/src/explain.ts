/**
 * SQLite's own programs: what EXPLAIN says a statement does, its triggers, DEFAULTs, CHECKs and views included.
 */
import type { DatabaseSync } from 'node:sqlite'
import { counterStatement, restoreChanges } from './counters.ts'
import { CAPTURED_FUNCTIONS } from './functions.ts'
import { words } from './lexer.ts'

/** One instruction of SQLite's virtual machine (https://sqlite.org/opcode.html). */
export interface Instruction {
  readonly address: number
  readonly opcode: string
  readonly p1: number
  readonly p2: number
  readonly p3: number
  readonly p4: string
  readonly p5: number
}

/** The program of the statement, then those of its triggers and foreign-key actions. */
export type Programs = readonly (readonly Instruction[])[]

/** Compiles `sql`, one statement, without running it. `changes()` stays as it is where the statement asks for it. */
export function explain(database: DatabaseSync, sql: string): Programs {
  const { changes } = counterStatement(database).run()
  const programs = programsOf(database, sql)
  const asks = programs.some((program) => program.some(({ p4 }) => p4 === 'changes(0)'))
  if (asks && changes !== 0n) restoreChanges(database, BigInt(changes))
  return programs
}

function programsOf(database: DatabaseSync, sql: string): Programs {
  const start = words(sql)[0]?.start ?? 0
  const statement = database.prepare(`explain ${sql.slice(start)}`)
  statement.setReturnArrays(true)
  const rows = statement.all() as unknown as [number, string, number, number, number, string | null, number][]
  const programs: Instruction[][] = []
  for (const [address, opcode, p1, p2, p3, p4, p5] of rows) {
    if (address === 0) programs.push([])
    programs.at(-1)?.push({ address, opcode, p1, p2, p3, p4: p4 ?? '', p5: p5 ?? 0 })
  }
  return programs
}

const DATES: ReadonlySet<string> = new Set(
  CAPTURED_FUNCTIONS.filter(({ kind }) => kind === 'date').map(({ name }) => name),
)

/** Date functions that a program calls where SQLite allows none that looks at the clock. */
export function pureDates(programs: Programs): ReadonlySet<string> {
  const names = new Set<string>()
  for (const program of programs) {
    for (const { opcode, p4 } of program) {
      if (opcode !== 'PureFunc') continue
      const name = functionName(p4)
      if (DATES.has(name)) names.add(name)
    }
  }
  return names
}

/** Likewise, for a statement; none when it cannot be explained. */
export function datesInProgram(database: DatabaseSync, sql: string): ReadonlySet<string> {
  try {
    return pureDates(explain(database, sql))
  } catch {
    // A statement that begins with EXPLAIN calls nothing.
    return new Set()
  }
}

/** `date` of `date(-1)`. */
export function functionName(p4: string): string {
  return p4.slice(0, p4.lastIndexOf('(')).toLowerCase()
}
