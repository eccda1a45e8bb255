/** Single-row inserts: 100 bytes in a text, a transaction each. */
import { INSERT_ROW, kvRow, kvRows, kvSchema, kvValues } from './key-value.ts'
import { write, type Workload } from './workload.ts'

export const inserts: Workload = {
  name: 'inserts',
  title: 'one row of about 130 bytes in each transaction',
  rowsDefault: 0,
  rowsQuick: 0,
  schema: kvSchema,
  rows: ({ rows }) => kvRows(rows),
  start: ({ load }) => {
    const values = kvValues()
    let at = 0
    return {
      next: () => {
        const key = `${load}-${at}`
        const params = kvRow(at++, values, key)
        return {
          name: 'insert',
          steps: [write({ sql: INSERT_ROW, params })],
          keyValue: { put: { key, value: params[1] as string } },
        }
      },
    }
  },
}
