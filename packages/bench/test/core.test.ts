import { readdir } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { runCore, type Reporter } from '../src/index.ts'
import { testFolder } from './folder.ts'

const TIMEOUT_MS = 240_000
const SILENT: Reporter = { begin: () => undefined, step: () => undefined, end: () => undefined }

const folder = testFolder()

test(
  'a tiny run measures commits and wire bytes in real processes, tells its steps and leaves nothing behind',
  async () => {
    const steps: string[] = []
    const reporter: Reporter = { ...SILENT, step: (note) => steps.push(note) }
    const result = await runCore(reporter, {
      directory: folder.path,
      rounds: 1,
      seconds: 0.2,
      only: ['commits'],
    })
    const { figures, machine, details } = result
    expect(figures.commitsVsFull1).toBeGreaterThan(0)
    expect(figures.commitsVsFull64).toBeGreaterThan(figures.commitsVsFull1 as number)
    // The value alone has 100 bytes: fewer would mean that rows went missing.
    expect(figures.wireBytesPerCommit64).toBeGreaterThan(100)
    expect(figures.lagP99Ms).toBeNull()
    expect(machine.overwriteSyncsPerSecond).toBeGreaterThan(0)
    expect(details.commits).toHaveProperty('commitsPerSecond.leader64.median')
    // Bare SQLite in two ways and the leader, with three numbers of callers.
    expect(steps).toHaveLength(9)
    expect(await readdir(folder.path)).toEqual([])
  },
  TIMEOUT_MS,
)

test(
  'a tiny run of the other scenarios compares the rows of both nodes and gives each figure',
  async () => {
    const { figures } = await runCore(SILENT, {
      directory: folder.path,
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

test(
  'a tiny run gives the same keys for each format that was chosen, with rows that are equal on both nodes',
  async () => {
    const steps: string[] = []
    const { figures, formats } = await runCore(
      { ...SILENT, step: (note) => steps.push(note) },
      {
        directory: folder.path,
        rounds: 1,
        seconds: 0.2,
        catchupRows: 2000,
        only: ['formats'],
        format: ['wal', 'row'],
      },
    )
    expect(Object.keys(formats ?? {})).toEqual(['row', 'wal'])
    expect(Object.keys(formats?.['wal'] ?? {})).toEqual(Object.keys(formats?.['row'] ?? {}))
    expect(formats?.['row']?.commitsVsRow64).toBe(1)
    expect(figures.walVsRow64).toBe(formats?.['wal']?.commitsVsRow64)
    expect(figures.walWireBytesPerCommit1).toBeGreaterThan(figures.walWireBytesPerCommit64 as number)
    expect(figures.statementVsRow64).toBeNull()
    // The table has fewer rows than the figure's name says.
    expect(formats?.['row']?.update100kWireBytes).toBeNull()
    expect(formats?.['row']?.lagP99Ms).toBeGreaterThan(0)
    expect(steps.filter((step) => step.includes('round 1: '))).toHaveLength((2 + 2) * 3)
    expect(steps.filter((step) => step.includes('catch-up'))).toHaveLength(2)
    expect(await readdir(folder.path)).toEqual([])
  },
  TIMEOUT_MS,
)

test(
  'one UPDATE of 100,000 rows travels as one statement',
  async () => {
    const result = await runCore(SILENT, {
      directory: folder.path,
      rounds: 1,
      seconds: 0.1,
      catchupRows: 100_000,
      only: ['formats'],
      format: ['statement'],
    })
    expect(result.formats?.['statement']?.commitsVsRow64).toBeNull()
    expect(result.figures.statementUpdateWireBytes).toBeGreaterThan(50)
    // Its rows are 2 MB. How many heartbeats fall into it depends on how busy the machine is.
    expect(result.figures.statementUpdateWireBytes).toBeLessThan(1000)
  },
  TIMEOUT_MS,
)
