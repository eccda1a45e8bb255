import { describe, expect, test } from 'vitest'
import {
  decide,
  decideAndRecord,
  decodeRecord,
  DECISION_VERSION,
  encodeRecord,
  explain,
} from '../src/index.ts'
import { ATTEMPT, gone, held, member, observed } from './observed.ts'

const CASES = {
  stop: observed([member('b', 10), member('c', 10)]),
  fetch: observed([held('b', 10), held('c', 12)], { attempt: ATTEMPT }),
  promote: observed([held('b', 12), held('c', 12)], { attempt: ATTEMPT }),
  refuse: observed([member('b', 10), gone('c')]),
  wait: observed([member('b', 10), member('c', 10)], { holdUntilMs: Infinity }),
  silent: observed([member('b', 10)], { verdict: { verdict: 'dead', silentMs: Infinity, reasons: [] } }),
}

describe('a decision that was recorded', () => {
  test.each(Object.entries(CASES))('gives itself when it is replayed: %s', (_, observations) => {
    const { decision, line } = decideAndRecord(observations, 0)
    expect(line).not.toContain('\n')
    expect(explain(line)).toMatchObject({ isSame: true, replayed: decision, record: { observations } })
  })

  test('is printed with all that it was made from', () => {
    const { line } = decideAndRecord(CASES.refuse, Date.UTC(2026, 0, 2))
    expect(explain(line).text.split('\n')).toEqual([
      '2026-01-02T00:00:00.000Z  b decided: refuse',
      '  asked by     nobody',
      '  leader       a, held dead',
      '  coordinator  reachable',
      '  because      nobody hears a',
      '  because      b is at 1/10: the only one that may lead',
      '  because      durable ANY 1 (b, c), from the coordinator: 1 of 2 are held and 1 had to have a commit: one could be on c alone',
      '  because      nobody provably holds every acknowledged commit',
      '  not a: does not answer',
      '  not c: does not answer',
      '  may lose     acknowledged commits after 1/10',
      '  would help   bring back c',
      '  would help   bring back a, which has all of them',
      '  would help   promote with accept-loss, which may lose acknowledged commits',
      '  saw          a: no answer',
      '  saw          b: streaming at 1/10, applied 10',
      '  saw          c: no answer',
      '  replayed     the same',
    ])
  })

  test('that is replayed to another one says so', () => {
    const record = {
      version: DECISION_VERSION,
      at: 0,
      observations: CASES.stop,
      decision: decide(CASES.refuse),
    }
    const { isSame, text } = explain(encodeRecord(record))
    expect(isSame).toBe(false)
    expect(text).toContain('replayed     ANOTHER: stop the receivers of b, c')
  })

  test('what is none is refused: no JSON, another shape, a newer version', () => {
    const { line } = decideAndRecord(CASES.stop, 0)
    const coded = (code: string): Error => expect.objectContaining({ code }) as Error
    expect(() => explain('{')).toThrow(coded('STATE_CORRUPT'))
    expect(() => explain('null')).toThrow(coded('STATE_CORRUPT'))
    expect(() => explain('{"version":1}')).toThrow(coded('STATE_CORRUPT'))
    expect(() => explain(line.replace('"members":[', '"people":['))).toThrow(coded('STATE_CORRUPT'))
    const newer = line.replace(`"version":${DECISION_VERSION}`, `"version":${DECISION_VERSION + 1}`)
    expect(() => explain(newer)).toThrow(coded('FORMAT_VERSION'))
    expect(decodeRecord(line).version).toBe(DECISION_VERSION)
  })
})
