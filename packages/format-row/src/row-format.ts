/** The row format as a value. */
import type { LogFormat, SqliteConnection } from '@understudy/contracts'
import { UnderstudyError } from '@understudy/contracts'
import { RowApplier } from './applier.ts'
import { PayloadDecoder } from './decode.ts'
import { describePayload, type DescribedPayload } from './describe.ts'
import { inspectDatabase } from './inspect.ts'
import { PAYLOAD_VERSION } from './payload.ts'
import { RowRecorder, type Boundaries } from './recorder.ts'
import { cannotUndo } from './undo.ts'

export interface RowFormatOptions {
  /**
   * `group` (default): a payload holds the net change of a group of writes. `write`: each write has a payload of its
   * own, so that the change feed, the log tool and a lost tail tell writes apart; recording is several times slower.
   */
  readonly boundaries?: Boundaries
}

/** The row format. `describe` is always there and typed. */
export interface RowFormat extends LogFormat<SqliteConnection> {
  describe(payload: Uint8Array): DescribedPayload
  inspect(connection: SqliteConnection): void
  needsPages(payload: Uint8Array): string | undefined
}

/**
 * Logical row changes in protobuf. `recorder` may be called at any time outside a group; `applier` and its `close` only
 * outside a transaction, and no recorder of the connection may be used between the two.
 */
export function rowFormat(options: RowFormatOptions = {}): RowFormat {
  const boundaries = options.boundaries ?? 'group'
  if (boundaries !== 'group' && boundaries !== 'write') {
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `rowFormat: boundaries is "${String(boundaries)}"; it must be "group" or "write". No format was made.`,
    )
  }
  return {
    id: 1,
    name: 'row',
    version: PAYLOAD_VERSION,
    recorder: (connection, { unapplied = false } = {}) => new RowRecorder(connection, boundaries, unapplied),
    applier: (connection) => new RowApplier(connection),
    needsPages: (payload) => cannotUndo(new PayloadDecoder().decode(payload)),
    describe: describePayload,
    inspect: inspectDatabase,
  }
}
