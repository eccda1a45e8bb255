/** What the commands print, and what they read: tables and lines for people, JSON for machines, lists and numbers. */
import Table from 'cli-table3'
import { InvalidArgumentError } from 'commander'
import pc from 'picocolors'

/** Where a command's text goes; tests hand in their own. */
export interface Output {
  out(line: string): void
  error(line: string): void
}

/** What every command gets. */
export interface BenchContext {
  readonly output: Output
  /** The words of the command line, for the report. */
  readonly words: readonly string[]
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

/** A table with a heading line, columns as wide as they need to be. Numbers stand at the right where `numeric` says so. */
export function table(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
  numeric: readonly boolean[] = [],
): string {
  const style = { head: [], border: [], 'padding-left': 0, 'padding-right': 0 }
  const colAligns = head.map((_, index) => (numeric[index] === true ? ('right' as const) : ('left' as const)))
  const drawn = new Table({ head: head.map((title) => pc.bold(title)), chars: PLAIN, style, colAligns })
  for (const row of rows) drawn.push(row.map(String))
  return drawn
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

/** One line. */
export function json(value: unknown): string {
  return JSON.stringify(value)
}

/** Names by commas; an option that is given again adds to them. */
export function names(list: string, before: readonly string[] = []): string[] {
  return [...before, ...list.split(',').map((name) => name.trim())]
}

/** Whole numbers by commas. */
export function counts(list: string, before: readonly number[] = []): number[] {
  const found = list.split(',').map(Number)
  if (found.some((value) => !Number.isSafeInteger(value) || value <= 0))
    throw new InvalidArgumentError('give positive whole numbers, by commas.')
  return [...before, ...found]
}

/** Numbers from 0 by commas. */
export function numbers(list: string, before: readonly number[] = []): number[] {
  const found = list.split(',').map(Number)
  if (found.some((value) => !(value >= 0))) throw new InvalidArgumentError('give numbers from 0, by commas.')
  return [...before, ...found]
}
