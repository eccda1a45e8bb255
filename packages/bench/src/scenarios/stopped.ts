/**
 * The leader's memory while its follower does not take anything: 64 callers at full speed, the follower stopped by
 * SIGSTOP. The leader gives the connection up after its deadline; memory is counted all the same, over the whole time.
 * Growth is the highest resident size while it was stopped, less the highest of the load just before.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { UnderstudyError } from '@understudy/contracts'
import { Pair } from '../pair.ts'
import type { Scenario } from '../scenario.ts'

const WRITERS = 64
/** Load with a follower that streams, before it is stopped: what the leader needs for that is not growth. */
const WARM_UP_SECONDS_MAX = 10
const SAMPLE_MS = 100
const MEBIBYTE = 1024 ** 2

export const stopped: Scenario = async ({ settings, directory, reporter }) => {
  const { stopSeconds } = settings
  const steps = Math.max(1, Math.round(stopSeconds / 10))
  await using pair = await Pair.start(directory)
  reporter.begin('stopped', steps + 3)
  const resident = (): number => {
    const bytes = pair.leader.residentBytes()
    if (bytes !== undefined) return bytes
    throw new UnderstudyError(
      'UNSUPPORTED_RUNTIME',
      'The memory of another process is read from /proc, which this system lacks. Leave the scenario `stopped` out.',
    )
  }
  await pair.leader.call('start', { writers: WRITERS })
  const before = await peakDuring(Math.min(stopSeconds, WARM_UP_SECONDS_MAX), resident)
  reporter.step(`streaming: ${Math.round(before / MEBIBYTE)} MiB`)
  pair.follower.signal('SIGSTOP')
  let peak = 0
  for (let step = 0; step < steps; step++) {
    peak = Math.max(peak, await peakDuring(stopSeconds / steps, resident))
    reporter.step(`stopped: ${Math.round(peak / MEBIBYTE)} MiB`)
  }
  const load = await pair.leader.call('stop')
  pair.follower.signal('SIGCONT')
  const equalMs = await pair.equal()
  reporter.step(`equal again after ${(equalMs / 1000).toFixed(1)} s`)
  await pair.verify()
  reporter.step('both hold the same rows')
  reporter.end()
  return {
    figures: { leaderGrowthMiB: Math.max(0, peak - before) / MEBIBYTE },
    details: {
      stopSeconds,
      streamingMiB: before / MEBIBYTE,
      stoppedMiB: peak / MEBIBYTE,
      commitsPerSecond: load.perSecond,
      equalAgainSeconds: equalMs / 1000,
    },
  }
}

async function peakDuring(seconds: number, sample: () => number): Promise<number> {
  const samples = Math.max(1, Math.round((seconds * 1000) / SAMPLE_MS))
  let peak = sample()
  for (let index = 0; index < samples; index++) {
    await delay((seconds * 1000) / samples)
    peak = Math.max(peak, sample())
  }
  return peak
}
