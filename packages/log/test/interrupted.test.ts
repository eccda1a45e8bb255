import { type Log, type LogPoint } from '@understudy/contracts'
import { SeededRandom, SimulatedDisk } from '@understudy/testkit'
import { expect, test } from 'vitest'
import { openLog } from '../src/index.ts'
import { Crash, crashingFiles } from './crashing-files.ts'
import { begin, draft, errorOf, RUN, texts } from './helpers.ts'

interface Seen {
  readonly first: number
  readonly end: LogPoint
  readonly texts: readonly string[]
  readonly epochs: readonly string[]
  readonly slots: readonly string[]
}

function seen(log: Log): Seen {
  return {
    first: log.first,
    end: { ...log.end },
    texts: texts(log),
    epochs: log.history.map((entry) => entry.runId),
    slots: log.slots.list().map((slot) => `${slot.name} ${slot.lsn} ${slot.state === 'lost'}`),
  }
}

function open(disk: SimulatedDisk): Log {
  return openLog({ directory: '/log', files: disk.mount(), random: new SeededRandom(1), segmentBytes: 8192 })
}

/** Two epochs and 40 records of 400 bytes in several segments, all durable, with slots. */
function filled(): SimulatedDisk {
  const disk = new SimulatedDisk({ random: new SeededRandom(7) })
  const log = open(disk)
  begin(log)
  for (let i = 2; i <= 20; i++) log.append([draft(`r${i}`.padEnd(400, '.'))])
  begin(log, RUN[1], 'b')
  for (let i = 22; i <= 40; i++) log.append([draft(`r${i}`.padEnd(400, '.'))])
  log.syncNow()
  log.slots.reserve('local', 18)
  log.slots.reserve('f', 30)
  disk.kill()
  disk.crash('keep-all')
  return disk
}

/**
 * Stops `run` at each of its changes to files, then lets the machine lose power or the process die, and opens anew,
 * twice. Every time the log must be as it was before, or as `run` leaves it.
 */
function everywhere(run: (log: Log) => void): number {
  const before = seen(open(filled()))
  const done = filled()
  const complete = open(done)
  run(complete)
  const after = seen(complete)
  expect(seen(open(done))).toEqual(after)
  expect(after).not.toEqual(before)
  const start = filled()
  let steps = 0
  for (let at = 0; ; at++) {
    let reached = false
    const outcomes = new Set<string>()
    for (const how of ['kill', 'lose-all', 'keep-all', 'random', 'random'] as const) {
      const disk = start.copy(new SeededRandom(at))
      const { files, plan } = crashingFiles(disk.mount())
      const log = openLog({ directory: '/log', files, random: new SeededRandom(1), segmentBytes: 8192 })
      plan.remaining = at
      const error = errorOf(() => run(log))
      if (!plan.crashed) continue
      reached = true
      expect(error instanceof Crash || log.failure?.cause instanceof Crash || error !== undefined).toBe(true)
      if (how === 'kill') disk.kill()
      else disk.crash(how)
      const found = seen(open(disk))
      expect([before, after]).toContainEqual(found)
      // What was found once is found again, whatever the disk loses now.
      disk.crash('lose-all')
      expect(seen(open(disk))).toEqual(found)
      outcomes.add(JSON.stringify(found))
    }
    if (!reached) break
    expect(outcomes.size).toBeGreaterThan(0)
    steps++
  }
  return steps
}

test('truncateAfter, stopped anywhere, happened or did not', () => {
  expect(everywhere((log) => log.truncateAfter(25))).toBeGreaterThan(8)
  expect(everywhere((log) => log.truncateAfter(12))).toBeGreaterThan(8)
  expect(everywhere((log) => log.truncateAfter(0))).toBeGreaterThan(8)
})

test('resetTo, stopped anywhere, happened or did not', () => {
  const steps = everywhere((log) => {
    log.resetTo({ epoch: 2, lsn: 1000, crc: 5 }, log.history)
  })
  expect(steps).toBeGreaterThan(10)
  everywhere((log) => log.resetTo({ epoch: 0, lsn: 0, crc: 0 }, []))
})

test('a slot is created, dropped or moved back, or it is not', () => {
  everywhere((log) => void log.slots.reserve('g', 30))
  everywhere((log) => log.slots.drop('f'))
  everywhere((log) => void log.slots.reserve('f', 20))
})

test('collect, stopped anywhere, deleted all that it was to delete or nothing', () => {
  expect(everywhere((log) => void log.collect())).toBeGreaterThan(5)
})

test('a new segment, stopped anywhere, holds its append or the log ends before it', () => {
  const big = 'big'.padEnd(7000, '.')
  const steps = everywhere((log) => {
    log.append([draft(big)])
    log.syncNow()
  })
  expect(steps).toBeGreaterThan(5)
})
