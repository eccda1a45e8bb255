/**
 * The order in which cells are measured. Pure.
 *
 * Decides: which instances run at the same time, and whose turn it is. Leaves to others: starting and measuring.
 *
 * 1. A batch is one workload on at most `togetherMax` instances, which stay up through all its numbers of writers. A subject that others are compared
 *    with (the yardstick) is in every batch.
 * 2. A turn is one number of writers: all instances of the batch take turns, round after round, each round in the opposite order of the one before.
 *    So a disturbance of the machine meets all of them, and ratios can be taken within a round.
 * 3. A cell that is done is left out; a turn of which nothing is left but the yardstick is left out whole.
 */
import { cellKey, subjectName, type Cell } from './cell.ts'

export interface Batch {
  readonly workload: string
  /** One cell for each instance: what it is started for. */
  readonly instances: readonly Cell[]
  readonly turns: readonly Turn[]
}

export interface Turn {
  readonly cells: readonly Cell[]
}

export interface PlanOptions {
  readonly togetherMax: number
  readonly isYardstick: (cell: Cell) => boolean
  readonly isDone: (key: string) => boolean
}

export function plan(
  cells: readonly Cell[],
  { togetherMax, isYardstick, isDone }: PlanOptions,
): readonly Batch[] {
  const batches: Batch[] = []
  for (const ofWorkload of groups(cells, ({ workload, rows }) => `${workload} ${rows}`)) {
    const yardsticks = [...groups(ofWorkload.filter(isYardstick), subjectName)]
    const others = [
      ...groups(
        ofWorkload.filter((cell) => !isYardstick(cell)),
        subjectName,
      ),
    ]
    const room = Math.max(1, togetherMax - yardsticks.length)
    for (let from = 0; from === 0 || from < others.length; from += room) {
      const batch = batchOf([...yardsticks, ...others.slice(from, from + room)], isYardstick, isDone)
      if (batch !== undefined) batches.push(batch)
    }
  }
  return batches
}

/** Cells to measure once in each round, over all batches. */
export function measurements(batches: readonly Batch[]): number {
  return batches.reduce(
    (sum, { turns }) => sum + turns.reduce((cells, turn) => cells + turn.cells.length, 0),
    0,
  )
}

/** The cells of a round in the order of this round, from 1. */
export function inOrder(cells: readonly Cell[], round: number): readonly Cell[] {
  return round % 2 === 1 ? cells : cells.toReversed()
}

function batchOf(
  instances: readonly (readonly Cell[])[],
  isYardstick: (cell: Cell) => boolean,
  isDone: (key: string) => boolean,
): Batch | undefined {
  const cells = instances.flat()
  const hasOthers = cells.some((cell) => !isYardstick(cell))
  const turns: Turn[] = []
  for (const ofTurn of groups(cells, ({ writers, rate }) => `${writers} ${rate ?? ''}`)) {
    const left = ofTurn.filter((cell) => !isDone(cellKey(cell)) || (hasOthers && isYardstick(cell)))
    if (left.some((cell) => !isDone(cellKey(cell)) && (!hasOthers || !isYardstick(cell))))
      turns.push({ cells: left })
  }
  if (turns.length === 0) return undefined
  const needed = new Set(turns.flatMap((turn) => turn.cells.map(subjectName)))
  const started = instances.flatMap(([first]) =>
    first !== undefined && needed.has(subjectName(first)) ? [first] : [],
  )
  return { workload: (cells[0] as Cell).workload, instances: started, turns }
}

/** Lists of those with one key, in the order of their first ones. */
function groups(cells: readonly Cell[], keyOf: (cell: Cell) => string): Iterable<Cell[]> {
  return Map.groupBy(cells, keyOf).values()
}
