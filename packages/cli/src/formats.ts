/** The log formats that every node of the command line has, so that a cluster can change between them. */
import type { LogFormat, SqliteConnection } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { statementFormat, type DivergenceReport } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'

export const FORMAT_NAMES: readonly string[] = ['row', 'statement', 'wal']

/** The default first. Statements that are unsafe are logged as rows. */
/** `onDivergence` is told which rows a statement changed otherwise here than on the leader. */
export function allFormats(
  onDivergence?: (report: DivergenceReport) => void,
): [LogFormat<SqliteConnection>, LogFormat<SqliteConnection>, LogFormat<SqliteConnection>] {
  const row = rowFormat()
  return [row, statementFormat({ unsafe: 'row', row, ...(onDivergence && { onDivergence }) }), walFormat()]
}
