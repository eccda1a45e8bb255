/**
 * Whether acknowledged writes are where they must be: each unique, all of them read at the end, in the order that the cluster gave them.
 *
 * Cheaper than linearizability, as the final order is a witness: one pass, for any number of writes.
 *
 * 1. Lost: an acknowledged write is not there. Twice: a write is there more than once.
 * 2. Denied: a write is there that was answered as not written. Invented: nobody wrote it.
 * 3. Out of order: a write stands before another one that was acknowledged before it was asked for.
 * 4. Moved: a write stands at another position than its receipt said; shared: two receipts name the same one.
 */
import { timeline, type Note } from './explain.ts'
import type { Operation, Scalar } from './operation.ts'

/** One row of the final state, in the order of the cluster. */
export interface FinalRow {
  readonly value: Scalar
  /** `epoch/lsn` or `epoch/lsn#index`, where it is known. */
  readonly position?: string
}

export type AckedWritesRule = 'lost' | 'twice' | 'denied' | 'invented' | 'order' | 'moved' | 'shared'

export interface AckedWritesBreach {
  readonly rule: AckedWritesRule
  readonly value: Scalar
  readonly text: string
  readonly operations: readonly Operation[]
}

export interface AckedWritesReport {
  readonly verdict: 'kept' | 'broken'
  readonly acked: number
  readonly denied: number
  /** Of unknown outcome, and how many of them are there. */
  readonly unknown: number
  readonly unknownKept: number
  readonly rows: number
  /** How often each rule was broken. */
  readonly counts: Readonly<Record<AckedWritesRule, number>>
  /** The first of each rule, at most 20. */
  readonly breaches: readonly AckedWritesBreach[]
}

const SHOWN_MAX = 20

class Findings {
  readonly counts: Record<AckedWritesRule, number> = {
    lost: 0,
    twice: 0,
    denied: 0,
    invented: 0,
    order: 0,
    moved: 0,
    shared: 0,
  }
  readonly breaches: AckedWritesBreach[] = []

  add(rule: AckedWritesRule, value: Scalar, text: string, operations: readonly Operation[]): void {
    if (this.counts[rule]++ < SHOWN_MAX) this.breaches.push({ rule, value, text, operations })
  }
}

/** Of `operations` those that add or write count; each value is written by one of them only. `rows`: all that is there at the end. */
export function checkAckedWrites(
  operations: readonly Operation[],
  rows: readonly FinalRow[],
): AckedWritesReport {
  const findings = new Findings()
  const writes = new Map<Scalar, Operation>()
  for (const operation of operations) {
    if (operation.kind !== 'add' && operation.kind !== 'write') continue
    const { value = null } = operation
    if (writes.has(value)) throw new TypeError(`${JSON.stringify(value)} is written by two operations`)
    writes.set(value, operation)
  }
  const there = checkRows(writes, rows, findings)
  checkPositions(writes.values(), findings)
  const count = { ok: 0, fail: 0, unknown: 0 }
  for (const [value, operation] of writes) {
    count[operation.outcome]++
    if (operation.outcome === 'ok' && !there.has(value))
      findings.add('lost', value, 'an acknowledged write is not there', [operation])
  }
  const kept = [...writes].filter(([value, { outcome }]) => outcome === 'unknown' && there.has(value))
  return {
    verdict: findings.breaches.length > 0 ? 'broken' : 'kept',
    acked: count.ok,
    denied: count.fail,
    unknown: count.unknown,
    unknownKept: kept.length,
    rows: rows.length,
    counts: findings.counts,
    breaches: findings.breaches,
  }
}

function checkRows(
  writes: ReadonlyMap<Scalar, Operation>,
  rows: readonly FinalRow[],
  findings: Findings,
): Set<Scalar> {
  const there = new Set<Scalar>()
  /** Of those before it in the final order, the one that was asked for last. */
  let latest: Operation | undefined
  for (const { value, position } of rows) {
    const operation = writes.get(value)
    if (there.has(value)) {
      findings.add('twice', value, 'it is there more than once', operation === undefined ? [] : [operation])
      continue
    }
    there.add(value)
    if (operation === undefined) {
      findings.add('invented', value, 'nobody wrote it', [])
      continue
    }
    if (operation.outcome === 'fail')
      findings.add('denied', value, 'it is there, and was answered as not written', [operation])
    if (latest !== undefined && operation.completedAtMs < latest.invokedAtMs) {
      const text = `it stands behind ${JSON.stringify(latest.value)}, which was asked for after it was acknowledged`
      findings.add('order', value, text, [operation, latest])
    }
    if (latest === undefined || operation.invokedAtMs > latest.invokedAtMs) latest = operation
    if (position !== undefined && operation.position !== undefined && position !== operation.position)
      findings.add('moved', value, `it stands at ${position}, its receipt says ${operation.position}`, [
        operation,
      ])
  }
  return there
}

function checkPositions(writes: Iterable<Operation>, findings: Findings): void {
  const byPosition = new Map<string, Operation>()
  for (const operation of writes) {
    const { position, value = null, outcome } = operation
    if (position === undefined || outcome !== 'ok') continue
    const other = byPosition.get(position)
    if (other !== undefined)
      findings.add(
        'shared',
        value,
        `its receipt names ${position}, as that of ${JSON.stringify(other.value)} does`,
        [other, operation],
      )
    byPosition.set(position, operation)
  }
}

/** What a person reads of it. */
export function explainAckedWrites(report: AckedWritesReport, notes: readonly Note[] = []): string {
  const { verdict, acked, denied, unknown, unknownKept, rows, counts, breaches } = report
  const lines = [
    `${verdict}: ${acked} acknowledged writes, ${denied} denied, ${unknown} unknown of which ${unknownKept} are there; ${rows} rows at the end`,
  ]
  for (const [rule, count] of Object.entries(counts)) if (count > 0) lines.push(`${rule}: ${count}`)
  for (const { rule, value, text, operations } of breaches.slice(0, SHOWN_MAX))
    lines.push(`${rule} ${JSON.stringify(value)}: ${text}`, ...timeline(operations, notes))
  return lines.join('\n')
}
