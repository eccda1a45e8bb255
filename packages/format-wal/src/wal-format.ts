/** The wal format as a value. */
import type { Applier, LogFormat, Recorder, SqliteConnection } from '@understudy/contracts'
import { PageApplier } from './applier.ts'
import { COMPRESS_FROM_BYTES, PLAIN_BYTES_MAX } from './compression.ts'
import { describePayload, type DescribedPayload } from './describe.ts'
import { invalidArgument } from './errors.ts'
import { fingerprintOf, refusalOf } from './fingerprint.ts'
import type { EncoderOptions } from './page-encoder.ts'
import { PAYLOAD_VERSION } from './payload.ts'
import { PageRecorder } from './recorder.ts'

export interface WalFormatOptions {
  /** `zstd` (default): payloads from 1 KiB on are compressed when that makes them smaller. `none`: never. */
  readonly compress?: 'zstd' | 'none'
  /**
   * Part of a page, 0 to 1. Changes that take more than it are compared with the whole page, and the shorter one
   * travels. Default 0.75.
   */
  readonly wholePageAbove?: number
  /** Bytes of the largest payload before compression; a larger transaction makes followers take a delta of pages. Default 512 MiB, at most 1 GiB. */
  readonly payloadBytesMax?: number
}

/** The wal format. Its optional members are always there and typed. */
export interface WalFormat extends LogFormat<SqliteConnection> {
  readonly physical: true
  recorder(connection: SqliteConnection): Recorder & Required<Pick<Recorder, 'changed' | 'base' | 'recover'>>
  applier(connection: SqliteConnection): Applier & Required<Pick<Applier, 'holds'>>
  describe(payload: Uint8Array): DescribedPayload
  fingerprint(connection: SqliteConnection): string
  accepts(own: string, theirs: string): string | undefined
}

/** Pages of the database file, as changes against their previous images. */
export function walFormat(options: WalFormatOptions = {}): WalFormat {
  const encoder = withDefaults(options)
  return {
    id: 3,
    name: 'wal',
    version: PAYLOAD_VERSION,
    physical: true,
    recorder: (connection) => new PageRecorder(connection, encoder),
    applier: (connection) => new PageApplier(connection),
    describe: describePayload,
    fingerprint: fingerprintOf,
    accepts: refusalOf,
  }
}

function withDefaults(options: WalFormatOptions): EncoderOptions {
  const { compress = 'zstd', wholePageAbove = 0.75, payloadBytesMax = 512 * 1024 ** 2 } = options
  if (compress !== 'zstd' && compress !== 'none')
    throw invalidArgument(`compress is "${String(compress)}"; it must be "zstd" or "none".`)
  if (!(wholePageAbove >= 0 && wholePageAbove <= 1))
    throw invalidArgument(`wholePageAbove is ${wholePageAbove}; it must be from 0 to 1.`)
  if (!(payloadBytesMax >= 1 && payloadBytesMax <= PLAIN_BYTES_MAX))
    throw invalidArgument(`payloadBytesMax is ${payloadBytesMax}; it must be from 1 to ${PLAIN_BYTES_MAX}.`)
  return {
    wholePageAbove,
    payloadBytesMax,
    compressFromBytes: compress === 'zstd' ? COMPRESS_FROM_BYTES : Number.POSITIVE_INFINITY,
  }
}
