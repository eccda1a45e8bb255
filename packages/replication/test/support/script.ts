/**
 * Scripts: a file of input lines (`> words key=value`), each followed by the whole output that it must cause. A change
 * of behaviour shows as a diff of the file; `UPDATE_SCRIPTS=1` writes the files anew, for review.
 */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { UnderstudyError } from '@understudy/contracts'
import { expect, test } from 'vitest'

/** One input line: its words, and its `key=value` pairs. */
export class Command {
  readonly words: readonly string[]
  readonly values: ReadonlyMap<string, string>

  constructor(line: string) {
    const tokens = line.match(/[^\s=]+="[^"]*"|\S+/g) ?? []
    this.words = tokens.filter((token) => !token.includes('='))
    this.values = new Map(
      tokens
        .filter((token) => token.includes('='))
        .map((token) => [
          token.slice(0, token.indexOf('=')),
          token.slice(token.indexOf('=') + 1).replaceAll('"', ''),
        ]),
    )
  }

  text(key: string, byDefault?: string): string {
    const value = this.values.get(key) ?? byDefault
    if (value === undefined) throw new Error(`${this.words.join(' ')} needs ${key}=`)
    return value
  }

  number(key: string, byDefault?: number): number {
    const value = Number(this.text(key, byDefault === undefined ? undefined : String(byDefault)))
    if (Number.isNaN(value)) throw new Error(`${key}= is no number`)
    return value
  }

  has(key: string): boolean {
    return this.values.has(key)
  }
}

/** Runs every script of a folder of test/scripts; `begin` makes the interpreter of one script: output lines of a command. */
export function testScripts(folder: string, begin: () => (command: Command) => string[]): void {
  const directory = join(import.meta.dirname, '..', 'scripts', folder)
  for (const name of readdirSync(directory).sort()) {
    test(`${folder}: ${name.replace(/\.txt$/, '').replaceAll('-', ' ')}`, () => {
      const path = join(directory, name)
      const expected = readFileSync(path, 'utf8')
      const actual = play(expected, begin())
      if (process.env['UPDATE_SCRIPTS'] === '1') writeFileSync(path, actual)
      else expect(actual).toBe(expected)
    })
  }
}

function play(script: string, run: (command: Command) => string[]): string {
  const output: string[] = []
  for (const line of script.split('\n')) {
    if (line.startsWith('#') || line === '') output.push(line)
    if (line.startsWith('> ')) output.push(line, ...run(new Command(line.slice(2))))
  }
  return `${output.join('\n').trimEnd()}\n`
}

/** An action in one line: its kind, then each field, nested ones flat; messages of errors are left out. */
export function printAction(action: object): string {
  const { kind, ...fields } = action as Record<string, unknown>
  return [String(kind), ...printFields(fields)].join(' ')
}

function printFields(fields: object): string[] {
  return Object.entries(fields).flatMap(([name, value]) => {
    if (value instanceof UnderstudyError) return [`${name}=${value.code}`]
    if (value === undefined) return []
    if (Array.isArray(value)) return value.length === 0 ? [] : [`${name}=${JSON.stringify(value)}`]
    if (typeof value === 'object' && value !== null) return printFields(value)
    return [`${name}=${String(value)}`]
  })
}
