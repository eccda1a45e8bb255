import { expect, test } from 'vitest'
import { FrameDeadline } from '../src/index.ts'
import { HandClock } from './hand-clock.ts'

function deadline(): { clock: HandClock; late: number[]; frames: FrameDeadline } {
  const clock = new HandClock()
  const late: number[] = []
  return { clock, late, frames: new FrameDeadline(clock, 1000, (allowedMs) => late.push(allowedMs)) }
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

test('sets no timer for each read', () => {
  const { clock, frames } = deadline()
  for (let frame = 0; frame < 1000; frame++) {
    frames.waitsFor(frame, 100)
    frames.rests()
  }
  expect(clock.schedules).toBe(1)
  frames.cancel()
  expect(clock.pending).toBe(0)
})

test('bytes that trickle in give a frame no more time; its announced length does', async () => {
  const { clock, late, frames } = deadline()
  for (let read = 0; read < 5; read++) {
    frames.waitsFor(7, 128 * 1024)
    clock.advance(599)
  }
  await turn()
  expect(late).toEqual([])
  frames.waitsFor(7, 128 * 1024)
  clock.advance(10)
  await turn()
  expect(late).toEqual([3000])
})

test('another frame has its own time, and none counts while nothing is read', async () => {
  const { clock, late, frames } = deadline()
  frames.waitsFor(1, 0)
  clock.advance(900)
  frames.waitsFor(2, 0)
  clock.advance(900)
  frames.rests()
  clock.advance(5000)
  frames.waitsFor(2, 0)
  clock.advance(900)
  await turn()
  expect(late).toEqual([])
  clock.advance(101)
  await turn()
  expect(late).toEqual([1000])
})

test('after a stall what came meanwhile is read before the frame is given up', async () => {
  const { clock, late, frames } = deadline()
  frames.waitsFor(1, 0)
  clock.advance(60_000)
  // The rest was there all the time: it is read in the same turn.
  frames.rests()
  await turn()
  expect(late).toEqual([])
})
