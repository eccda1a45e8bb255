/** Eight reads by key for each update and each insert. */
import { INSERT_ROW, kvRow, kvRows, kvSchema, kvValues } from './key-value.ts'
import { below } from './random.ts'
import { read, write, type Workload } from './workload.ts'

const READ = 'select k, v, n from kv where id = ?'
const UPDATE = 'update kv set v = ?, n = n + 1 where id = ?'

export const mixed: Workload = {
  name: 'mixed',
  title: '80 % reads by key, 10 % updates by key, 10 % inserts',
  rowsDefault: 1_000_000,
  rowsQuick: 20_000,
  schema: kvSchema,
  rows: ({ rows }) => kvRows(rows),
  start: ({ random, rows, load }) => {
    const values = kvValues()
    let inserted = 0
    return {
      next: () => {
        const chance = below(random, 10)
        const at = below(random, rows)
        const value = values[at % values.length] as string
        if (chance < 8) return { name: 'read', steps: [read(READ, [at + 1])], keyValue: { get: `key-${at}` } }
        if (chance === 8)
          return {
            name: 'update',
            steps: [write({ sql: UPDATE, params: [value, at + 1] })],
            keyValue: { put: { key: `key-${at}`, value } },
          }
        const key = `${load}-${inserted}`
        const params = kvRow(inserted++, values, key)
        return {
          name: 'insert',
          steps: [write({ sql: INSERT_ROW, params })],
          keyValue: { put: { key, value: params[1] as string } },
        }
      },
    }
  },
}
