/**
 * Catching up: a follower that was down while a million rows were written, one row per write by 256 callers, is
 * started again on its own data. Timed from the call of `createNode` until it shows the leader's last commit; the rows
 * are compared afterwards.
 */
import { performance } from 'node:perf_hooks'
import { Pair } from '../pair.ts'
import type { Scenario } from '../scenario.ts'
import { median, summarize } from '../statistics.ts'

/** Each round writes a million rows. */
const ROUNDS_MAX = 3
const WRITERS = 256

export const catchup: Scenario = async ({ settings, directory, reporter }) => {
  const rounds = Math.min(settings.rounds, ROUNDS_MAX)
  await using pair = await Pair.start(directory)
  reporter.begin('catchup', rounds)
  const rates: number[] = []
  for (let round = 0; round < rounds; round++) {
    await pair.stopFollower()
    await pair.leader.call('writeRows', { writers: WRITERS, count: settings.catchupRows })
    await pair.leader.call('checkpoint')
    const startMs = performance.now()
    // What the process itself takes to start is no matter of the node.
    const openMs = await pair.startFollower()
    const startedMs = performance.now() - startMs
    const equalMs = await pair.equal()
    const seconds = (Math.min(openMs, startedMs) + equalMs) / 1000
    rates.push(settings.catchupRows / seconds)
    reporter.step(`round ${round + 1}: ${Math.round(rates.at(-1) as number)} rows/s`)
  }
  await pair.verify()
  reporter.end()
  return {
    figures: { catchupRowsPerSecond: median(rates) },
    details: { rows: settings.catchupRows, rowsPerSecond: summarize(rates) },
  }
}
