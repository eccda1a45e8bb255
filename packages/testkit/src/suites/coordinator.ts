/**
 * What every `Coordinator` must do. Call `coordinatorSuite` from a test file; see `CoordinatorUnderTest` for what it needs.
 *
 * Nothing in it waits for a time to pass but where time is what is tested: the time to live of a lease.
 */
import { describe } from 'vitest'
import { callTests } from './coordinator/calls.ts'
import { faultTests } from './coordinator/faults.ts'
import { leaseTests } from './coordinator/lease.ts'
import { stateTests } from './coordinator/state.ts'
import { Stage, type CoordinatorSuiteOptions } from './coordinator/under-test.ts'

export type {
  CoordinatorFault,
  CoordinatorSuiteOptions,
  CoordinatorUnderTest,
  FaultyCoordinator,
} from './coordinator/under-test.ts'

export function coordinatorSuite(options: CoordinatorSuiteOptions): void {
  const begin = async (): Promise<Stage> => new Stage(await options.create())
  describe(`coordinator suite: ${options.name}`, () => {
    describe('state', () => stateTests(begin))
    describe('lease', () => leaseTests(begin))
    describe('calls', () => callTests(begin))
    describe('faults', () => faultTests(begin, options.faults ?? []))
  })
}
