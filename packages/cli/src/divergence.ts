/** What a node prints when a statement did otherwise here than on the leader. */
import pc from 'picocolors'
import type { DivergenceReport, ReportedChange } from '@understudy/format-statement'
import { json, type Output } from './output.ts'

const ROWS_SHOWN_MAX = 10
const LINE_LENGTH_MAX = 200

/** For a person the first rows of each table; as JSON all that the report holds. */
export function showDivergence(report: DivergenceReport, output: Output, asJson: boolean): void {
  if (asJson) {
    output.out(json({ kind: 'divergence', ...report }))
    return
  }
  output.out(pc.red('diverged: a record did otherwise here than on the leader; it was rolled back'))
  for (const statement of report.statements.slice(0, ROWS_SHOWN_MAX)) output.out(`  ${cut(statement)}`)
  for (const { table, leaderRows, ownRows, changes } of report.tables) {
    output.out(`  ${pc.bold(table)}: ${leaderRows} rows changed on the leader, ${ownRows} here`)
    for (const change of changes.slice(0, ROWS_SHOWN_MAX)) output.out(`    ${describe(change)}`)
    const more = ownRows - Math.min(changes.length, ROWS_SHOWN_MAX)
    if (more > 0) output.out(`    and ${more} more`)
  }
}

function describe({ operation, before, after }: ReportedChange): string {
  const row = (values: readonly unknown[]): string => json(values.map((value) => value ?? '…'))
  if (operation === 'insert') return cut(`insert ${row(after)}`)
  if (operation === 'delete') return cut(`delete ${row(before)}`)
  return cut(`update ${row(before)} to ${row(after)}`)
}

function cut(text: string): string {
  const line = text.replaceAll('\n', ' ')
  return line.length > LINE_LENGTH_MAX ? `${line.slice(0, LINE_LENGTH_MAX)}…` : line
}
