/**
 * The whole cluster from seeds. `SEED=17 npx vitest run test/simulation.test.ts` replays one; `npm run simulate --
 * --seed 1 --count 5000` runs many.
 */
import { describe, expect, test } from 'vitest'
import { simulate, type Outcome } from '../src/simulation/simulation.ts'
import { CHAINS, CHAIN_SEEDS } from '../src/mutants/cluster-scenarios.ts'
import type { Shape } from '../src/simulation/shape.ts'
import { ACK_SHAPES } from '../src/simulation/acks.ts'
import { ACK_EVENTS, RARE_EVENTS, Tally, type RareEvent } from '../src/simulation/tally.ts'

const SEEDS = 200
/** Too rare for so few seeds; the test below shows each in a seed of its own. */
const RAREST: readonly RareEvent[] = ['unfinished chain cut', ...ACK_EVENTS]
/** Seeds for each ack policy. */
const ACK_SEEDS = 12

function expectHeld({ seed, breach, trace }: Outcome): void {
  if (breach === undefined) return
  throw new Error(
    `seed=${seed} ${breach.message}\nreplay: SEED=${seed} npx vitest run test/simulation.test.ts\n${trace.slice(-40).join('\n')}`,
    { cause: breach },
  )
}

/** Only crashes between COMMIT and append, with a log that holds everything back. */
const AFTER_COMMIT: Partial<Shape> = {
  formats: 'physical',
  pagesMax: Number.POSITIVE_INFINITY,
  slotBytesMax: 1e9,
  faults: [{ kind: 'crashAfterCommit', weight: 1 }],
  faultGapMs: { min: 1, max: 400 },
  downMs: { min: 0, max: 100 },
}

const only = process.env['SEED']
if (only !== undefined) {
  test(`seed ${only}`, async () => {
    expectHeld(await simulate(only))
  })
} else {
  describe('acks that are waited for, through crashes, power losses, cut networks and slow followers', () => {
    const tally = new Tally()

    test.each(Object.entries(ACK_SHAPES))(
      '%s: receipts and readers never see too much',
      { timeout: 120_000 },
      async (_, shape) => {
        let acknowledged = 0
        for (let seed = 1; seed <= ACK_SEEDS; seed++) {
          const outcome = await simulate(`acks-${seed}`, shape)
          expectHeld(outcome)
          tally.include(outcome.tally)
          acknowledged += outcome.acknowledged
        }
        expect(acknowledged).toBeGreaterThan(100)
      },
    )

    test('everything that only acks bring was met', () => {
      expect(ACK_EVENTS.filter((event) => tally.of(event) === 0)).toEqual([])
    })
  })

  describe('a cluster through crashes, power losses, cut networks and failed syncs', () => {
    test(
      `keeps every promise in ${SEEDS} seeds, which meet everything rare`,
      { timeout: 300_000 },
      async () => {
        const tally = new Tally()
        for (let seed = 1; seed <= SEEDS; seed++) {
          const outcome = await simulate(seed)
          expectHeld(outcome)
          tally.include(outcome.tally)
        }
        expect(RARE_EVENTS.filter((event) => tally.of(event) === 0 && !RAREST.includes(event))).toEqual([])
      },
    )

    test('cuts off a transaction whose last part was lost with the power', async () => {
      const tally = new Tally()
      for (const seed of CHAIN_SEEDS) {
        const outcome = await simulate(seed, CHAINS)
        expectHeld(outcome)
        tally.include(outcome.tally)
      }
      expect(tally.of('unfinished chain cut')).toBeGreaterThan(0)
    })

    test.each([
      [3, 'logical'],
      [42, 'physical'],
      ['twice', 'switching'],
    ] as const)('goes the same way twice: seed %s, %s', async (seed, formats) => {
      const first = await simulate(seed, { formats })
      const second = await simulate(seed, { formats })
      expectHeld(first)
      expect(second.traceHash).toBe(first.traceHash)
    })

    test('logs transactions that a crash kept out of the log after their COMMIT, and goes on from them', async () => {
      const tally = new Tally()
      for (const seed of ['after-commit-1', 'after-commit-2', 'after-commit-3']) {
        const outcome = await simulate(seed, AFTER_COMMIT)
        expectHeld(outcome)
        tally.include(outcome.tally)
      }
      expect(tally.of('crash between COMMIT and append')).toBeGreaterThan(10)
      expect(tally.of('transaction logged after a crash')).toBeGreaterThan(5)
    })

    test('without faults nothing is refused but what a client asked for, and no node ever bootstraps twice', async () => {
      const outcome = await simulate('calm', { faults: [], slotBytesMax: 1e9 })
      expectHeld(outcome)
      for (const event of [
        'slot lost',
        'peer found silent',
        'sync failed',
        'write of unknown outcome',
      ] as const)
        expect([event, outcome.tally.of(event)]).toEqual([event, 0])
    })
  })
}
