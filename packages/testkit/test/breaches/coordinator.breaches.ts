/** Run by `coordinator-suite-catches.test.ts`, in a vitest of its own: the suite on coordinators that are wrong, and on a sound one. */
import { SimulatedClock } from '../../src/clock.ts'
import { SimulatedCoordinator } from '../../src/coordinator/coordinator.ts'
import { SeededRandom } from '../../src/random.ts'
import { coordinatorSuite } from '../../src/suites/coordinator.ts'
import { altered, COORDINATOR_BREACHES, type CoordinatorBreach } from './coordinator-breaches.ts'

const SOUND: CoordinatorBreach = { name: 'sound', caughtBy: '', alter: () => ({}) }

for (const { name, alter } of [SOUND, ...COORDINATOR_BREACHES]) {
  coordinatorSuite({
    name,
    faults: ['refused', 'silent', 'unanswered', 'late'],
    async create() {
      const clock = new SimulatedClock({ shuffle: new SeededRandom(5) })
      const coordinator = new SimulatedCoordinator({ clock, random: new SeededRandom(6) })
      const { place } = coordinator
      const driven = clock.drive()
      const open = () => {
        const inner = coordinator.open(clock)
        return { inner, coordinator: altered(inner, () => alter({ inner, place, clock })) }
      }
      return {
        clock,
        open: async () => open().coordinator,
        async openFaulty() {
          const { inner, coordinator } = open()
          const { faults } = inner
          return {
            coordinator,
            begin(fault) {
              faults.refused = fault === 'refused'
              faults.silent = fault === 'silent'
              faults.answersLost = fault === 'unanswered'
              faults.answersHeld = fault === 'late'
            },
            end: () => inner.mend(),
          }
        },
        async dispose() {
          driven[Symbol.dispose]()
        },
      }
    },
  })
}
