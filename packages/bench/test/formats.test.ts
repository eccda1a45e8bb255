import { expect, test } from 'vitest'
import { resolveCoreOptions } from '../src/options.ts'
import { inTurns, Samples } from '../src/rounds.ts'
import { summarizeFormat } from '../src/scenarios/formats.ts'

test('formats take turns, and the next round begins with the last one', async () => {
  const turns: string[] = []
  await inTurns(3, ['row', 'statement', 'wal'], async (name, round) => {
    turns.push(`${round} ${name}`)
  })
  expect(turns).toEqual([
    '1 row',
    '1 statement',
    '1 wal',
    '2 wal',
    '2 statement',
    '2 row',
    '3 row',
    '3 statement',
    '3 wal',
  ])
})

test('ratios are taken within a round: medians of different rounds are never compared', () => {
  const samples = samplesOf({ row: [100, 10, 50], wal: [80, 8, 10], full: [10, 1, 2], off: [200, 20, 100] })
  const figures = summarizeFormat('wal', samples, 250)
  expect(figures.commitsVsRow64).toBeCloseTo(0.8)
  expect(figures.commitsVsFull64).toBeCloseTo(8)
  expect(figures.commitsVsOff256).toBeCloseTo(0.4)
  expect(figures).toMatchObject({ commitsPerSecond64: 10, update100kWireBytes: 250, lagP99Ms: 5 })
  expect(summarizeFormat('row', samples, null).commitsVsRow64).toBe(1)
})

test('without the row format there is nothing to compare with, and no number is made up', () => {
  const samples = samplesOf({ wal: [80], full: [10], off: [200] })
  expect(summarizeFormat('wal', samples, null)).toMatchObject({
    commitsVsRow1: null,
    commitsVsRow64: null,
    commitsVsRow256: null,
    commitsVsFull1: 8,
  })
})

test('formats are chosen by name, in one order, and an unknown one is refused', () => {
  expect(resolveCoreOptions().formats).toEqual(['row', 'statement', 'wal'])
  expect(resolveCoreOptions({ format: ['wal', 'row'] }).formats).toEqual(['row', 'wal'])
  expect(() => resolveCoreOptions({ format: ['wal', 'json'] })).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
  )
})

function samplesOf({ full, off, ...formats }: Readonly<Record<string, readonly number[]>>): Samples {
  const samples = new Samples()
  for (const writers of [1, 64, 256]) {
    for (const value of full ?? []) samples.push(`bare full ${writers}`, value)
    for (const value of off ?? []) samples.push(`bare off ${writers}`, value)
  }
  for (const [name, values] of Object.entries(formats)) {
    samples.push(`${name} lag`, 5)
    samples.push(`${name} catchup`, 1000)
    for (const writers of [1, 64, 256])
      for (const value of values) {
        samples.push(`${name} ${writers} commits/s`, value)
        samples.push(`${name} ${writers} bytes`, 100)
      }
  }
  return samples
}
