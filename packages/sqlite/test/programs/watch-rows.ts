/**
 * Another process: reads a database again and again, and says whether a transaction ever saw rows of different values.
 * Arguments: the path, how many reads at least; it goes on until it has seen two values. Prints "ready", then at the end one JSON line.
 */
import { DatabaseSync } from 'node:sqlite'

const [path, times] = process.argv.slice(2) as [string, string]
const database = new DatabaseSync(path, { readOnly: true, timeout: 1000 })
const look = database.prepare('select count(distinct v) as kinds, count(*) as n, max(v) as v from t')
const seen = new Set<unknown>()
let torn = 0
process.stdout.write('ready\n')
for (let count = 0; count < Number(times) || seen.size < 2; count++) {
  const { kinds, n, v } = look.get() as { kinds: number; n: number; v: number }
  if (kinds !== 1 || n !== 200) torn++
  seen.add(v)
}
const { integrity_check: integrity } = database.prepare('pragma integrity_check').get() as Record<
  string,
  unknown
>
database.close()
process.stdout.write(JSON.stringify({ torn, kinds: seen.size, integrity }))
