/** Another process: runs SQL on a database and prints one JSON line with the result. Arguments: path, SQL. */
import { DatabaseSync } from 'node:sqlite'

const [path, sql] = process.argv.slice(2) as [string, string]
try {
  const database = new DatabaseSync(path, { timeout: 0 })
  database.exec(sql)
  database.close()
  process.stdout.write(JSON.stringify({ ok: true }))
} catch (error) {
  process.stdout.write(JSON.stringify({ ok: false, errcode: (error as { errcode?: number }).errcode }))
}
