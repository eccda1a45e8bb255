/** Each position for some thousand frames; `npm run fuzz:frames` sends millions. `SEED=7` tries others. */
import { describe, expect, test } from 'vitest'
import { Mutator } from '../src/fuzz/mutator.ts'
import { pack } from '../src/fuzz/pack.ts'
import { fuzzRun, POSITIONS, repeatedLongestMs, type Outcome } from '../src/fuzz/run.ts'
import { frameOf, specimens } from '../src/fuzz/specimens.ts'
import { plainFrames } from '../src/fuzz/streams.ts'
import { HANDLING_MS_MAX } from '../src/fuzz/watch.ts'
import { decodeMessage } from '@understudy/protocol'
import { SeededRandom } from '@understudy/testkit'

const SEED = Number(process.env['SEED'] ?? 20_261_125)
const FRAMES = 2500
/** A second for each on a machine of its own. */
const LONG = { timeout: 120_000 }

function expectHeld({ breach }: Outcome, run: number): void {
  if (breach === undefined) return
  throw new Error(
    `${breach.message}\nrepeat: npm run fuzz:frames -- --seed ${SEED} --run ${run}, or SEED=${SEED} npx vitest run test/fuzz-frames.test.ts`,
    { cause: breach },
  )
}

describe.each(POSITIONS)('$name', (position) => {
  test(`${FRAMES} damaged frames end or go on, in time, and leave everything right`, LONG, async () => {
    const options = { seed: SEED, run: 0, frames: FRAMES, position }
    const outcome = await fuzzRun(options)
    expectHeld(outcome, 0)
    expect(outcome.frames).toBeGreaterThanOrEqual(FRAMES)
    // Damage is noticed: a fuzzer whose frames all pass, or all fail in one way, tries nothing.
    expect(outcome.outcomes.size).toBeGreaterThan(1)
    if (outcome.longestMs > HANDLING_MS_MAX)
      expect(await repeatedLongestMs(options)).toBeLessThanOrEqual(HANDLING_MS_MAX)
  })
})

test('a run repeats from its seed and number', LONG, async () => {
  const options = { seed: SEED, run: 3, frames: 1500, position: POSITIONS[4] }
  const [first, second] = [await fuzzRun(options), await fuzzRun(options)]
  expectHeld(first, 3)
  expect([...second.outcomes]).toEqual([...first.outcomes])
  expect(second.frames).toBe(first.frames)
})

describe('what the fuzzer sends', () => {
  test('is damaged: few frames are as they were, many are no message, many are', () => {
    const corpus = specimens()
    const known = new Set(corpus.map((frame) => Buffer.from(frame).toString('hex')))
    const mutator = new Mutator(new SeededRandom(SEED), corpus)
    let same = 0
    let sound = 0
    for (let n = 0; n < 5000; n++) {
      const frame = mutator.next()
      if (known.has(Buffer.from(frame).toString('hex'))) same++
      else if (isMessage(frame)) sound++
    }
    expect(same).toBeLessThan(500)
    expect(sound).toBeGreaterThan(1000)
    expect(sound).toBeLessThan(4000)
  })

  test('never changes what it was made of', () => {
    const corpus = specimens()
    const before = corpus.map((frame) => Buffer.from(frame).toString('hex'))
    const random = new SeededRandom(SEED)
    const mutator = new Mutator(random, corpus, 0.5)
    for (let n = 0; n < 3000; n++) pack(mutator.next(), mutator, random)
    expect(corpus.map((frame) => Buffer.from(frame).toString('hex'))).toEqual(before)
  })

  test('has every kind of message in it', () => {
    const kinds = new Set(specimens().map((frame) => frame[0]))
    expect(kinds.size).toBe(19)
    expect(decodeMessage(frameOf({ type: 'snapshotAck', offset: 5 }))).toEqual({
      type: 'snapshotAck',
      offset: 5,
    })
  })
})

test('the plain reader of tcp cuts frames, and knows why a stream ends', () => {
  const stream = (...parts: number[][]): Uint8Array => Uint8Array.from(parts.flat())
  const frame = [2, 0, 0, 0, 7, 8]
  expect(plainFrames(stream(frame, [0, 0, 0, 0]), 2)).toEqual({
    frames: [Uint8Array.of(7, 8), new Uint8Array()],
    code: undefined,
  })
  expect(plainFrames(stream(frame, [3, 0, 0, 0]), 2).code).toBe('FRAME_TOO_LARGE')
  expect(plainFrames(stream(frame, [2, 0, 0, 0, 1]), 2).code).toBe('CONNECTION_LOST')
  expect(plainFrames(stream([2, 0, 0]), 2).code).toBe('CONNECTION_LOST')
})

function isMessage(frame: Uint8Array): boolean {
  try {
    decodeMessage(frame)
    return true
  } catch {
    return false
  }
}
