/** What a person, a file or a program sees of the demo while it runs. The bars of a terminal are in bars.ts. */
import pc from 'picocolors'
import type { Clock } from '@understudy/contracts'
import { json, type Output } from '../output.ts'
import type { NodeView } from './monitor.ts'

export interface Display {
  /** A step begins. */
  step(text: string): void
  /** Something worth knowing happened within a step. */
  note(text: string): void
  /** Something that has a total moves on; `unit` is what is counted. */
  progress(name: string, done: number, total: number, unit: string): void
  /** How the nodes are doing; called a few times a second. */
  nodes(views: readonly NodeView[]): void
  /** Takes away what moves; lines that were printed stay. */
  close(): void
}

/** Between two lists of nodes where each is a line that stays. */
const NODES_MS = 2000
/** Between two lines of one progress, in percent. */
const PERCENT_STEP = 25

/** Plain lines, for a file or a pipe. */
export function lineDisplay(output: Output, clock: Clock): Display {
  const due = everySoOften(clock)
  const moved = steps()
  return {
    step: (text) => output.out(pc.bold(text)),
    note: (text) => output.out(`  ${text}`),
    progress(name, done, total, unit) {
      const percent = moved(name, done, total)
      if (percent !== undefined) output.out(`  ${name}: ${percent} % of ${count(total)} ${unit}`)
    },
    nodes(views) {
      if (due()) for (const view of views) output.out(`  ${nodeLine(view)}`)
    },
    close() {},
  }
}

/** One JSON object a line, each with a `kind`. */
export function jsonDisplay(output: Output, clock: Clock): Display {
  const due = everySoOften(clock)
  const moved = steps()
  return {
    step: (text) => output.out(json({ kind: 'step', text })),
    note: (text) => output.out(json({ kind: 'note', text })),
    progress(name, done, total, unit) {
      if (moved(name, done, total) !== undefined)
        output.out(json({ kind: 'progress', name, done, total, unit }))
    },
    nodes(views) {
      if (due()) output.out(json({ kind: 'nodes', nodes: views }))
    },
    close() {},
  }
}

/** `a leader   leading    1/2034     0 behind  5,321 rows/s`. */
export function nodeLine({ name, role, state, position, lagRecords, rowsPerSecond }: NodeView): string {
  const lag = lagRecords === undefined ? '' : `${count(lagRecords)} behind`
  const rate = rowsPerSecond === undefined ? '' : `${count(rowsPerSecond)} rows/s`
  const columns = [
    name,
    role.padEnd(8),
    state.padEnd(13),
    position.padEnd(9),
    lag.padStart(13),
    rate.padStart(15),
  ]
  return columns.join(' ').trimEnd()
}

/** `1,234`. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en')
}

function everySoOften(clock: Clock): () => boolean {
  let next = clock.monotonic() + NODES_MS
  return () => {
    const now = clock.monotonic()
    if (now < next) return false
    next = now + NODES_MS
    return true
  }
}

/** Tells the percentage when a progress went on by a whole step since it was told last. */
function steps(): (name: string, done: number, total: number) => number | undefined {
  const told = new Map<string, number>()
  return (name, done, total) => {
    const percent = total === 0 ? 100 : Math.floor((100 * done) / total)
    const before = told.get(name) ?? 0
    if (percent === before || (percent < before + PERCENT_STEP && percent < 100)) return undefined
    told.set(name, percent)
    return percent
  }
}
