/** Every option of the log with its default and range, in one place. */
import { UnderstudyError, type Clock, type Files, type Lsn, type Random } from '@understudy/contracts'

export interface LogOptions {
  /** Holds the log and nothing else; made when missing. Who else uses it is the caller's to exclude. */
  readonly directory: string
  /** Default `nodeFiles()`. */
  readonly files?: Files
  /** Paces the preparation of the next segment. Default: real timers. */
  readonly clock?: Clock
  /** Salts of segments. Default: the system's random generator. */
  readonly random?: Random
  /** Size of a segment file, head included. 8 KiB to 1 GiB, default 16 MiB. A larger append gets a larger file of its own. */
  readonly segmentBytes?: number
  /** Encoded records kept in memory, so that reading at the tail reads no file. Default 4 MiB. */
  readonly tailCacheBytes?: number
  /** A slot that holds back more than this no longer does, and is lost once `collect` removed its records. Default 16 GiB. */
  readonly slotBytesMax?: number
  /** A slot that holds back more than this is `extended`, at most this `reserved`. Default 1 GiB, or `slotBytesMax` when that is less. */
  readonly slotBytesNormal?: number
  /** Everything up to here is known from elsewhere (the position row of the database) to have been synced. Default 0. */
  readonly knownDurable?: Lsn
}

export const SEGMENT_BYTES_MIN: number = 8 * 1024
export const SEGMENT_BYTES_MAX: number = 2 ** 30
export const SEGMENT_BYTES_DEFAULT: number = 16 * 1024 * 1024
export const TAIL_CACHE_BYTES_DEFAULT: number = 4 * 1024 * 1024
export const SLOT_BYTES_MAX_DEFAULT: number = 16 * 2 ** 30
export const SLOT_BYTES_NORMAL_DEFAULT: number = 2 ** 30
export const READ_BYTES_DEFAULT: number = 256 * 1024

/** Sizes with defaults applied. */
export interface Sizes {
  readonly segmentBytes: number
  readonly tailCacheBytes: number
  readonly slotBytesMax: number
  readonly slotBytesNormal: number
  readonly knownDurable: Lsn
}

/** Applies defaults. Throws `INVALID_ARGUMENT`. */
export function sizesOf(options: LogOptions): Sizes {
  const slotBytesMax = within('slotBytesMax', options.slotBytesMax ?? SLOT_BYTES_MAX_DEFAULT, 0)
  const normal = options.slotBytesNormal ?? Math.min(SLOT_BYTES_NORMAL_DEFAULT, slotBytesMax)
  return {
    segmentBytes: within(
      'segmentBytes',
      options.segmentBytes ?? SEGMENT_BYTES_DEFAULT,
      SEGMENT_BYTES_MIN,
      SEGMENT_BYTES_MAX,
    ),
    tailCacheBytes: within('tailCacheBytes', options.tailCacheBytes ?? TAIL_CACHE_BYTES_DEFAULT, 0),
    slotBytesMax,
    slotBytesNormal: within('slotBytesNormal', normal, 0, slotBytesMax),
    knownDurable: within('knownDurable', options.knownDurable ?? 0, 0),
  }
}

/** `value` when it is an integer in the range. Throws `INVALID_ARGUMENT`. */
export function within(
  name: string,
  value: number,
  min: number,
  max: number = Number.MAX_SAFE_INTEGER,
): number {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `${name} is ${value}; it must be an integer from ${min} to ${max}. Nothing changed.`,
    { name, value, min, max },
  )
}
