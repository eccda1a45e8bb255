/**
 * `npm run fuzz:frames -- [--count N] [--seed S] [--run R] [--json]`: sends N damaged frames to every place of the product
 * where a peer's bytes arrive, or repeats one run.
 *
 * Ends with exit code 1 and the line that repeats it at the first breach: what was promised does not hold, nobody caught an
 * error, a frame kept the thread for more than 50 ms each time, memory grew.
 */
import { parseArgs } from 'node:util'
import { Ledger, type Report } from './ledger.ts'
import { fuzzRun, positionOf, repeatedLongestMs } from './run.ts'
import { HANDLING_MS_MAX } from './watch.ts'

interface Options {
  readonly seed: number
  readonly count: number
  readonly run: number | undefined
  readonly json: boolean
}

/** Some thousand frames take a second. */
const RUN_MS_MAX = 300_000

async function main(): Promise<void> {
  const options = readOptions()
  const ledger = new Ledger(options.seed)
  const running = { run: options.run ?? 0 }
  const fail = (what: string): never => {
    const { seed } = options
    const position = positionOf({ seed, run: running.run }).name
    console.log(`seed=${seed} run=${running.run} at ${position}: ${what}`)
    console.log(`repeat: npm run fuzz:frames -- --seed ${seed} --run ${running.run}`)
    process.exit(1)
  }
  process.on('uncaughtException', (error) => fail(`nobody caught ${error.stack ?? error.message}`))
  process.on('unhandledRejection', (error) => fail(`nobody caught ${describe(error)}`))
  const last = options.run
  // Most frames end as errors, whose stacks nobody reads; one run that is repeated shows them.
  if (last === undefined) Error.stackTraceLimit = 2
  for (; last === undefined ? ledger.frames < options.count : running.run <= last; running.run++) {
    const watchdog = setTimeout(() => fail(`it did not end within ${RUN_MS_MAX / 1000} s`), RUN_MS_MAX)
    const outcome = await fuzzRun({ seed: options.seed, run: running.run })
    if (outcome.breach !== undefined) fail(describe(outcome.breach))
    const isSlow = outcome.longestMs > HANDLING_MS_MAX
    const longestMs = isSlow
      ? await repeatedLongestMs({ seed: options.seed, run: running.run })
      : outcome.longestMs
    if (longestMs > HANDLING_MS_MAX)
      fail(`a frame keeps the thread for ${longestMs.toFixed(0)} ms, each of four times`)
    ledger.include(outcome, longestMs)
    clearTimeout(watchdog)
    const growth = ledger.checkMemory()
    if (growth !== undefined) fail(growth)
    ledger.progress(options.count)
  }
  print(ledger.report(), options.json)
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      count: { type: 'string', default: '100000' },
      run: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  })
  const { seed, count, run, json } = values
  return { seed: Number(seed), count: Number(count), run: run === undefined ? undefined : Number(run), json }
}

function print(report: Report, isJson: boolean): void {
  if (isJson) return console.log(JSON.stringify(report, undefined, 2))
  for (const { position, frames, longestMs, outcomes } of report.positions) {
    console.log(`${position}: ${frames} frames, longest handling ${longestMs.toFixed(1)} ms`)
    for (const [outcome, count] of Object.entries(outcomes)) console.log(`    ${count} ${outcome}`)
  }
  const { frames, runs, framesPerSecond, framesPerCpuSecond, memory } = report
  console.log(
    `${frames} frames in ${runs} runs, ${framesPerSecond} a second (${framesPerCpuSecond} for a second of processor time), no breach; ` +
      `memory ${memory.beforeMiB} MiB before, ${memory.afterMiB} MiB after, ${memory.mostMiB} MiB at most`,
  )
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause instanceof Error ? `\ncaused by ${error.cause.stack}` : ''
  return `${error.stack ?? error.message}${cause}`
}

await main()
