/**
 * Whole clusters by seed: crashes, pauses, one-way cuts, coordinator outages, changes of the set, switchovers, damaged logs; several of
 * them at once. `npm run simulate:failover` runs more, and a seed again with `--seed N --trace`.
 */
import { describe, expect, test } from 'vitest'
import { simulate, FAULTS, type RunResult } from './simulation/run.ts'

const SEEDS = 2000
const BLOCKS = 4
const RARE = [
  'failovers',
  'refusals',
  'forecast',
  'losses',
  'loss accepted',
  'tail fetched',
  'attempt given up',
  'claim with an unknown outcome',
  'led by the word of its followers',
]

describe.concurrent('simulated failovers', { timeout: 120_000 }, () => {
  test.each(Array.from({ length: BLOCKS }, (_, block) => block))('hold, block %i', (block) => {
    const totals = new Map<string, number>()
    for (let seed = block; seed < SEEDS; seed += BLOCKS) add(totals, run(seed))
    // A run that never meets a thing says nothing about it.
    const wanted = [...FAULTS, ...RARE]
    expect(wanted.filter((kind) => (totals.get(kind) ?? 0) < 20)).toEqual([])
    expect(totals.get('failovers')).toBeGreaterThan(1000)
  })

  test('the same seed is the same run', () => {
    for (const seed of [1, 2, 3]) expect(run(seed)).toEqual(run(seed))
  })
})

function run(seed: number): RunResult {
  try {
    return simulate(seed)
  } catch (error) {
    throw new Error(`seed ${seed}: npm run simulate:failover -- --seed ${seed} --trace`, { cause: error })
  }
}

function add(totals: Map<string, number>, { happened, ...counts }: RunResult): void {
  for (const [kind, count] of Object.entries({ ...happened, ...counts }))
    totals.set(kind, (totals.get(kind) ?? 0) + count)
}
