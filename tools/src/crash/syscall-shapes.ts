/** What the programs under strace write, as functions of a number: for them, and for the checks of what they left. */

export type ProgramKind = 'append' | 'rotation' | 'commit' | 'bootstrap' | 'renewal'

/** The smallest segments: a rotation every few records. */
export const LOG_SEGMENT_BYTES: number = 8 * 1024
/** Any id of a format; the log does not look into payloads. */
export const ROW_FORMAT = 3

/** Payload of the record `lsn` of the log programs. */
export function payloadOf(lsn: number): Uint8Array {
  return Buffer.from(`record ${lsn} `.padEnd(900 + (lsn % 7), 'x'))
}

/** Column `v` of row `id`. */
export function rowOf(id: number): string {
  return `row ${id} ${'y'.repeat(id % 13)}`
}
