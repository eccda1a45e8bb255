/** How rows that differ look to a person. */
import pc from 'picocolors'
import type { DifferingRow, OneSide, RowComparison, RowsProgress } from '@understudy/client'
import type { Output } from './output.ts'

const VALUE_LENGTH_MAX = 60

/** Under each table: rows only on the leader with a minus, rows only on the node with a plus. */
export function showDifferences(differences: readonly RowComparison[], output: Output): void {
  for (const each of differences) {
    const { table, node, key, columns, onlyLeader, onlyNode, complete } = each
    const least = complete ? '' : 'at least '
    const by = key.length === 0 ? 'whole rows, there is no key' : `by ${key.join(', ')}`
    output.out(
      `${pc.bold(table)} on ${node} (${by}): ${least}${onlyLeader.count} rows only on the leader, ${least}${onlyNode.count} only on ${node}`,
    )
    showSide(onlyLeader, columns, (line) => output.out(pc.red(`  - ${line}`)))
    showSide(onlyNode, columns, (line) => output.out(pc.green(`  + ${line}`)))
  }
}

function showSide({ count, rows }: OneSide, columns: readonly string[], line: (text: string) => void): void {
  for (const row of rows) line(describeRow(row, columns))
  if (count > rows.length) line(`and ${count - rows.length} more`)
}

function describeRow({ types, values }: DifferingRow, columns: readonly string[]): string {
  return values
    .map((value, index) => `${columns[index] ?? index + 1}=${describeValue(types[index], value)}`)
    .join(' ')
}

/** Types can be seen: 1, 1.0, '1', x'31' and null. */
function describeValue(type: string | undefined, value: DifferingRow['values'][number]): string {
  if (value === null) return 'null'
  if (value instanceof Uint8Array)
    return `x'${cut(Buffer.from(value.subarray(0, VALUE_LENGTH_MAX)).toString('hex'))}'`
  if (typeof value === 'string') return cut(JSON.stringify(value))
  const text = Object.is(value, -0) ? '-0' : String(value)
  return type === 'r' && /^-?\d+$/.test(text) ? `${text}.0` : text
}

function cut(text: string): string {
  return text.length > VALUE_LENGTH_MAX ? `${text.slice(0, VALUE_LENGTH_MAX)}…` : text
}

/** A line that moves, where lines can. */
export function rowsProgress({ terminal }: Output): {
  readonly show: (progress: RowsProgress) => void
  readonly end: () => void
} {
  let isShown = false
  return {
    show: ({ table, node, rows }) => {
      isShown = terminal !== undefined
      terminal?.write(`\r\u001B[Kcomparing ${table} on ${node}: ${rows} rows read`)
    },
    end: () => {
      if (isShown) terminal?.write('\r\u001B[K')
    },
  }
}
