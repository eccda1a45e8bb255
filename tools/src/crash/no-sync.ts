/**
 * A mutant, not a mode: loaded with `--import`, it makes every fdatasync of Node's own file functions do nothing, which
 * are the syncs of the replication log. SQLite's syncs stay. The control of the power-loss test must lose data with it.
 */
import fs from 'node:fs'

fs.fdatasyncSync = () => {}
Object.assign(fs, {
  fdatasync: (_descriptor: number, done: (error: Error | null) => void) => setImmediate(done, null),
})
