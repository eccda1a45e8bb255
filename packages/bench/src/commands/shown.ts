/** What every benchmark of the command line shows: progress, the machine, figures beside their targets. */
import cliProgress from 'cli-progress'
import { meets, targetText, type FigureRule } from '../figures.ts'
import type { Machine } from '../machine.ts'
import type { Reporter } from '../scenario.ts'
import { table, type Output } from './output.ts'

/** Standard output belongs to the machine that asked for JSON. */
export function speaker(output: Output, options: { readonly json?: boolean }): Output['out'] {
  return options.json === true ? (line) => output.error(line) : (line) => output.out(line)
}

/** A bar for each scenario on a terminal, a line for each step elsewhere. */
export function reporter(say: Output['out']): Reporter {
  if (!process.stderr.isTTY) {
    let scenario = ''
    return {
      begin: (name) => void (scenario = name),
      step: (note) => say(`${scenario}: ${note}`),
      end: () => undefined,
    }
  }
  let bar: cliProgress.SingleBar | undefined
  return {
    begin: (name, steps) => {
      bar = new cliProgress.SingleBar({
        format: `${name.padEnd(10)} {bar} {value}/{total} {note}`,
        hideCursor: true,
        stream: process.stderr,
      })
      bar.start(steps, 0, { note: '' })
    },
    step: (note) => bar?.increment(1, { note }),
    end: () => bar?.stop(),
  }
}

export function showMachine(machine: Machine, say: Output['out']): void {
  say(
    `${machine.processors} × ${machine.processor}, ${machine.memoryMiB} MiB, ${machine.system}; Node ${machine.node}, SQLite ${machine.sqlite}`,
  )
  say(
    `4 KiB and fdatasync: ${machine.appendSyncsPerSecond}/s appended, ${machine.overwriteSyncsPerSecond}/s overwritten; file system ${machine.fileSystem}; load average before ${machine.loadAverage.toFixed(2)}`,
  )
}

export interface Shown {
  readonly name: string
  readonly rule: FigureRule
  readonly value: number | null
}

export function showFigures(list: readonly Shown[], say: Output['out']): void {
  const rows = list.map(({ name, rule, value }) => {
    const shown = value === null ? 'not measured' : `${value.toFixed(rule.digits)} ${rule.unit}`
    return [name, shown, targetText(rule), verdictOf(rule, value), rule.title]
  })
  say(table(['figure', 'value', 'target', '', 'what'], rows))
}

function verdictOf(rule: FigureRule, value: number | null): string {
  const isMet = value === null ? undefined : meets(rule, value)
  if (isMet === undefined) return ''
  return isMet ? 'met' : 'missed'
}

/** Three digits are more than a benchmark knows. */
export function rounded(value: unknown): unknown {
  if (typeof value === 'number') return Number(value.toPrecision(4))
  if (Array.isArray(value)) return value.map(rounded)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, rounded(field)]))
}
