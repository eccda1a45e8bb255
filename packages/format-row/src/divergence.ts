/** The two errors that stop a follower. */
import { UnderstudyError, type ErrorDetails } from '@understudy/contracts'

const ADVICE =
  'The caller rolls the record back, so the database stays at the position before it, and must stop applying. Find out what ' +
  'changed this database beside the log, then bootstrap the node anew.'

/** `DIVERGED`: `what` happened, in a few words. */
export function diverged(what: string, details: ErrorDetails): UnderstudyError {
  return new UnderstudyError('DIVERGED', `A row record cannot be applied: ${what}. ${ADVICE}`, details)
}

/** `SCHEMA_MISMATCH`, by the fingerprints of this database and of the record. */
export function schemaMismatch(actual: Uint8Array, expected: Uint8Array): UnderstudyError {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  return new UnderstudyError(
    'SCHEMA_MISMATCH',
    `A row record was made with schema ${hex(expected)}, and this database has ${hex(actual)}: tables, columns, keys or ` +
      `indexes differ. Nothing of the record stays applied. ${ADVICE}`,
    { actual: hex(actual), expected: hex(expected) },
  )
}
