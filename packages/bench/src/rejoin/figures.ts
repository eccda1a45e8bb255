/**
 * The figures of the benchmark of rejoining: names, units, targets.
 *
 * Leaves to others: how a figure is measured (`run.ts`).
 */
import type { FigureRule, Target } from '../figures.ts'

/** What the lost tail holds; `delta`: the files of the former leader lead nowhere, and pages that differ travel. */
export const TAIL_NAMES = ['row', 'statement', 'schema', 'delta', 'wal'] as const
export type TailName = (typeof TAIL_NAMES)[number]

export type RejoinFigureName = `${TailName}Seconds` | `${TailName}Percent`

/** In the order in which they are printed. */
export const REJOIN_FIGURES: Readonly<Record<RejoinFigureName, FigureRule>> = {
  rowSeconds: seconds('a tail of rows', { under: 5 }),
  rowPercent: percent('a tail of rows', { under: 0.5 }),
  statementSeconds: seconds('a tail of statements', { under: 5 }),
  statementPercent: percent('a tail of statements', { under: 3 }),
  schemaSeconds: seconds('a tail of rows that changes the schema', { under: 5 }),
  schemaPercent: percent('a tail of rows that changes the schema', { under: 3 }),
  walSeconds: seconds('a tail of pages', { under: 5 }),
  walPercent: percent('a tail of pages', { under: 3 }),
  deltaSeconds: seconds('a base of pages, so that the pages that differ travel'),
  deltaPercent: percent('a base of pages, so that the pages that differ travel', { under: 3 }),
}

export const REJOIN_FIGURE_NAMES: readonly RejoinFigureName[] = Object.keys(
  REJOIN_FIGURES,
) as RejoinFigureName[]

/** What was measured; `null` for a figure that was left out. */
export type RejoinFigureValues = Readonly<Record<RejoinFigureName, number | null>>

export function allRejoinFigures(measured: Partial<Record<RejoinFigureName, number>>): RejoinFigureValues {
  return Object.fromEntries(
    REJOIN_FIGURE_NAMES.map((name) => [name, measured[name] ?? null]),
  ) as RejoinFigureValues
}

function seconds(what: string, target?: Target): FigureRule {
  return {
    title: `a former leader rejoins: ${what}`,
    unit: 's',
    digits: 2,
    ...(target && { target }),
  }
}

function percent(what: string, target?: Target): FigureRule {
  return {
    title: `bytes on its connection, of those of a full copy: ${what}`,
    unit: '%',
    digits: 3,
    ...(target && { target }),
  }
}
