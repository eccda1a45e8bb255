/**
 * The figures of the benchmark of ack policies: names, units, targets.
 *
 * Leaves to others: how a figure is measured (scenarios/ack-policies.ts, scenarios/ack-delays.ts).
 */
import type { FigureRule, Target } from '../figures.ts'
import { POLICY_TITLES, type PolicyName, type Writers } from './policies.ts'

/** Every policy but the one that the others are compared with. */
export type ComparedPolicy = Exclude<PolicyName, 'async'>

export type AckFigureName =
  | `${ComparedPolicy}VsAsync${Writers}`
  | 'durable64At2ms'
  | 'durable256At2ms'
  | 'durable64At20ms'
  | 'durable256At20ms'

/** In the order in which they are printed. */
export const ACK_FIGURES: Readonly<Record<AckFigureName, FigureRule>> = {
  receivedVsAsync1: ratio('received', 1),
  receivedVsAsync64: ratio('received', 64),
  receivedVsAsync256: ratio('received', 256),
  durableVsAsync1: ratio('durable', 1),
  durableVsAsync64: ratio('durable', 64, { atLeast: 0.8 }),
  durableVsAsync256: ratio('durable', 256),
  any1VsAsync1: ratio('any1', 1),
  any1VsAsync64: ratio('any1', 64),
  any1VsAsync256: ratio('any1', 256),
  syncVsAsync1: ratio('sync', 1),
  syncVsAsync64: ratio('sync', 64),
  syncVsAsync256: ratio('sync', 256),
  appliedVsAsync1: ratio('applied', 1),
  appliedVsAsync64: ratio('applied', 64),
  appliedVsAsync256: ratio('applied', 256),
  durable64At2ms: rate(64, 2),
  durable256At2ms: rate(256, 2, { atLeast: 30_000 }),
  durable64At20ms: rate(64, 20),
  durable256At20ms: rate(256, 20, { atLeast: 8000 }),
}

export const ACK_FIGURE_NAMES: readonly AckFigureName[] = Object.keys(ACK_FIGURES) as AckFigureName[]

/** What was measured; `null` for a figure that was left out. */
export type AckFigureValues = Readonly<Record<AckFigureName, number | null>>

/** Every figure, with `null` where nothing was measured. */
export function allAckFigures(measured: Partial<Record<AckFigureName, number>>): AckFigureValues {
  return Object.fromEntries(ACK_FIGURE_NAMES.map((name) => [name, measured[name] ?? null])) as AckFigureValues
}

function ratio(policy: ComparedPolicy, writers: Writers, target?: Target): FigureRule {
  const title = `commits/s, ${writersText(writers)}, ${POLICY_TITLES[policy]} against asynchronous`
  return { title, unit: 'x', digits: 2, ...(target && { target }) }
}

function rate(writers: Writers, roundTripMs: number, target?: Target): FigureRule {
  const title = `commits/s, ${writersText(writers)}, semi-synchronous, durable, ${roundTripMs} ms of round trip added`
  return { title, unit: '/s', digits: 0, ...(target && { target }) }
}

function writersText(writers: Writers): string {
  return writers === 1 ? '1 writer' : `${writers} writers`
}
