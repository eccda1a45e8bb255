/**
 * A follower's first start: the leader's database while writes go on, against `cp --reflink=never` and sync of a file
 * of the same size.
 *
 * A bootstrap is timed from the call of `createNode` on an empty folder until there is data to read: received, its
 * digest verified, synced, installed, its own log begun. The copy is timed with `sync` of the copy's data. No caches
 * are dropped for either side: the file was just written. Each round does both, the next in the opposite order.
 */
import { execFile } from 'node:child_process'
import { rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { performance } from 'node:perf_hooks'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Pair } from '../pair.ts'
import type { Scenario } from '../scenario.ts'
import { median, ratios, summarize } from '../statistics.ts'
import { CREATE_TABLE, INSERT, Rows } from '../table.ts'

const run = promisify(execFile)
/** A round copies gigabytes: more than three say nothing new. */
const ROUNDS_MAX = 3
/** The load that goes on. */
const WRITERS = 16
const WRITES_PER_SECOND = 1000
const SAMPLE_MS = 10
const MEBIBYTE = 1024 ** 2

export const bootstrap: Scenario = async ({ settings, directory, reporter }) => {
  const rounds = Math.min(settings.rounds, ROUNDS_MAX)
  reporter.begin('bootstrap', 1 + 2 * rounds)
  const original = path.join(directory, 'original.db')
  fill(original, settings.bootstrapMiB * MEBIBYTE)
  await using pair = await Pair.startLeader(directory, { importFrom: original })
  const { size } = await stat(original)
  await pair.leader.call('load', { writers: 64, seconds: Math.min(settings.seconds, 1) })
  reporter.step(`a database of ${Math.round(size / MEBIBYTE)} MiB`)

  const copies: number[] = []
  const bootstraps: number[] = []
  const leaderMiB: number[] = []
  const followerMiB: number[] = []
  const copy = async (): Promise<void> => {
    copies.push(size / MEBIBYTE / (await copySeconds(original, path.join(directory, 'copy.db'))))
    reporter.step(`copy: ${Math.round(copies.at(-1) as number)} MiB/s`)
  }
  const start = async (round: number): Promise<void> => {
    await pair.leader.call('start', { writers: WRITERS, perSecond: WRITES_PER_SECOND })
    const before = pair.leader.residentBytes() ?? 0
    const sampling = new AbortController()
    const peak = peakOf(() => pair.leader.residentBytes() ?? 0, sampling.signal)
    const folder = `follower-${round}`
    const openMs = await pair.startFollower(folder)
    sampling.abort()
    bootstraps.push(size / MEBIBYTE / (openMs / 1000))
    leaderMiB.push(((await peak) - before) / MEBIBYTE)
    followerMiB.push((await pair.follower.call('openMemory')) / MEBIBYTE)
    await pair.leader.call('stop')
    await pair.equal()
    if (round === rounds - 1) await pair.verify()
    await pair.stopFollower()
    await rm(path.join(directory, folder), { recursive: true, force: true })
    reporter.step(`bootstrap: ${Math.round(bootstraps.at(-1) as number)} MiB/s`)
  }
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) await copy()
    await start(round)
    if (round % 2 === 1) await copy()
  }
  reporter.end()
  return {
    figures: {
      bootstrapVsCopy: median(ratios(bootstraps, copies)),
      bootstrapMiB: Math.max(median(leaderMiB), median(followerMiB)),
    },
    details: {
      fileMiB: size / MEBIBYTE,
      writesPerSecond: WRITES_PER_SECOND,
      copyMiBPerSecond: summarize(copies),
      bootstrapMiBPerSecond: summarize(bootstraps),
      leaderExtraMiB: summarize(leaderMiB),
      followerExtraMiB: summarize(followerMiB),
    },
  }
}

/** Makes a database of at least `bytes`. */
function fill(file: string, bytes: number): void {
  const database = new DatabaseSync(file)
  const rows = new Rows()
  try {
    database.exec(`pragma journal_mode = off; pragma synchronous = off; ${CREATE_TABLE}`)
    const insert = database.prepare(INSERT)
    const pages = database.prepare('pragma page_count')
    while (Number(pages.get()?.['page_count']) * 4096 < bytes) {
      database.exec('begin')
      for (let row = 0; row < 5000; row++) insert.run(...rows.next())
      database.exec('commit')
    }
  } finally {
    database.close()
  }
}

async function copySeconds(from: string, to: string): Promise<number> {
  // What waits to be written would count against the copy.
  await run('sync', [from])
  const startMs = performance.now()
  await run('cp', ['--reflink=never', from, to])
  await run('sync', [to])
  const seconds = (performance.now() - startMs) / 1000
  await rm(to)
  return seconds
}

async function peakOf(sample: () => number, signal: AbortSignal): Promise<number> {
  let peak = sample()
  while (!signal.aborted) {
    await delay(SAMPLE_MS)
    peak = Math.max(peak, sample())
  }
  return peak
}
