/**
 * `npm run simulate -- [--seed N] [--count M] [--trace]`: runs seeds N, N+1, … and prints what they met.
 *
 * Ends with exit code 1 and the line that replays it at the first seed that breaks an invariant.
 */
import { parseArgs } from 'node:util'
import { simulate } from './simulation.ts'
import { Tally } from './tally.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
    keepGoing: { type: 'boolean', default: false },
  },
})

const first = Number(values.seed)
const count = Number(values.count)
const tally = new Tally()
const cpuBefore = process.cpuUsage()
let virtualMs = 0
let faults = 0
let broken = 0
let running = first
process.on('uncaughtException', (error) => {
  console.log(`seed=${running} nobody caught: ${error.stack ?? error.message}`)
  console.log(`replay: npm run simulate -- --seed ${running} --trace`)
  process.exit(1)
})
for (let seed = first; seed < first + count; seed++) {
  running = seed
  const outcome = await simulate(seed)
  virtualMs += outcome.virtualMs
  faults += outcome.faults
  tally.include(outcome.tally)
  if (outcome.breach !== undefined) {
    broken += 1
    if (values.trace) for (const line of outcome.trace) console.log(line)
    console.log(`seed=${seed} ${outcome.breach.message}`)
    if (values.trace) console.log(outcome.breach.stack)
    console.log(`replay: npm run simulate -- --seed ${seed} --trace`)
    process.exitCode = 1
    if (!values.keepGoing) break
  } else if (count === 1) {
    if (values.trace) for (const line of outcome.trace) console.log(line)
    console.log(
      `seed=${seed} holds: ${outcome.acknowledged} writes, ${outcome.faults} faults, trace ${outcome.traceHash}`,
    )
  }
}
const cpu = process.cpuUsage(cpuBefore)
const cpuMinutes = (cpu.user + cpu.system) / 60e6
const hours = virtualMs / 3_600_000
for (const line of tally.lines) console.log(line)
console.log(
  `${count} seeds, ${broken} broken, ${faults} faults, ${hours.toFixed(2)} simulated hours in ${(cpuMinutes * 60).toFixed(1)} CPU s: ${(hours / cpuMinutes).toFixed(2)} simulated hours per CPU minute`,
)
