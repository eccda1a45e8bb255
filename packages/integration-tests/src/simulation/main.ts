/**
 * `npm run simulate -- [--seed N] [--count M] [--trace]`: runs seeds N, N+1, … and prints what they met.
 *
 * Ends with exit code 1 and the line that replays it at the first seed that breaks an invariant.
 */
import { parseArgs } from 'node:util'
import { simulate, type Outcome } from './simulation.ts'
import { Tally } from './tally.ts'

interface Totals {
  readonly tally: Tally
  virtualMs: number
  faults: number
  broken: number
}

function report(
  seed: number,
  outcome: Outcome,
  options: { readonly trace: boolean; readonly isOnly: boolean },
): void {
  const { breach, trace, acknowledged, faults, traceHash } = outcome
  if (options.trace) for (const line of trace) console.log(line)
  if (breach !== undefined) {
    console.log(`seed=${seed} ${options.trace ? breach.stack : breach.message}`)
    console.log(`replay: npm run simulate -- --seed ${seed} --trace`)
  } else if (options.isOnly) {
    console.log(`seed=${seed} holds: ${acknowledged} writes, ${faults} faults, trace ${traceHash}`)
  }
}

function summarize(count: number, { tally, virtualMs, faults, broken }: Totals, cpuMinutes: number): void {
  const hours = virtualMs / 3_600_000
  for (const line of tally.lines) console.log(line)
  console.log(
    `${count} seeds, ${broken} broken, ${faults} faults, ${hours.toFixed(2)} simulated hours in ` +
      `${(cpuMinutes * 60).toFixed(1)} CPU s: ${(hours / cpuMinutes).toFixed(2)} simulated hours per CPU minute`,
  )
}

async function main(): Promise<void> {
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
  const totals: Totals = { tally: new Tally(), virtualMs: 0, faults: 0, broken: 0 }
  const running = { seed: first }
  process.on('uncaughtException', (error) => {
    console.log(`seed=${running.seed} nobody caught: ${error.stack ?? error.message}`)
    console.log(`replay: npm run simulate -- --seed ${running.seed} --trace`)
    process.exit(1)
  })
  const cpuBefore = process.cpuUsage()
  let done = 0
  while (done < count && (totals.broken === 0 || values.keepGoing)) {
    running.seed = first + done
    const outcome = await simulate(running.seed)
    report(running.seed, outcome, { trace: values.trace, isOnly: count === 1 })
    totals.virtualMs += outcome.virtualMs
    totals.faults += outcome.faults
    totals.broken += outcome.breach === undefined ? 0 : 1
    totals.tally.include(outcome.tally)
    done += 1
  }
  const cpu = process.cpuUsage(cpuBefore)
  summarize(done, totals, (cpu.user + cpu.system) / 60e6)
  if (totals.broken > 0) process.exitCode = 1
}

await main()
