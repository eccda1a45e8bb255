/** Large transactions: 100,000 rows inserted one by one, and one UPDATE that touches 100,000 rows. */
import { INSERT_ROW, kvRow, kvRows, kvSchema, kvValues } from './key-value.ts'
import { write, type Workload } from './workload.ts'

/** Rows of one transaction, or all of the table where it has fewer. */
export const LARGE_ROWS = 100_000
const QUICK_ROWS = 10_000

export const transaction: Workload = {
  name: 'transaction',
  title: 'one transaction that inserts as many rows as --rows says, one by one (default 100,000)',
  rowsDefault: LARGE_ROWS,
  rowsQuick: QUICK_ROWS,
  operationsMax: 3,
  schema: kvSchema,
  rows: () => [],
  start: ({ rows, load }) => {
    const values = kvValues()
    let made = 0
    return {
      next: () => {
        const from = made
        made += rows
        const many = Array.from({ length: rows }, (_, at) => kvRow(from + at, values, `${load}-${from + at}`))
        return { name: 'transaction', steps: [write({ sql: INSERT_ROW, many })] }
      },
    }
  },
}

export const updateMany: Workload = {
  name: 'update-many',
  title: 'one UPDATE that touches every row (default 100,000)',
  rowsDefault: LARGE_ROWS,
  rowsQuick: QUICK_ROWS,
  operationsMax: 3,
  schema: kvSchema,
  rows: ({ rows }) => kvRows(rows),
  start: ({ rows }) => ({
    next: () => ({
      name: 'update',
      steps: [write({ sql: 'update kv set n = n + 1 where id <= ?', params: [rows] })],
    }),
  }),
}
