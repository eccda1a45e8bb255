/**
 * Prints a result of any size as it comes, page by page.
 *
 * Decides: how rows look for people and for machines. Leaves to others: where they come from.
 *
 * 1. No more than a page is in memory: the next one is asked for when this one was taken by whoever reads the output.
 * 2. For people the columns are as wide as the first page needs them; a later cell that is longer moves the rest of its line.
 */
import { formatPosition, type Position } from '@understudy/contracts'
import type { RowStream } from '@understudy/client'
import type { ResultSet, Value } from '@understudy/protocol'
import { json, table, type Output } from './output.ts'

export type RowsAs = 'table' | 'json-lines'

/** Resolves with the number of rows. Rejects as the stream does, before anything was printed when its first page does not come. */
export async function printStream(
  stream: RowStream<readonly Value[]>,
  as: RowsAs,
  output: Output,
): Promise<number> {
  let widths: readonly number[] | undefined
  let count = 0
  for await (const { columns, rows } of stream.batches()) {
    if (as === 'json-lines') {
      if (widths === undefined) output.out(json({ columns }))
      for (const row of rows) output.out(json(row))
    } else if (widths === undefined) output.out(table(columns, rows.map(cellsOf)))
    else output.out(rows.map((row) => lineOf(cellsOf(row), widths ?? [])).join('\n'))
    widths ??= widthsOf(columns, rows)
    count += rows.length
    await output.taken?.()
  }
  return count
}

/** The last line of a result for machines. */
export function endLine(position: Position | undefined, more: object = {}): string {
  return json({ ok: true, ...more, ...(position && { position: formatPosition(position) }) })
}

/** A result that is here already, as lines of JSON. */
export function resultLines({ columns, rows, changes, skipped, error }: ResultSet): string[] {
  const said = { ...(skipped && { skipped }), ...(error && { error }) }
  if (columns.length === 0) return [json({ changes, ...said })]
  return [json({ columns, changes }), ...rows.map((row) => json(row))]
}

export function cellsOf(row: readonly Value[]): string[] {
  return row.map(cell)
}

function widthsOf(columns: readonly string[], rows: readonly (readonly Value[])[]): number[] {
  return columns.map((column, at) =>
    rows.reduce((most, row) => Math.max(most, cell(row[at] ?? null).length), column.length),
  )
}

function lineOf(cells: readonly string[], widths: readonly number[]): string {
  return cells
    .map((text, at) => text.padEnd(widths[at] ?? 0))
    .join('  ')
    .trimEnd()
}

function cell(value: Value): string {
  if (value === null) return 'NULL'
  if (value instanceof Uint8Array)
    return `x'${Buffer.from(value.subarray(0, 32)).toString('hex')}${value.length > 32 ? '…' : ''}'`
  return String(value)
}
