/** Resident memory that is in use, not what waits to be collected. */
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Bytes. Collects all garbage first, twice: what finalizers let go of goes in the second. */
export async function memoryAfterCollection(): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let time = 0; time < 2; time++) {
    collect()
    await turn()
  }
  return process.memoryUsage.rss()
}
