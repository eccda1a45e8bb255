/**
 * The processors for a few processes alone, on a machine that is busy with other things: Linux's real-time scheduling
 * (SCHED_RR), which the system's own tool `chrt` gives and takes. While they run nothing else does, apart from the 5 % that Linux keeps.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { UnderstudyError } from '@understudy/contracts'

const run = promisify(execFile)
const EXCLUSIVE = ['--rr', '--pid', '1']
const ORDINARY = ['--other', '--pid', '0']

/** Runs `measure` while the processes, with all their threads, have the processors. Throws `UNSUPPORTED_RUNTIME` where that is not to be had. */
export async function exclusively<R>(pids: readonly number[], measure: () => Promise<R>): Promise<R> {
  try {
    await schedule(pids, EXCLUSIVE)
    return await measure()
  } finally {
    await schedule(pids, ORDINARY)
  }
}

async function schedule(pids: readonly number[], how: readonly string[]): Promise<void> {
  try {
    await Promise.all(pids.map((pid) => run('chrt', ['--all-tasks', ...how, String(pid)])))
  } catch (error) {
    throw new UnderstudyError(
      'UNSUPPORTED_RUNTIME',
      'The processors cannot be had exclusively: that needs Linux, the tool chrt (util-linux) and the right to real-time scheduling. Nothing was measured; leave the option out.',
      { cause: error },
    )
  }
}
