import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { lines, timeText } from '../src/commands/progress.ts'
import { percentileMs } from '../src/load/histogram.ts'
import { lagOf, stalenessOf } from '../src/matrix/lag.ts'
import { killSample } from '../src/matrix/measure.ts'
import { resolveMatrixOptions } from '../src/matrix/options.ts'
import { processUse } from '../src/matrix/process-use.ts'
import { readResults, writeResults } from '../src/matrix/results.ts'
import { columnsOf } from '../src/report/columns.ts'
import { rowsOf } from '../src/report/rows.ts'
import { understudyVariants } from '../src/subjects/understudy.ts'
import { testFolder } from './folder.ts'
import { cellResult, resultsOf, roundSample } from './results-made.ts'

const folder = testFolder()
const array = (...values: number[]): Float64Array => Float64Array.from(values)

describe('lag and staleness', () => {
  // Answered out of order, as writers of one group are.
  const commits = { numbers: array(10, 12, 11, 12), answeredAtMs: array(100, 140, 120, 141) }

  test('a lag ends when a reader sees the commit or a later one, and is never negative', () => {
    const { latency, series } = lagOf(commits, { numbers: array(10, 12), atMs: array(99, 150) })
    expect(latency.totalCount).toBe(4)
    expect(percentileMs(latency, 25)).toBe(0)
    expect(percentileMs(latency, 50)).toBeCloseTo(9, 1)
    expect(percentileMs(latency, 100)).toBeCloseTo(30, 1)
    expect(series[0]).toEqual([0, 0, 0])
    expect(series.at(-1)).toEqual([41, 9, 9])
  })

  test('a commit that no reader saw is an error, not a lag of nothing', () => {
    expect(() => lagOf(commits, { numbers: array(10, 11), atMs: array(101, 150) })).toThrow(
      /12 was never seen/,
    )
  })

  test('a read is as stale as the oldest answered commit that it missed', () => {
    const reads = { numbers: array(10, 10, 12, 10), atMs: array(105, 130, 141, 500) }
    const staleness = stalenessOf(commits, reads)
    // The last one came after the load, the first one missed what was not answered yet.
    expect(staleness.totalCount).toBe(3)
    expect(percentileMs(staleness, 34)).toBe(0)
    expect(percentileMs(staleness, 100)).toBeCloseTo(10, 1)
  })
})

describe('what is lost with a leader', () => {
  const acknowledged = { keys: ['3-7', '3-8', '3-9'], numbers: array(1, 2, 3) }

  test('is what was acknowledged and is not there', () => {
    expect(
      killSample(acknowledged, { replica: { reached: 2 }, leader: ['3-7', '3-8', '3-9', '3-10', '3-1'] }),
    ).toMatchObject({
      acknowledged: 3,
      lostOnReplica: 1,
      lostOnRestart: 0,
      unacknowledged: 1,
    })
    expect(killSample(acknowledged, { replica: { keys: ['3-9'] }, leader: ['3-7'] })).toMatchObject({
      lostOnReplica: 2,
      lostOnRestart: 2,
    })
  })

  test('counts a commit whose number is not known as lost', () => {
    const unknown = { keys: ['1-1'], numbers: array(Number.NaN) }
    expect(killSample(unknown, { replica: { reached: 9 }, leader: ['1-1'] }).lostOnReplica).toBe(1)
  })
})

describe('results', () => {
  test('that were written are read again; other files are refused', async () => {
    const file = path.join(folder.path, 'r.json')
    const results = resultsOf([cellResult({}, [1, 2])])
    await writeResults(file, results)
    expect(await readResults(file)).toEqual(results)
    await writeFile(file, (await readFile(file, 'utf8')).replace('"version":1', '"version":2'))
    await expect(readResults(file)).rejects.toThrow(/has version 2/)
    await writeFile(file, '{}')
    await expect(readResults(file)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await writeFile(file, '{')
    await expect(readResults(file)).rejects.toThrow(/cannot be read/)
  })

  test('give ratios to bare SQLite of the same round of the same batch only', () => {
    const sqlite = cellResult({ subject: 'sqlite', variant: { synchronous: 'full' } }, [])
    const yardstick = { ...sqlite, rounds: [{ ...roundSample(1000, 1), batch: 2 }, roundSample(10, 1)] }
    const ours = cellResult({}, [20, 30])
    const [, row] = rowsOf(resultsOf([yardstick, ours]))
    expect(row?.vsYardstick?.values).toEqual([2])
    expect(row?.operationsPerSecond.median).toBe(25)
  })

  test('show only columns in which something stands', () => {
    const rows = rowsOf(resultsOf([cellResult({}, [1])]))
    expect(columnsOf(rows).map(({ head }) => head)).not.toContain('lag p50')
    const kill = {
      acknowledged: 3,
      lostOnReplica: 1,
      lostOnRestart: 0,
      unacknowledged: 0,
      failoverSeconds: 'not measured',
    } as const
    const killed = rowsOf(resultsOf([cellResult({}, [1], { kill })]))
    expect(
      columnsOf(killed)
        .at(-1)
        ?.value(killed[0] as (typeof killed)[0]),
    ).toBe('1 / 0 of 3')
  })
})

describe('options', () => {
  test('have the whole matrix by default, and a small one when it is to be quick', () => {
    expect(resolveMatrixOptions()).toMatchObject({
      transports: ['tcp', 'ws'],
      writers: [1, 16, 64, 256],
      rounds: 5,
      peers: ['sqlite'],
    })
    expect(understudyVariants()).toHaveLength(3 * 2 * 4)
    expect(resolveMatrixOptions({ quick: true })).toMatchObject({
      transports: ['tcp'],
      workloads: ['inserts'],
      rounds: 3,
    })
    expect(resolveMatrixOptions({ quick: true, rounds: 9, peers: ['none'] })).toMatchObject({
      rounds: 9,
      peers: [],
    })
  })

  test('that make no sense are refused', () => {
    for (const options of [
      { format: ['rows'] },
      { ack: ['maybe'] },
      { writers: [0] },
      { seconds: -1 },
      { followers: 9 },
      { measure: ['x'] },
    ])
      expect(() => resolveMatrixOptions(options)).toThrow(/Nothing was measured|nothing was measured/)
  })
})

test.skipIf(process.platform !== 'linux')(
  'processor time and memory are of a process and of all that it started',
  async () => {
    const burn = 'while (process.cpuUsage().user < 300000); process.stdin.resume()'
    const child = spawn('sh', ['-c', `"${process.execPath}" -e '${burn}; console.log("done")'; true`], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.stdin.end())
    await once(child.stdout, 'data')
    const use = processUse([child.pid as number])?.get(child.pid as number)
    // The shell itself does nothing: it is its child that is counted.
    expect(use?.cpuSeconds).toBeGreaterThan(0.25)
    expect(use?.residentMiB).toBeGreaterThan(20)
  },
)

test('progress without a terminal says how far it is and how long it takes', () => {
  const said: string[] = []
  const clock = { nowMs: 0, now: () => clock.nowMs }
  const reporter = lines((line) => said.push(line), clock)
  reporter.begin(4)
  clock.nowMs = 90_000
  reporter.step('a')
  reporter.note('b')
  expect(said).toEqual(['1/4, 4 min left: a', 'b'])
  expect([timeText(59_000), timeText(7_500_000)]).toEqual(['59 s', '2 h 5 min'])
})
