/**
 * `npm run simulate:failover -- [--failovers 10000] [--seed text] [--from 0] [--trace]`: runs seeds until so many
 * promotions happened, or one seed again with all that happens.
 */
import { parseArgs } from 'node:util'
import { Breach } from './checker.ts'
import { simulate, type Profile, type RunResult } from './run.ts'

const { values } = parseArgs({
  options: {
    failovers: { type: 'string', default: '10000' },
    from: { type: 'string', default: '0' },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    profile: { type: 'string', default: '{}' },
    json: { type: 'boolean', default: false },
  },
})

const profile = JSON.parse(values.profile) as Profile
const trace = values.trace ? (line: string): void => print(line) : undefined
const totals = { seeds: 0, failovers: 0, acked: 0, losses: 0, refusals: 0, forecasts: 0 }
const wanted = values.seed === undefined ? Number(values.failovers) : 1
const happened: Record<string, number> = {}
for (let seed = Number(values.from); totals.failovers < wanted; seed++) {
  const id = values.seed ?? String(seed)
  add(run(id))
  if (values.seed !== undefined) break
}
print(
  values.json
    ? JSON.stringify({ ...totals, happened })
    : `held: ${JSON.stringify(totals)}\n${JSON.stringify(happened)}`,
)

function run(seed: string): RunResult {
  try {
    return simulate(seed, { profile, ...(trace && { trace }) })
  } catch (error) {
    const what = error instanceof Breach ? error.message : String((error as Error).stack)
    print(`${what}\nseed ${seed}: npm run simulate:failover -- --seed ${seed} --trace`)
    process.exit(1)
  }
}

function add(result: RunResult): void {
  totals.seeds++
  totals.failovers += result.failovers
  totals.acked += result.acked
  totals.losses += result.losses
  totals.refusals += result.refusals
  totals.forecasts += result.forecasts
  for (const [kind, count] of Object.entries(result.happened)) happened[kind] = (happened[kind] ?? 0) + count
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
