/**
 * What every `LogFormat` of SQLite must carry. Call `logFormatSuite` from a test file.
 *
 * For each feature a leader runs groups of writes; their records go to a follower, and to a copy of the leader from
 * before (its own redo after a crash). All three must end alike, before and after triggers are restored, and the
 * follower must be able to lead: what it then writes must reach the copy. Where the format undoes payloads, each is undone
 * on another copy, one by one and all the way back. Files of a physical format must end equal byte
 * for byte, too.
 */
import type { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, it } from 'vitest'
import type { LogFormat, SqliteConnection, Storage } from '@understudy/contracts'
import { Bench } from './log-format/bench.ts'
import { FEATURES } from './log-format/features.ts'
import { physicalTests } from './log-format/physical.ts'
import { REFUSALS } from './log-format/refusals.ts'
import type { LogFormatSupport } from './log-format/types.ts'

export type { Feature, FeatureWrite, LogFormatSupport, Refusal } from './log-format/types.ts'

export interface LogFormatSuiteOptions {
  /** A comma separates the format from the variant of it: the README's table has a column for each format. */
  readonly name: string
  readonly format: LogFormat<SqliteConnection>
  /** Opens the storage whose database file is at `path`; makes it when missing. */
  openStorage(path: string, setup?: (database: DatabaseSync) => void): Storage<SqliteConnection>
  /** What the format cannot do by nature, as false. Default everything; `equalFiles` when the format is physical. */
  readonly supports?: Partial<LogFormatSupport>
  /** Formats that `finishedFormat` of the recorder may name. */
  readonly others?: readonly LogFormat<SqliteConnection>[]
}

export function logFormatSuite(options: LogFormatSuiteOptions): void {
  const supports = supported(options)
  describe(`log format suite: ${options.name}`, () => {
    const bench = new Bench(options, supports)
    beforeEach(() => bench.begin())
    afterEach(() => bench.end())

    for (const feature of FEATURES) {
      if (feature.needs !== undefined && !supports[feature.needs]) continue
      it(feature.name, () => bench.carries(feature))
    }
    for (const refusal of REFUSALS) {
      if (supports[refusal.lacks]) continue
      describe(`refuses ${refusal.of} with ${refusal.code}`, () => {
        it(refusal.name, () => bench.refuses(refusal))
      })
    }
    if (options.format.physical === true) describe('physical', () => physicalTests(bench))
  })
}

function supported({ format, supports }: LogFormatSuiteOptions): LogFormatSupport {
  return {
    keylessTables: true,
    nullKeys: true,
    hiddenRowids: true,
    namedRowids: true,
    undeclaredFunctions: true,
    unorderedEffects: true,
    drawnIds: true,
    equalFiles: format.physical === true,
    ...supports,
  }
}
