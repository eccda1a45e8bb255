/** The errors of the log that are raised in more than one place, so that their wording and details agree. */
import { isUnderstudyError, UnderstudyError, type Files, type Lsn } from '@understudy/contracts'

/** `LOG_CORRUPT`: damage at or below a point known to have been synced. `details`: `segment`, `offset`, `lsn`. */
export function corrupt(segment: string, offset: number, lsn: Lsn, what: string): UnderstudyError {
  return new UnderstudyError(
    'LOG_CORRUPT',
    `Segment ${segment} is damaged at offset ${offset}, at record ${lsn}: ${what}. This part had been synced, so it is ` +
      'no torn tail. The file was kept as it is. Refill the log from a peer, or bootstrap this node again.',
    { segment, offset, lsn },
  )
}

/** `LOG_FAILED`, wrapping what the disk said; an error that is one already stays the same. */
export function logFailed(doing: string, cause: unknown): UnderstudyError {
  if (isUnderstudyError(cause, 'LOG_FAILED')) return cause
  return new UnderstudyError(
    'LOG_FAILED',
    `The log failed while ${doing}; it takes no further records. What was reported durable is kept. ` +
      'Check the disk, then open the log anew: that keeps every record that reached the disk.',
    { cause, doing },
  )
}

/** `LOG_TRUNCATED`: the log does not reach back to `lsn`. */
export function truncated(lsn: Lsn, first: Lsn): UnderstudyError {
  return new UnderstudyError(
    'LOG_TRUNCATED',
    `Record ${lsn} is below ${first}, the oldest that the log still holds. Nothing changed. Bootstrap whoever needs it.`,
    { lsn, first },
  )
}

/** `EPOCH_STALE`: an epoch begins with a number above all before it. */
export function staleEpoch(number: number, last: number): UnderstudyError {
  return new UnderstudyError(
    'EPOCH_STALE',
    `An epoch ${number} cannot begin after epoch ${last}: numbers only go up. Nothing was appended.`,
    { epoch: last },
  )
}

/**
 * Gives a synced file its final name, durably. Once begun there is no way back: any error, a full disk too, leaves open
 * which name the disk will show, so it is `LOG_FAILED`.
 */
export function nameDurably(files: Files, from: string, to: string, directory: string): void {
  try {
    files.rename(from, to)
    files.syncDirectory(directory)
  } catch (error) {
    throw logFailed(`naming ${to}`, error)
  }
}
