import { describe, expect, test } from 'vitest'
import { cellKey, subjectName, type Cell } from '../src/matrix/cell.ts'
import { inOrder, measurements, plan, type PlanOptions } from '../src/matrix/plan.ts'
import { CELL } from './results-made.ts'

const OPTIONS: PlanOptions = {
  togetherMax: 3,
  isYardstick: ({ subject }) => subject === 'sqlite',
  isDone: () => false,
}

/** Two numbers of writers for bare SQLite and for each of the formats. */
function cells(formats: readonly string[], workloads = ['inserts']): Cell[] {
  return workloads.flatMap((workload) =>
    [
      { subject: 'sqlite', variant: { synchronous: 'full' } },
      ...formats.map((format) => ({ subject: 'understudy', variant: { ...CELL.variant, format } })),
    ].flatMap((subject) => [1, 16].map((writers) => ({ ...CELL, ...subject, workload, writers }))),
  )
}

describe('the plan', () => {
  test('measures every cell once, with the yardstick beside the cells of each batch', () => {
    const all = cells(['a', 'b', 'c', 'd', 'e'])
    const batches = plan(all, OPTIONS)
    expect(batches.map(({ instances }) => instances.map(subjectName))).toEqual([
      ['sqlite full', 'understudy a/tcp/async/client', 'understudy b/tcp/async/client'],
      ['sqlite full', 'understudy c/tcp/async/client', 'understudy d/tcp/async/client'],
      ['sqlite full', 'understudy e/tcp/async/client'],
    ])
    const keys = batches.flatMap(({ turns }) => turns.flatMap((turn) => turn.cells.map(cellKey)))
    expect(new Set(keys)).toEqual(new Set(all.map(cellKey)))
    expect(keys.filter((key) => !key.startsWith('sqlite'))).toHaveLength(10)
    expect(measurements(batches)).toBe(16)
  })

  test('has all instances of a turn do the same, and workloads apart', () => {
    for (const { turns, workload } of plan(cells(['a', 'b'], ['inserts', 'mixed']), OPTIONS))
      for (const turn of turns) {
        expect(new Set(turn.cells.map(({ writers }) => writers)).size).toBe(1)
        expect(new Set(turn.cells.map((cell) => cell.workload))).toEqual(new Set([workload]))
      }
  })

  test('leaves out what is done, but not the yardstick of what is not', () => {
    const all = cells(['a', 'b'])
    const done = new Set(
      all.filter(({ variant, writers }) => variant['format'] !== 'b' || writers === 1).map(cellKey),
    )
    const batches = plan(all, { ...OPTIONS, isDone: (key) => done.has(key) })
    expect(batches.flatMap(({ turns }) => turns.flatMap((turn) => turn.cells.map(cellKey)))).toEqual([
      'sqlite full | inserts 0 | 16 | closed',
      'understudy b/tcp/async/client | inserts 0 | 16 | closed',
    ])
    expect(batches[0]?.instances.map(subjectName)).toEqual(['sqlite full', 'understudy b/tcp/async/client'])
    expect(plan(all, { ...OPTIONS, isDone: () => true })).toEqual([])
  })

  test('measures the yardstick alone, where there is nothing else', () => {
    expect(measurements(plan(cells([]), OPTIONS))).toBe(2)
  })

  test('turns the order round from round to round', () => {
    const [first, second] = cells(['a'])
    const both = [first as Cell, second as Cell]
    expect(inOrder(both, 1)).toEqual([first, second])
    expect(inOrder(both, 2)).toEqual([second, first])
    expect(inOrder(both, 3)).toEqual([first, second])
  })
})
