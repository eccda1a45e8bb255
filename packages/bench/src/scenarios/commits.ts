/**
 * Commits per second with 1, 64 and 256 callers and a streaming follower, beside bare SQLite on the same disk: a part of the matrix.
 * Ratios are taken within a round.
 */
import { latencyMs, runPreset } from '../matrix/preset.ts'
import type { Scenario } from '../scenario.ts'
import type { Settings } from '../subjects/subject.ts'
import { median, ratios, summarize, type Summary } from '../statistics.ts'

const WRITERS = [1, 64, 256] as const
type Writers = (typeof WRITERS)[number]

const LEADER: Settings = { subject: 'understudy' }
export const BARE_FULL: Settings = { subject: 'sqlite', synchronous: 'full' }
export const BARE_OFF: Settings = { subject: 'sqlite', synchronous: 'off' }

export const commits: Scenario = async (context) => {
  const { rounds, seconds } = context.settings
  const preset = await runPreset('commits', context, {
    writers: WRITERS,
    followers: 1,
    measure: ['bytes'],
    rounds,
    seconds,
  })
  const rates = (of: Settings, writers: Writers): readonly number[] =>
    preset.rounds(of, writers).map(({ commitsPerSecond }) => commitsPerSecond)
  const against = (bare: Settings, writers: Writers): number =>
    median(ratios(rates(LEADER, writers), rates(bare, writers)))
  const byLoad = (values: (writers: Writers) => readonly number[]): Record<string, Summary> =>
    Object.fromEntries(WRITERS.map((writers) => [`leader${writers}`, summarize(values(writers))]))
  const bare = (of: Settings): Summary => summarize(WRITERS.flatMap((writers) => rates(of, writers)))
  const wire = preset.rounds(LEADER, 64).flatMap(({ wireBytesPerCommit }) => wireBytesPerCommit ?? [])
  return {
    figures: {
      commitsVsFull1: against(BARE_FULL, 1),
      commitsVsFull64: against(BARE_FULL, 64),
      commitsVsOff64: against(BARE_OFF, 64),
      commitsVsOff256: against(BARE_OFF, 256),
      wireBytesPerCommit64: median(wire),
    },
    details: {
      commitsPerSecond: {
        full: bare(BARE_FULL),
        off: bare(BARE_OFF),
        ...byLoad((writers) => rates(LEADER, writers)),
      },
      p99Ms: byLoad((writers) => preset.rounds(LEADER, writers).map((round) => latencyMs(round, 99))),
      wireBytesPerCommit64: summarize(wire),
    },
  }
}
