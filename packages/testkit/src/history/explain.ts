/** What a person reads of a check: each breach as the few operations that no order explains, with their times. */
import type { Breach, LinearizabilityReport } from './linearizability.ts'
import { describeAction, type Operation } from './operation.ts'

/** What was done to the cluster meanwhile. */
export interface Note {
  readonly atMs: number
  readonly text: string
}

const BREACHES_SHOWN_MAX = 3
const LINES_MAX = 40

export function explainLinearizability(report: LinearizabilityReport, notes: readonly Note[] = []): string {
  const lines = [
    `${report.verdict}: ${report.operations} operations on ${report.keys} objects, ${report.steps} steps`,
  ]
  for (const breach of report.breaches.slice(0, BREACHES_SHOWN_MAX))
    lines.push(...explainBreach(breach, notes))
  const left = report.breaches.length - BREACHES_SHOWN_MAX
  if (left > 0) lines.push(`and ${left} more: ${keysOf(report.breaches.slice(BREACHES_SHOWN_MAX))}`)
  if (report.undecided.length > 0)
    lines.push(
      `undecided, as the steps allowed did not suffice: ${report.undecided.slice(0, LINES_MAX).join(', ')}`,
    )
  return lines.join('\n')
}

function keysOf(breaches: readonly Breach[]): string {
  return breaches
    .slice(0, LINES_MAX)
    .map(({ key }) => key)
    .join(', ')
}

function explainBreach(breach: Breach, notes: readonly Note[]): string[] {
  const { key, model, operations, culprit, reason } = breach
  return [
    `${model} ${key}: no order explains what these operations were answered:${
      model === 'register' ? '' : ' (reads are shown with these elements only)'
    }`,
    ...timeline(operations, notes, culprit),
    `  ${culprit.process}: ${describeAction(culprit)}: ${reason}`,
  ]
}

/** Operations by their calls, with the notes that fall among them. `marked` gets an arrow. */
export function timeline(
  operations: readonly Operation[],
  notes: readonly Note[],
  marked?: Operation,
): string[] {
  const first = Math.min(...operations.map(({ invokedAtMs }) => invokedAtMs))
  const last = Math.max(
    ...operations.map(({ invokedAtMs, completedAtMs }) =>
      completedAtMs === Infinity ? invokedAtMs : completedAtMs,
    ),
  )
  const rows = operations.map((operation) => ({
    atMs: operation.invokedAtMs,
    text: describeOperation(operation, operation.id === marked?.id),
  }))
  for (const { atMs, text } of notes) {
    if (atMs >= first && atMs <= last) rows.push({ atMs, text: `    ${atMs.toFixed(3)} ms  ** ${text}` })
  }
  const lines = rows.sort((a, b) => a.atMs - b.atMs).map(({ text }) => text)
  if (lines.length <= LINES_MAX) return lines
  const left = lines.length - LINES_MAX
  return [...lines.slice(0, LINES_MAX / 2), `    … ${left} more …`, ...lines.slice(-LINES_MAX / 2)]
}

function describeOperation(operation: Operation, isMarked: boolean): string {
  const { invokedAtMs, completedAtMs, process, outcome, error, position } = operation
  const end = completedAtMs === Infinity ? '…' : completedAtMs.toFixed(3)
  const extra = [outcome, error, position].filter((each) => each !== undefined).join(' ')
  return `  ${isMarked ? '→' : ' '} ${invokedAtMs.toFixed(3)} – ${end} ms  ${process}: ${describeAction(operation)}  (${extra})`
}
