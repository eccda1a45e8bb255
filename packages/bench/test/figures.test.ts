import { expect, test } from 'vitest'
import { FIGURES, FIGURE_NAMES, SCENARIOS, SCENARIO_NAMES, meets, targetText } from '../src/index.ts'
import { allFigures } from '../src/figures.ts'
import { resolveCoreOptions } from '../src/options.ts'

const KEYS = [
  'commitsVsFull1',
  'commitsVsFull64',
  'commitsVsOff64',
  'commitsVsOff256',
  'lagP99Ms',
  'wireBytesPerCommit64',
  'bootstrapVsCopy',
  'bootstrapMiB',
  'catchupRowsPerSecond',
  'leaderGrowthMiB',
  'statementVsRow64',
  'walVsRow64',
  'walWireBytesPerCommit64',
  'walWireBytesPerCommit1',
  'statementUpdateWireBytes',
]

test('a result has exactly the published keys, whatever was measured', () => {
  expect(Object.keys(allFigures({}))).toEqual(KEYS)
  expect(Object.keys(allFigures({ lagP99Ms: 3 }))).toEqual(KEYS)
  expect(allFigures({ lagP99Ms: 3 })).toMatchObject({ lagP99Ms: 3, bootstrapMiB: null })
})

test('each figure is measured by one scenario', () => {
  expect(SCENARIO_NAMES.flatMap((name) => SCENARIOS[name]).toSorted()).toEqual(FIGURE_NAMES.toSorted())
})

test('a lower bound is met at the bound, an upper bound only below it unless it says so, and no target is neither', () => {
  expect(meets(FIGURES.commitsVsFull1, 0.8)).toBe(true)
  expect(meets(FIGURES.commitsVsFull1, 0.79)).toBe(false)
  expect(meets(FIGURES.lagP99Ms, 9.99)).toBe(true)
  expect(meets(FIGURES.lagP99Ms, 10)).toBe(false)
  const rule = { title: '', unit: '', digits: 0 }
  expect(meets({ ...rule, target: { atMost: 16 } }, 16)).toBe(true)
  expect(meets({ ...rule, target: { atMost: 16 } }, 16.1)).toBe(false)
  expect(meets(rule, 1)).toBeUndefined()
  expect(targetText(rule)).toBe('')
})

test('a figure brings its whole scenario, and an unknown name is refused', () => {
  expect(resolveCoreOptions({ only: ['wireBytesPerCommit64'] }).scenarios).toEqual(['commits'])
  expect(resolveCoreOptions({ only: ['stopped', 'lagP99Ms'] }).scenarios).toEqual(['lag', 'stopped'])
  expect(resolveCoreOptions().scenarios).toEqual(SCENARIO_NAMES)
  expect(() => resolveCoreOptions({ only: ['latency'] })).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
  )
})

test('numbers that make no sense are refused', () => {
  for (const options of [{ rounds: 0 }, { rounds: 1.5 }, { seconds: Number.NaN }, { stopSeconds: -1 }])
    expect(() => resolveCoreOptions(options)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
})
