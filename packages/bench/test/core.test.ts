import { mkdtemp, readdir, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runCore, type Reporter } from '../src/index.ts'

const TIMEOUT_MS = 120_000
const SILENT: Reporter = { begin: () => undefined, step: () => undefined, end: () => undefined }

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'understudy-bench-test-'))
})

afterEach(async () => {
  await rm(directory, { recursive: true, force: true })
})

test(
  'a tiny run measures commits and wire bytes in real processes, tells its steps and leaves nothing behind',
  async () => {
    const steps: string[] = []
    const reporter: Reporter = { ...SILENT, step: (note) => steps.push(note) }
    const result = await runCore(reporter, { directory, rounds: 1, seconds: 0.2, only: ['commits'] })
    const { figures, machine, details } = result
    expect(figures.commitsVsFull1).toBeGreaterThan(0)
    expect(figures.commitsVsFull64).toBeGreaterThan(figures.commitsVsFull1 as number)
    // The value alone has 100 bytes: fewer would mean that rows went missing.
    expect(figures.wireBytesPerCommit64).toBeGreaterThan(100)
    expect(figures.lagP99Ms).toBeNull()
    expect(machine.overwriteSyncsPerSecond).toBeGreaterThan(0)
    expect(details.commits).toHaveProperty('commitsPerSecond.leader64.median')
    expect(steps).toHaveLength(10)
    expect(await readdir(directory)).toEqual([])
  },
  TIMEOUT_MS,
)

test(
  'a tiny run of the other scenarios compares the rows of both nodes and gives each figure',
  async () => {
    const { figures } = await runCore(SILENT, {
      directory,
      rounds: 1,
      seconds: 0.2,
      stopSeconds: 0.5,
      bootstrapMiB: 2,
      catchupRows: 2000,
      only: ['lag', 'bootstrap', 'catchup', ...(process.platform === 'linux' ? ['stopped'] : [])],
    })
    expect(figures.lagP99Ms).toBeGreaterThan(0)
    expect(figures.bootstrapVsCopy).toBeGreaterThan(0)
    expect(figures.catchupRowsPerSecond).toBeGreaterThan(0)
    expect(figures.commitsVsFull1).toBeNull()
  },
  TIMEOUT_MS,
)
