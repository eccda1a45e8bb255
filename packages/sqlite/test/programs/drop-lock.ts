/** Takes a lock, drops what it got, collects garbage, and says whether the directory is still locked. Needs --expose-gc. */
import { setTimeout } from 'node:timers/promises'
import { lockDirectory } from '@understudy/sqlite'

const { gc } = globalThis as { gc?: () => void }
if (gc === undefined) throw new Error('run with --expose-gc')
const directory = String(process.argv[2])
lockDirectory(directory)
for (let round = 0; round < 3; round++) {
  // Objects of this turn may still be on the stack.
  await setTimeout(1)
  gc()
}
try {
  lockDirectory(directory).release()
  process.stdout.write('lost')
} catch {
  process.stdout.write('held')
}
