/** Updates of one row by its key, each key as likely as the others, on a table of a million rows. */
import { kvRows, kvSchema, kvValues } from './key-value.ts'
import { below } from './random.ts'
import { write, type Workload } from './workload.ts'

const UPDATE = 'update kv set v = ?, n = n + 1 where id = ?'

export const updates: Workload = {
  name: 'updates',
  title: 'one row by its key in each transaction, uniformly chosen',
  rowsDefault: 1_000_000,
  rowsQuick: 20_000,
  schema: kvSchema,
  rows: ({ rows }) => kvRows(rows),
  start: ({ random, rows }) => {
    const values = kvValues()
    return {
      next: () => {
        const id = 1 + below(random, rows)
        const value = values[below(random, values.length)] as string
        return {
          name: 'update',
          steps: [write({ sql: UPDATE, params: [value, id] })],
          keyValue: { put: { key: `key-${id - 1}`, value } },
        }
      },
    }
  },
}
