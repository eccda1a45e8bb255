/** Resident memory that is in use, not what waits to be collected or given back. */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const COLLECTIONS = 6
const PAUSE_MS = 50

/**
 * Bytes of anonymous resident memory: pages of programs, which come in when they are first run, are not in it. Nor is the
 * young generation of V8's heap: it is empty then, and its room (up to 16 MiB) follows the rate of allocation of
 * before, not what is kept.
 *
 * Collects all garbage some times, because finalizers let go of more, and takes the least: pages that became free are
 * given back by other threads, which need their time. Linux only.
 */
export async function memoryAfterCollection(): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  let least = Infinity
  for (let time = 0; time < COLLECTIONS; time++) {
    collect()
    await delay(PAUSE_MS)
    least = Math.min(least, anonymousBytes() - youngBytes())
  }
  return least
}

function anonymousBytes(): number {
  const kibibytes = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  return Number(kibibytes) * 1024
}

function youngBytes(): number {
  const young = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')
  return young?.physical_space_size ?? 0
}
