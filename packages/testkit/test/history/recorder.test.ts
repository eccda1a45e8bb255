import { UnderstudyError } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { SimulatedClock } from '../../src/clock.ts'
import { checkHistory } from '../../src/history/check.ts'
import type { Scalar } from '../../src/history/operation.ts'
import {
  HistoryRecorder,
  encodeHistory,
  mergeHistories,
  parseHistory,
  type RegisterClient,
} from '../../src/history/recorder.ts'
import { simulatedHistory } from './simulated-history.ts'

/** A register that takes a millisecond, and refuses, or keeps its answer back, when told to. */
function client(clock: SimulatedClock): RegisterClient & { failure?: unknown; state: Map<string, Scalar> } {
  const state = new Map<string, Scalar>()
  const pause = (): Promise<void> =>
    new Promise((resolve) => {
      clock.schedule(1, resolve)
    })
  return {
    state,
    async read(key) {
      await pause()
      return state.get(key) ?? null
    },
    async write(key, value) {
      await pause()
      if (this.failure !== undefined) throw this.failure
      state.set(key, value)
      return { position: `1/${state.size}` }
    },
    async cas(key, from, to) {
      await pause()
      if ((state.get(key) ?? null) !== from) return false
      state.set(key, to)
      return true
    },
  }
}

test('what clients do is recorded with its times and outcomes, and read back from the lines as it was', async () => {
  const clock = new SimulatedClock()
  let text = ''
  const recorder = new HistoryRecorder({ clock, model: 'register', sink: (line) => (text += line) })
  const inner = client(clock)
  const recorded = recorder.registers('c1', inner)
  await clock.complete(recorded.write('x', 1))
  expect(await clock.complete(recorded.cas!('x', 1, 2))).toBe(true)
  recorder.note('cut a from b')
  expect(await clock.complete(recorded.read('x'))).toBe(2)
  inner.failure = new UnderstudyError('NOT_WRITTEN', 'No.')
  await expect(clock.complete(recorded.write('x', 3))).rejects.toMatchObject({ code: 'NOT_WRITTEN' })
  inner.failure = new UnderstudyError('OUTCOME_UNKNOWN', 'Who knows.')
  await expect(clock.complete(recorded.write('x', 4))).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  const never = recorded.write('x', 5)
  never.catch(() => {})

  expect(recorder.history).toEqual(parseHistory(text))
  expect(recorder.history.operations).toMatchObject([
    {
      id: 0,
      process: 'c1',
      kind: 'write',
      value: 1,
      outcome: 'ok',
      position: '1/1',
      invokedAtMs: 0,
      completedAtMs: 1,
    },
    { kind: 'cas', from: 1, value: 2, output: true, outcome: 'ok', invokedAtMs: 1 },
    { kind: 'read', output: 2, outcome: 'ok', completedAtMs: 3 },
    { kind: 'write', value: 3, outcome: 'fail', error: 'NOT_WRITTEN' },
    { kind: 'write', value: 4, outcome: 'unknown', error: 'OUTCOME_UNKNOWN', completedAtMs: Infinity },
    { kind: 'write', value: 5, outcome: 'unknown', invokedAtMs: 5, completedAtMs: Infinity },
  ])
  expect(recorder.history.notes).toEqual([{ atMs: 2, text: 'cut a from b' }])
  expect(checkHistory(recorder.history)).toMatchObject({ verdict: 'kept', operations: 6 })
  inner.state.set('x', 3)
  expect(await clock.complete(recorded.read('x'))).toBe(3)
  expect(checkHistory(recorder.history)).toMatchObject({ verdict: 'broken' })
  await expect(clock.complete(never)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
})

test('a history that was cut off is read up to there; one that is none names its line', () => {
  const head = '{"understudyHistory":1,"model":"set"}\n'
  const call = '{"type":"call","id":0,"process":"c","kind":"add","key":"k","value":1,"at":1}\n'
  expect(parseHistory(`${head}${call}{"type":"ok","i`).operations).toMatchObject([{ outcome: 'unknown' }])
  expect(parseHistory(`${head}${call}{"type":"ok","id":0,"at":2}`).operations).toMatchObject([
    { outcome: 'ok' },
  ])
  for (const [text, line] of [
    ['', 1],
    ['{"understudyHistory":2,"model":"set"}\n', 1],
    ['{"understudyHistory":1,"model":"tree"}\n', 1],
    [`${head}nothing\n`, 2],
    [`${head}7\n`, 2],
    [`${head}${call}${call}`, 3],
    [`${head}{"type":"ok","id":3,"at":1}\n`, 2],
    [`${head}{"type":"else"}\n`, 2],
  ] as const)
    expect(() => parseHistory(text)).toThrow(`Line ${line} of the history cannot be used`)
})

test('histories of several processes that share a clock are one history, which its lines give back', () => {
  const clock = new SimulatedClock()
  const [one, two] = ['one', 'two'].map((name) => {
    const text = simulatedHistory('register', { operations: 300, seed: name.length })
    return {
      model: 'register' as const,
      operations: text,
      notes: [{ atMs: 7, text: name }],
      final: new Map(),
    }
  })
  const merged = mergeHistories([
    one!,
    { ...two!, operations: two!.operations.map((each) => ({ ...each, key: `2${each.key}` })) },
  ])
  expect(new Set(merged.operations.map(({ id }) => id)).size).toBe(600)
  expect(checkHistory(merged)).toMatchObject({ verdict: 'kept', operations: 600 })
  const again = parseHistory(encodeHistory(merged))
  expect(again.operations.toSorted((a, b) => a.id - b.id)).toEqual(merged.operations)
  expect([again.notes, again.final]).toEqual([merged.notes, merged.final])
  const other = new HistoryRecorder({ clock, model: 'set', originMs: 0 }).history
  expect(() => mergeHistories([one!, other])).toThrow('Histories of one model')
})

test('acknowledged writes need the final state for a verdict', async () => {
  const recorder = new HistoryRecorder({ clock: new SimulatedClock(), model: 'acked-writes' })
  const client = recorder.collections('c1', {
    add: async () => ({ position: '1/1#0' }),
    read: async () => [],
  })
  await client.add('note', 'one')
  expect(checkHistory(recorder.history)).toMatchObject({ verdict: 'undecided' })
  recorder.final('note', [{ value: 'one', position: '1/1#0' }])
  expect(checkHistory(recorder.history)).toMatchObject({ verdict: 'kept' })
  await client.add('note', 'two')
  const { verdict, explanation } = checkHistory(recorder.history)
  expect(verdict).toBe('broken')
  expect(explanation).toContain('lost "two": an acknowledged write is not there')
})
