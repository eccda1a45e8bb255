/**
 * `node run-scenario.ts <scenario>`: prints `held`, or `breach I5 …` and ends with exit code 1. Anything else that is
 * thrown ends with exit code 2: a crash is no proof.
 */
import { scenarioOf } from './scenarios.ts'

try {
  await scenarioOf(process.argv[2] ?? '')()
  console.log('held')
} catch (error) {
  if (error instanceof Error && error.name === 'InvariantBreach') {
    console.log(`breach ${error.message}`)
    process.exitCode = 1
  } else {
    console.error(error)
    process.exitCode = 2
  }
}
