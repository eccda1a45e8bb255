/** One verdict on a history of any model, in words. */
import { checkAckedWrites, explainAckedWrites } from './acked-writes.ts'
import { explainLinearizability } from './explain.ts'
import type { History } from './lines.ts'
import { appends, checkLinearizability, register, uniqueSet, type CheckOptions } from './linearizability.ts'

export interface HistoryVerdict {
  /** `kept` when nothing is wrong. */
  readonly verdict: 'kept' | 'broken' | 'undecided'
  readonly operations: number
  /** Some lines for a person. */
  readonly explanation: string
}

/** `undecided` where the work allowed did not suffice, or a history of acknowledged writes has no final state. */
export function checkHistory(history: History, options: Omit<CheckOptions, 'model'> = {}): HistoryVerdict {
  const { model, operations, notes, final } = history
  if (model !== 'acked-writes') {
    const models = { register, set: uniqueSet, append: appends }
    const report = checkLinearizability(operations, { ...options, model: models[model]() })
    const verdict = report.verdict === 'linearizable' ? 'kept' : report.verdict
    return { verdict, operations: operations.length, explanation: explainLinearizability(report, notes) }
  }
  const byKey = Map.groupBy(operations, ({ key }) => key)
  const without = [...byKey.keys()].filter((key) => !final.has(key))
  const reports = [...final].map(([key, rows]) => ({
    key,
    report: checkAckedWrites(byKey.get(key) ?? [], rows),
  }))
  const lines = reports.map(({ key, report }) => `${key}: ${explainAckedWrites(report, notes)}`)
  if (without.length > 0) lines.push(`undecided, as no final state is there: ${without.join(', ')}`)
  const isBroken = reports.some(({ report }) => report.verdict === 'broken')
  return {
    verdict: isBroken ? 'broken' : without.length > 0 ? 'undecided' : 'kept',
    operations: operations.length,
    explanation: lines.join('\n'),
  }
}
