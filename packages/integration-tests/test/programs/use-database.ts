/** Opens a database file as a stranger does: `node use-database.ts <file> <sql> [hold]`; with `hold` keeps it open until killed. */
import { DatabaseSync } from 'node:sqlite'

const [file = '', sql = '', hold] = process.argv.slice(2)
const database = new DatabaseSync(file, { timeout: 5000 })
database.exec(sql)
process.stdout.write('done\n')
if (hold === 'hold') setInterval(() => {}, 1000)
else database.close()
