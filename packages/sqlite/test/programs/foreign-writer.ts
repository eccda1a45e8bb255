/**
 * Another, unmodified program: writes transactions to a database, with SQLite's own checkpoints, VACUUM, attempts to empty the
 * log, and connections that come and go. Arguments: the path, how many transactions. Prints how many attempts emptied the log.
 */
import { DatabaseSync } from 'node:sqlite'

const [path, times] = process.argv.slice(2) as [string, string]
const open = (): DatabaseSync => {
  const opened = new DatabaseSync(path, { timeout: 5000 })
  opened.exec('pragma wal_autocheckpoint = 20; pragma synchronous = normal')
  return opened
}
let database = open()
let emptied = 0
const pause = new Int32Array(new SharedArrayBuffer(4))
for (let count = 1; count <= Number(times); count++) {
  database.exec(`begin immediate; insert into t (v) values (randomblob(2000));
    update t set v = randomblob(1500) where id % 11 = ${count % 11}; commit`)
  // Between two transactions an application does something else as well; without a pause SQLite lets nobody else write.
  Atomics.wait(pause, 0, 0, 1)
  if (count % 40 === 0) {
    database.exec('pragma busy_timeout = 0')
    emptied += database.prepare('pragma wal_checkpoint(truncate)').get()?.['busy'] === 0 ? 1 : 0
    database.exec('pragma busy_timeout = 5000')
  }
  if (count % 50 === 0) database.exec('delete from t where id % 2 = 0; vacuum')
  if (count % 30 === 0) database.exec('pragma wal_checkpoint(passive)')
  if (count % 25 === 0) {
    database.close()
    database = open()
  }
}
database.exec(`create table done (n); insert into done values (${times})`)
database.close()
process.stdout.write(JSON.stringify({ emptied }))
