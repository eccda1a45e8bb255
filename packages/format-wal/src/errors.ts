/** What the format says when it cannot go on. */
import { UnderstudyError, type ErrorDetails } from '@understudy/contracts'

/** `RECORD_CORRUPT`: the bytes are not a payload as this format writes them. */
export function corrupt(why: string, details: ErrorDetails = {}): UnderstudyError {
  return new UnderstudyError(
    'RECORD_CORRUPT',
    `A payload of pages is damaged: ${why}. No page of it was kept. Fetch the record anew from another node; when that ` +
      `one is the same, bootstrap this node.`,
    details,
  )
}

/** `DIVERGED`: the payload is whole, and this file is not the one that it was made against. */
export function diverged(what: string, details: ErrorDetails): UnderstudyError {
  return new UnderstudyError(
    'DIVERGED',
    `A page delta on a wrong base: ${what}. The caller rolls the record back, so the database stays at the position before ` +
      `it, and must stop applying. Find out what changed this file beside the log, then let the node bootstrap: a delta of ` +
      `pages makes it equal to the leader's again.`,
    details,
  )
}

export function invalidArgument(what: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `walFormat: ${what} No format was made.`)
}
