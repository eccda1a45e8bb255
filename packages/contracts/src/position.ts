/**
 * Positions: where a record stands in a cluster's history.
 *
 * An LSN numbers the records of a log without gaps, from 1. It is a safe integer (< 2^53). 0 stands for "before the
 * first record". An epoch numbers the stretches of leading; each start of leading, a restart included, begins a new one.
 */

/** Number of a record in the log, from 1, without gaps. 0 is the place before the first record. */
export type Lsn = number

/** A record's place: the epoch that wrote it, its number. Written `3/1042`. */
export interface Position {
  readonly epoch: number
  readonly lsn: Lsn
}

/** A position together with the CRC-32 of the record that stands there: two histories that agree on it agree on all before. */
export interface LogPoint extends Position {
  /** CRC-32 of the record at `lsn` as it stands in its header; 0 when `lsn` is 0. */
  readonly crc: number
}

/** One stretch of leading. Equal numbers with different run ids are a fork. */
export interface EpochEntry {
  /** From 1, strictly growing within a history. */
  readonly number: number
  /** 64 random bits as 16 lower-case hexadecimal digits. */
  readonly runId: string
  /** Name of the node that led: an epoch begun by the same node is a restart, by another a promotion. */
  readonly leader: string
  /** LSN of the epoch's first record, its no-op. */
  readonly firstLsn: Lsn
  /** CRC-32 of the record before `firstLsn`; 0 when there is none. */
  readonly crcBefore: number
}

/** Names one stretch of leading among all that ever were. */
export type EpochStamp = Pick<EpochEntry, 'number' | 'runId'>

/** What tells the record at a position from another one with its number, in whatever history. */
export interface PositionProof {
  /** CRC-32 of the record. */
  readonly crc: number
  /** Run id of its epoch. */
  readonly runId: string
}

/** Every epoch of a log, oldest first. Tiny, so it is kept whole for ever. */
export type EpochHistory = readonly EpochEntry[]

/** The place before the first record of any history. */
export const ORIGIN: LogPoint = Object.freeze({ epoch: 0, lsn: 0, crc: 0 })

/** `3/1042`. */
export function formatPosition(position: Position): string {
  return `${position.epoch}/${position.lsn}`
}

/** Reads what `formatPosition` wrote; `undefined` for anything else. */
export function parsePosition(text: string): Position | undefined {
  const match = /^(\d{1,15})\/(\d{1,15})$/.exec(text)
  return match === null ? undefined : { epoch: Number(match[1]), lsn: Number(match[2]) }
}

/** Negative, zero or positive as `a` stands before, at or after `b`; only meaningful within one history. */
export function comparePositions(a: Position, b: Position): number {
  return a.epoch - b.epoch || a.lsn - b.lsn
}

/** The epoch entry that wrote `lsn`, by the history; `undefined` when `lsn` stands before the first entry. */
export function epochAt(history: EpochHistory, lsn: Lsn): EpochEntry | undefined {
  return history.findLast((entry) => entry.firstLsn <= lsn)
}
