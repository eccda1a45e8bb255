/** The log formats that are measured, by name: a name travels to another process, a format does not. */
import type { LogFormat, SqliteConnection } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { statementFormat } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'
import { exportedFactory, isPath } from './own-modules.ts'

export const FORMAT_NAMES = ['row', 'statement', 'wal'] as const
/** What a choice of them says of one that is unknown. */
export const FORMAT_KIND = { one: 'log format', many: 'Formats' } as const
export type FormatName = (typeof FORMAT_NAMES)[number]

/** With the defaults of its package. */
export function formatOf(name: FormatName = 'row'): LogFormat<SqliteConnection> {
  switch (name) {
    case 'row':
      return rowFormat()
    case 'statement':
      return statementFormat()
    case 'wal':
      return walFormat()
  }
}

/** The same, or that of a module of the user's own: it exports `format`, a function that makes one. Throws `INVALID_ARGUMENT`. */
export async function formatFrom(name: string = 'row'): Promise<LogFormat<SqliteConnection>> {
  if (!isPath(name)) return formatOf(name as FormatName)
  return (await exportedFactory(name, 'format'))() as LogFormat<SqliteConnection>
}
