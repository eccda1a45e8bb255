/** Results of a matrix as a table in the terminal. */
import { columnsOf } from '../report/columns.ts'
import { rowsOf } from '../report/rows.ts'
import type { Results } from '../matrix/results.ts'
import { table } from './output.ts'

export function showResults(results: Results, say: (line: string) => void): void {
  const rows = rowsOf(results)
  const columns = columnsOf(rows)
  say(
    table(
      columns.map(({ head }) => head),
      rows.map((row) => columns.map((column) => column.value(row))),
      columns.map(({ isText }) => isText !== true),
    ),
  )
  for (const [name, { missing }] of Object.entries(results.subjects))
    if (missing !== undefined) say(`left out: ${name}, ${missing}`)
  for (const { key, skipped } of results.cells) if (skipped !== undefined) say(`left out: ${key}, ${skipped}`)
}
