/**
 * The figures of the core benchmark: names, units, targets; and what a target is.
 *
 * Decides: what counts as met. Leaves to others: how a figure is measured (scenarios/).
 */

export interface FigureRule {
  /** For people. */
  readonly title: string
  readonly unit: string
  /** None: worth knowing, and nothing was promised. */
  readonly target?: Target
  readonly digits: number
}

export type Target = { readonly atLeast: number } | { readonly atMost: number } | { readonly under: number }

export type FigureName =
  | 'commitsVsFull1'
  | 'commitsVsFull64'
  | 'commitsVsOff64'
  | 'commitsVsOff256'
  | 'lagP99Ms'
  | 'wireBytesPerCommit64'
  | 'bootstrapVsCopy'
  | 'bootstrapMiB'
  | 'catchupRowsPerSecond'
  | 'leaderGrowthMiB'
  | 'statementVsRow64'
  | 'walVsRow64'
  | 'walWireBytesPerCommit64'
  | 'walWireBytesPerCommit1'
  | 'statementUpdateWireBytes'

/** In the order in which they are printed. */
export const FIGURES: Readonly<Record<FigureName, FigureRule>> = {
  commitsVsFull1: rule('commits/s, 1 writer, against bare SQLite synchronous=FULL', 'x', { atLeast: 0.8 }, 2),
  commitsVsFull64: rule(
    'commits/s, 64 writers, against bare SQLite synchronous=FULL',
    'x',
    { atLeast: 8 },
    1,
  ),
  commitsVsOff64: rule(
    'commits/s, 64 writers, against bare SQLite synchronous=OFF',
    'x',
    { atLeast: 0.45 },
    2,
  ),
  commitsVsOff256: rule(
    'commits/s, 256 writers, against bare SQLite synchronous=OFF',
    'x',
    { atLeast: 0.7 },
    2,
  ),
  lagP99Ms: rule(
    'commit to visible on the follower, 99th percentile, at half of the 64-writer rate',
    'ms',
    { under: 10 },
    2,
  ),
  wireBytesPerCommit64: rule(
    'bytes on the connection for each commit, both directions, 64 writers',
    'B',
    { under: 150 },
    1,
  ),
  bootstrapVsCopy: rule('speed of a bootstrap against cp and sync', 'x', { atLeast: 0.35 }, 2),
  bootstrapMiB: rule(
    'extra memory of a bootstrap, the larger of leader and follower',
    'MiB',
    { under: 200 },
    0,
  ),
  catchupRowsPerSecond: rule('catching up after an outage', 'rows/s', { atLeast: 220_000 }, 0),
  leaderGrowthMiB: rule(
    'growth of the leader under full load while the follower is stopped',
    'MiB',
    { under: 100 },
    0,
  ),
  statementVsRow64: rule(
    'commits/s, 64 writers, statement format against row format',
    'x',
    { atLeast: 0.7 },
    2,
  ),
  walVsRow64: rule('commits/s, 64 writers, WAL format against row format', 'x', { atLeast: 0.7 }, 2),
  walWireBytesPerCommit64: rule(
    'WAL format: bytes on the connection for each commit, 64 writers',
    'B',
    { under: 180 },
    1,
  ),
  walWireBytesPerCommit1: rule(
    'WAL format: bytes on the connection for each commit, 1 writer',
    'B',
    { under: 260 },
    1,
  ),
  statementUpdateWireBytes: rule(
    'statement format: bytes on the connection for one UPDATE of 100,000 rows',
    'B',
    { under: 300 },
    0,
  ),
}

/** What was measured; `null` for a figure that was left out. */
export type FigureValues = Readonly<Record<FigureName, number | null>>

export const FIGURE_NAMES: readonly FigureName[] = Object.keys(FIGURES) as FigureName[]

/** Every figure, with `null` where nothing was measured. */
export function allFigures(measured: Partial<Record<FigureName, number>>): FigureValues {
  return Object.fromEntries(FIGURE_NAMES.map((name) => [name, measured[name] ?? null])) as FigureValues
}

/** Whether a value is what was promised; undefined where nothing was. */
export function meets({ target }: FigureRule, value: number): boolean | undefined {
  if (target === undefined) return undefined
  if ('atLeast' in target) return value >= target.atLeast
  return 'atMost' in target ? value <= target.atMost : value < target.under
}

/** A target for people; empty where there is none. */
export function targetText({ target }: FigureRule): string {
  if (target === undefined) return ''
  if ('atLeast' in target) return `≥ ${target.atLeast}`
  return 'atMost' in target ? `≤ ${target.atMost}` : `< ${target.under}`
}

function rule(title: string, unit: string, target: Target, digits: number): FigureRule {
  return { title, unit, target, digits }
}
