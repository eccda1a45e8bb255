/** What commands print: tables and lines for people, one JSON value per line for machines. Errors without stack traces. */
import { once } from 'node:events'
import Table from 'cli-table3'
import pc from 'picocolors'
import { formatPosition, isUnderstudyError } from '@understudy/contracts'

/** Where a command's text goes; tests hand in their own. */
export interface Output {
  out(line: string): void
  error(line: string): void
  /** Resolves when what was written is taken, so that a reader that is slow holds back who writes. */
  taken?(): Promise<void>
  /** Where lines may move; missing when the output is a file or a pipe. */
  readonly terminal?: NodeJS.WritableStream
}

export const processOutput: Output = {
  ...(process.stdout.isTTY && { terminal: process.stdout }),
  out: (line) => void process.stdout.write(`${printable(line)}\n`),
  taken: async () => {
    if (process.stdout.writableNeedDrain) await once(process.stdout, 'drain')
  },
  error: (line) => void process.stderr.write(`${printable(line)}\n`),
}

/** Colours, and every control character. */
const CONTROLS = new RegExp(String.raw`\u001b\[[\d;]*m|\p{Cc}`, 'gu')

/** Text of a peer or of a row cannot move the cursor, or do worse: of control characters only line ends, tabs and colours stay. */
export function printable(text: string): string {
  return text.replaceAll(CONTROLS, (found) =>
    found.length > 1 || found === '\n' || found === '\t' ? found : '\ufffd',
  )
}

/** Lines between rows add nothing that columns do not show. */
const PLAIN = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
}

/** A table with a heading line, columns as wide as they need to be. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const style = { head: [], border: [], 'padding-left': 0, 'padding-right': 0 }
  const drawn = new Table({ head: head.map((title) => pc.bold(title)), chars: PLAIN, style })
  for (const row of rows) drawn.push(row.map(String))
  return drawn
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

/** One line of JSON; 64-bit integers as decimal strings, bytes as hexadecimal. */
export function json(value: unknown): string {
  return JSON.stringify(value, (_key, field: unknown) => {
    if (typeof field === 'bigint') return String(field)
    if (field instanceof Uint8Array) return Buffer.from(field).toString('hex')
    return field
  })
}

/** The line that a failed command ends with: the code, what happened, what to do. */
export function describeError(error: unknown): string {
  if (isUnderstudyError(error)) return `${pc.red(error.code)} ${error.message}`
  return `${pc.red('error')} ${error instanceof Error ? error.message : String(error)}`
}

/** The same for a machine. */
export function errorJson(error: unknown): string {
  return json({ ok: false, error: errorFields(error) })
}

/** An error as plain data; one that is not of our own has no code. */
export function errorFields(error: unknown): {
  readonly code?: string
  readonly message: string
  /** The record that it is about. */
  readonly position?: string
} {
  if (isUnderstudyError(error)) {
    const { code, message, position } = error
    return { code, message, ...(position && { position: formatPosition(position) }) }
  }
  return { message: error instanceof Error ? error.message : String(error) }
}

export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  let value = count
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}
