/** The log formats that crash tests run on, by name. A name reaches the processes of the nodes by the environment. */
import type { LogFormat, SqliteConnection } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { statementFormat } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'

const VARIABLE = 'UNDERSTUDY_CRASH_FORMAT'

const FORMATS: Readonly<Record<string, () => LogFormat<SqliteConnection>>> = {
  row: () => rowFormat(),
  statement: () => statementFormat({ unsafe: 'row', row: rowFormat() }),
  wal: () => walFormat(),
}

/** Every node that is started from here on logs in this format. */
export function chooseFormat(name: string): void {
  if (FORMATS[name] === undefined)
    throw new Error(`--format ${name} is none of ${Object.keys(FORMATS).join(', ')}`)
  process.env[VARIABLE] = name
}

/** The chosen format first, then the others that its records may be in. */
function chosenFormats(): [LogFormat<SqliteConnection>, ...LogFormat<SqliteConnection>[]] {
  const name = process.env[VARIABLE] ?? 'row'
  const chosen = FORMATS[name]
  if (chosen === undefined) throw new Error(`${VARIABLE} is ${name}`)
  return [chosen(), ...(name === 'statement' ? [rowFormat()] : [])]
}

/** The chosen format as the options of a node. */
export function formatOptions(): {
  readonly format: LogFormat<SqliteConnection>
  readonly formats: readonly LogFormat<SqliteConnection>[]
} {
  const formats = chosenFormats()
  return { format: formats[0], formats }
}
