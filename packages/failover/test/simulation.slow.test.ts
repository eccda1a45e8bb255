/** More of `simulation.test.ts`: at least 10,000 promotions, other seeds, and the places where harm shows soonest. */
import { describe, expect, test } from 'vitest'
import { simulate, type Profile } from './simulation/run.ts'

const PROFILES: Readonly<Record<string, Profile>> = {
  mixed: {},
  'with leases, asynchronous': { hasCoordinator: true, isAsync: true },
  'with leases and acks': { hasCoordinator: true, isAsync: false },
  'promises alone': { hasCoordinator: false, isAsync: false },
  'promises alone, in haste': { hasCoordinator: false, isAsync: false, haste: true },
}

describe('simulated failovers, many of them', { timeout: 600_000 }, () => {
  test.each(Object.entries(PROFILES))('%s', (name, profile) => {
    let failovers = 0
    for (let seed = 0; failovers < 2500; seed++)
      try {
        failovers += simulate(`${name}/${seed}`, { profile }).failovers
      } catch (error) {
        const again = `--seed '${name}/${seed}' --profile '${JSON.stringify(profile)}' --trace`
        throw new Error(`npm run simulate:failover -- ${again}`, { cause: error })
      }
    expect(failovers).toBeGreaterThanOrEqual(2500)
  })
})
