import { expect, test } from 'vitest'
import { chaos } from './chaos.ts'

const SEEDS = Number(process.env['UNDERSTUDY_SEEDS'] ?? 60)

test('whatever happens: nothing acknowledged is lost, one acknowledges at a time, and peace brings one leader', async () => {
  let failovers = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = await chaos(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      })
    })
    failovers += result.failovers
  }
  // Faults that replace nobody would prove nothing.
  expect(failovers).toBeGreaterThan(SEEDS)
}, 120_000)
