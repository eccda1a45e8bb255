/**
 * The exclusive right to a directory, held by a lock of SQLite on a file `lock` in it.
 *
 * Decides: who has the directory. A crash gives it back, because the operating system drops the locks of a dead process.
 * The file itself stays: to remove it would let two holders lock two files of one name. Nobody else may open it: closing
 * any descriptor of it would drop the lock.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { UnderstudyError, systemClock, type Timer } from '@understudy/contracts'
import { isSqlite, openFailure, SQLITE_CODES } from './errors.ts'
import { openHardened } from './hardened-connection.ts'

/** As long as a timer can be. */
const HOLD_MS = 2 ** 31 - 1

/** The right to a directory, until released; also when nobody refers to it. */
export interface DirectoryLock extends Disposable {
  readonly directory: string
  /** No effect when released already. */
  release(): void
}

/** Takes `directory` (made when missing) for this holder alone. Throws `DIRECTORY_LOCKED`, `READ_ONLY_DISK` or `DISK_FULL`. */
export function lockDirectory(directory: string): DirectoryLock {
  const path = join(directory, 'lock')
  let database: DatabaseSync | undefined
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    database = openHardened(path, { trust: 'own' })
    database.exec('pragma locking_mode = exclusive; begin exclusive')
  } catch (error) {
    if (database?.isOpen) database.close()
    if (!isSqlite(error, SQLITE_CODES.BUSY)) throw openFailure(path, error)
    throw new UnderstudyError(
      'DIRECTORY_LOCKED',
      `Another process, or another node of this process, uses ${directory}. Nothing was opened. Stop it, or choose another directory.`,
      { cause: error, directory },
    )
  }
  const held = database
  const clock = systemClock({ background: true })
  // Node closes a database that nobody refers to any more, and the lock with it: a timer refers to it until the release.
  const hold = (): Timer =>
    clock.schedule(HOLD_MS, () => {
      if (held.isOpen) timer = hold()
    })
  let timer = hold()
  const release = (): void => {
    timer.cancel()
    if (held.isOpen) held.close()
  }
  return { directory, release, [Symbol.dispose]: release }
}
