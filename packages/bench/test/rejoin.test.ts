import { readdir } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { runRejoin, type Reporter } from '../src/index.ts'
import { testFolder } from './folder.ts'

const folder = testFolder()

test('a tiny run measures tails that need no copy, and one that needs the pages that differ', async () => {
  const steps: string[] = []
  const reporter: Reporter = {
    begin: () => undefined,
    step: (note) => steps.push(note),
    end: () => undefined,
  }
  const { figures, details } = await runRejoin(reporter, {
    directory: folder.path,
    sizeMiB: 4,
    commits: 20,
    only: ['row', 'schema', 'delta'],
  })
  expect(details.copyBytes).toBeGreaterThan(4 * 1024 ** 2)
  for (const tail of ['row', 'schema'] as const) {
    expect(details.tails[tail]).toMatchObject({ pageBytes: undefined })
    expect(figures[`${tail}Seconds`]).toBeGreaterThan(0)
    expect(figures[`${tail}Percent`]).toBeLessThan(1)
  }
  expect(details.tails.delta?.pageBytes).toBeGreaterThan(0)
  expect(details.tails.delta?.pageBytes).toBeLessThan(details.copyBytes / 4)
  expect(figures.walSeconds).toBeNull()
  expect(steps).toHaveLength(5)
  expect(await readdir(folder.path)).toEqual([])
}, 120_000)
