/**
 * Commits per second with 1, 64 and 256 callers and a streaming follower, beside bare SQLite on the same disk.
 *
 * A round measures bare FULL, bare OFF and the three loads one after another, the next round in the opposite order, so
 * that a disturbance of the machine meets both sides. Ratios are taken within a round. Between two measurements the
 * follower catches up and the leader's database is checkpointed, so that no side pays for the one before.
 */
import path from 'node:path'
import { Child } from '../processes/child.ts'
import type { BareCalls } from '../processes/bare.ts'
import { Pair } from '../pair.ts'
import type { Scenario } from '../scenario.ts'
import { median, ratios, summarize } from '../statistics.ts'

const WRITERS = [1, 64, 256] as const
/** The first second is slower: code is not compiled yet, files have no space yet. */
const WARM_UP_SECONDS_MAX = 1

type Side = 'full' | 'off' | 'leader1' | 'leader64' | 'leader256'

export const commits: Scenario = async ({ settings, directory, reporter, shared }) => {
  const { rounds, seconds } = settings
  await using pair = await Pair.start(directory)
  await using full = await bare(directory, 'full')
  await using off = await bare(directory, 'off')
  const rates = new Map<Side, number[]>()
  const p99Ms = new Map<Side, number[]>()
  const wire: number[] = []

  const measure: Record<Side, (length: number) => Promise<number>> = {
    full: (length) => full.call('load', { seconds: length }),
    off: (length) => off.call('load', { seconds: length }),
    leader1: (length) => load(1, length),
    leader64: (length) => load(64, length),
    leader256: (length) => load(256, length),
  }
  const load = async (writers: (typeof WRITERS)[number], length: number): Promise<number> => {
    const bytesBefore = await pair.leader.call('wireBytes')
    const result = await pair.leader.call('load', { writers, seconds: length })
    await pair.equal()
    const bytes = (await pair.leader.call('wireBytes')) - bytesBefore
    if (writers === 64) wire.push(bytes / result.commits)
    push(p99Ms, `leader${writers}`, result.latency.p99)
    await pair.leader.call('checkpoint')
    return result.perSecond
  }

  const sides = Object.keys(measure) as Side[]
  reporter.begin('commits', sides.length * (rounds + 1))
  for (const side of sides) {
    await measure[side](Math.min(seconds, WARM_UP_SECONDS_MAX))
    reporter.step(`warm-up ${side}`)
  }
  wire.length = 0
  p99Ms.clear()
  for (let round = 0; round < rounds; round++) {
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) {
      const perSecond = await measure[side](seconds)
      push(rates, side, perSecond)
      reporter.step(`round ${round + 1} ${side}: ${Math.round(perSecond)} commits/s`)
    }
  }
  await pair.verify()
  reporter.end()

  const of = (side: Side): number[] => rates.get(side) ?? []
  shared.commits64PerSecond = median(of('leader64'))
  return {
    figures: {
      commitsVsFull1: median(ratios(of('leader1'), of('full'))),
      commitsVsFull64: median(ratios(of('leader64'), of('full'))),
      commitsVsOff64: median(ratios(of('leader64'), of('off'))),
      commitsVsOff256: median(ratios(of('leader256'), of('off'))),
      wireBytesPerCommit64: median(wire),
    },
    details: {
      commitsPerSecond: Object.fromEntries(sides.map((side) => [side, summarize(of(side))])),
      p99Ms: Object.fromEntries([...p99Ms].map(([side, values]) => [side, summarize(values)])),
      wireBytesPerCommit64: summarize(wire),
    },
  }
}

async function bare(directory: string, synchronous: 'full' | 'off'): Promise<Child<BareCalls>> {
  const child = new Child<BareCalls>('bare')
  await child.call('open', { path: path.join(directory, `bare-${synchronous}.db`), synchronous })
  return child
}

function push(lists: Map<Side, number[]>, side: Side, value: number): void {
  const list = lists.get(side)
  if (list === undefined) lists.set(side, [value])
  else list.push(value)
}
