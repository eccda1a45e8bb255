/** Runs seeds, with the build that the hook left, until something is found: `run.ts <seeds> <profile as JSON, or "driver">`. */
import { chaos } from '../member/chaos.ts'
import { Breach } from '../simulation/checker.ts'
import { simulate, type Profile } from '../simulation/run.ts'

const [, , seeds = '100', profile = '{}'] = process.argv
try {
  for (let seed = 1; seed <= Number(seeds); seed++)
    if (profile === 'driver') await chaos(seed)
    else simulate(seed - 1, { profile: JSON.parse(profile) as Profile })
  process.stdout.write('held\n')
} catch (error) {
  if (!(error instanceof Breach)) throw error
  process.stdout.write(`${error.message}\n`)
  process.exitCode = 1
}
