import type { Clock } from '@understudy/contracts'
import { SeededRandom, SimulatedClock, SimulatedCoordinator } from '@understudy/testkit'
import { coordinatorSuite, type CoordinatorFault } from '@understudy/testkit/suites/coordinator'

for (const { name, clockOf } of [
  { name: 'as the clock of the world', clockOf: (clock: SimulatedClock): Clock => clock },
  { name: 'of nodes', clockOf: (clock: SimulatedClock): Clock => clock.view({ wallOffsetMs: 9 }) },
])
  coordinatorSuite({
    name: `SimulatedCoordinator, clock ${name}`,
    faults: ['refused', 'silent', 'unanswered', 'late'],
    async create() {
      const clock = new SimulatedClock({ shuffle: new SeededRandom(5) })
      const place = new SimulatedCoordinator({ clock, random: new SeededRandom(6) })
      const own = clockOf(clock)
      const driven = clock.drive()
      return {
        clock: own,
        open: async () => place.open(own),
        async openFaulty() {
          const coordinator = place.open(own)
          const { faults } = coordinator
          return {
            coordinator,
            begin(fault: CoordinatorFault) {
              faults.refused = fault === 'refused'
              faults.silent = fault === 'silent'
              faults.answersLost = fault === 'unanswered'
              faults.answersHeld = fault === 'late'
            },
            end() {
              coordinator.mend()
            },
          }
        },
        async dispose() {
          driven[Symbol.dispose]()
        },
      }
    },
  })
