/** The highest epoch that a client has seen, and which answers it refuses by that. */
import { expect, test } from 'vitest'
import { SeenEpochs } from '../src/epochs.ts'

const epoch = (number: number, runId = '00000000000000aa') => ({ number, runId })

test('it only grows, and tells of each rise whose word it was', () => {
  const epochs = new SeenEpochs()
  const told: string[] = []
  const unwatch = epochs.watch((from) => told.push(from))
  expect(epochs.seen).toBeUndefined()
  expect(epochs.judge('a', epoch(3))).toBeUndefined()
  epochs.raise(epoch(2), 'b')
  epochs.raise(epoch(3, 'ffffffffffffffff'), 'b')
  epochs.raise(undefined, 'b')
  expect(epochs.seen).toEqual(epoch(3))
  expect(epochs.judge('c', epoch(5))).toBeUndefined()
  unwatch()
  epochs.raise(epoch(6))
  expect(told).toEqual(['a', 'c'])
})

test('an answer from below it is EPOCH_STALE, one of another run of it EPOCH_FORK, one that names none is taken', () => {
  const epochs = new SeenEpochs()
  epochs.raise(epoch(4))
  expect(epochs.judge('a', epoch(3))).toMatchObject({ code: 'EPOCH_STALE', details: { epoch: 3, seen: 4 } })
  expect(epochs.judge('a', epoch(4, 'ffffffffffffffff'))).toMatchObject({ code: 'EPOCH_FORK' })
  expect(epochs.judge('a', epoch(4))).toBeUndefined()
  expect(epochs.judge('a', undefined)).toBeUndefined()
  // A higher number ends the doubt about the lower one.
  expect(epochs.judge('a', epoch(5, 'ffffffffffffffff'))).toBeUndefined()
})
