/**
 * What a clean close remembers of the database file, so that a change made while the node was down is noticed.
 *
 * Decides: whether the file is the one that was closed. Leaves to others: changes while the node runs (`writer.ts`).
 *
 * 1. Only a clean close writes the state file, after the last connection is closed, and only when SQLite removed the
 *    log file, because no other program had the database open. After a crash nothing is known, and nothing is claimed.
 * 2. The state file is removed, durably, before the database is opened: it never speaks of an older close.
 * 3. A false alarm is worse than a missed one here: a file that was copied, restored or replaced (another inode or time
 *    of birth) is not judged; the log's own checks tell whether its position is right.
 * 4. Files are only looked at by name, never opened.
 */
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { UnderstudyError } from '@understudy/contracts'
import { openFailure } from './errors.ts'

const SUFFIX = '.closed'
const VERSION = 1

interface ClosedState {
  readonly version: number
  readonly inode: string
  readonly bornNs: string
  readonly bytes: string
  readonly changedNs: string
}

/** Notes how the file looks now. Best effort: without the note the next open knows less, and nothing else. */
export function rememberClosed(path: string): void {
  if (statSync(`${path}-wal`, { throwIfNoEntry: false }) !== undefined) return
  const state = look(path)
  if (state === undefined) return
  try {
    rmSync(`${path}${SUFFIX}.new`, { force: true })
    writeFileSync(`${path}${SUFFIX}.new`, JSON.stringify(state), { mode: 0o600, flag: 'wx' })
    renameSync(`${path}${SUFFIX}.new`, `${path}${SUFFIX}`)
  } catch {
    rmSync(`${path}${SUFFIX}.new`, { force: true })
  }
}

/** Throws `FOREIGN_WRITE` when the file changed since the clean close that the state file speaks of; else forgets it. */
export function checkClosed(path: string): void {
  const before = readState(path)
  if (before === undefined) return
  const now = look(path)
  const same = now !== undefined && now.inode === before.inode && now.bornNs === before.bornNs
  const changed = same && (now.bytes !== before.bytes || now.changedNs !== before.changedNs)
  const log = statSync(`${path}-wal`, { throwIfNoEntry: false })
  if (same && (changed || (log !== undefined && log.size > 0)))
    throw new UnderstudyError(
      'FOREIGN_WRITE',
      `${path} was changed while its node was down. Nothing was opened; the file was kept as it is. Put back the file ` +
        `as the node left it. Or keep the change: on a leader, start a new cluster from this file (import it) and let ` +
        `the followers bootstrap; on a follower, delete its directory and let it bootstrap.`,
      { path },
    )
  forget(path)
}

function readState(path: string): ClosedState | undefined {
  try {
    const state = JSON.parse(readFileSync(`${path}${SUFFIX}`, 'utf8')) as ClosedState
    return state.version === VERSION ? state : undefined
  } catch {
    // Missing, or cut by a power loss: the same as after a crash.
    return undefined
  }
}

/** Removes what an earlier close remembered: of a shared database nothing is claimed. */
export function forgetClosed(path: string): void {
  if (readState(path) !== undefined) forget(path)
}

function forget(path: string): void {
  try {
    // Not rmSync, whose error says nothing of a read-only file system but its text.
    unlinkSync(`${path}${SUFFIX}`)
    const directory = openSync(dirname(path), 'r')
    try {
      fsyncSync(directory)
    } finally {
      closeSync(directory)
    }
  } catch (error) {
    throw openFailure(path, error)
  }
}

function look(path: string): ClosedState | undefined {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false })
  if (stats === undefined) return undefined
  return {
    version: VERSION,
    inode: String(stats.ino),
    bornNs: String(stats.birthtimeNs),
    bytes: String(stats.size),
    changedNs: String(stats.mtimeNs),
  }
}
