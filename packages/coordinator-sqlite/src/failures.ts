/** What errors of SQLite mean for a coordinator. */
import { UnderstudyError } from '@understudy/contracts'
import { unavailable, uncertain } from '@understudy/coordination'

/** Primary result codes of SQLite, the low byte of `errcode`. */
const BUSY = 5
const LOCKED = 6
const READONLY = 8
const IOERR = 10
const CORRUPT = 11
const FULL = 13
const NOTADB = 26

export const KIND = 'sqlite'

/** The primary result code; undefined: not an error of SQLite. */
function codeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error)) return undefined
  return typeof error.errcode === 'number' ? error.errcode & 0xff : undefined
}

/** Somebody else has the lock at the moment: it is tried again. */
export function isBusy(error: unknown): boolean {
  const code = codeOf(error)
  return code === BUSY || code === LOCKED
}

/** The disk may hold something else than SQLite believes: this connection must not be used any more. */
export function isFatal(error: unknown): boolean {
  return codeOf(error) === IOERR
}

/** `committing`: it came from COMMIT, after which a failed write or sync leaves it open what is there. */
export function understood(error: unknown, path: string, committing: boolean): unknown {
  const code = codeOf(error)
  if (code === undefined) return error
  if (code === CORRUPT || code === NOTADB)
    return new UnderstudyError(
      'STATE_CORRUPT',
      `${path} is damaged, or is no SQLite database. It was left as it is; stop all nodes of the cluster, move it away, and promote one by hand.`,
      { cause: error },
    )
  if (code === FULL) return unavailable(KIND, `no space is left for ${path}; make some`, error)
  if (code === READONLY)
    return unavailable(KIND, `${path} cannot be written; check its mode and mount`, error)
  const message = error instanceof Error ? error.message : String(error)
  if (committing) return uncertain(KIND, `${path}: ${message}`, error)
  return unavailable(KIND, `${path}: ${message}`, error)
}

export function unsuitable(why: string, advice: string): UnderstudyError {
  return new UnderstudyError('COORDINATOR_UNSUITABLE', `${why}. Nothing was changed; ${advice}.`)
}
