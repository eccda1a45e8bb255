import { describe, expect, test } from 'vitest'
import * as fc from 'fast-check'
import {
  any,
  async,
  first,
  formatRule,
  parsePolicy,
  parseRule,
  resolvePolicy,
  semiSync,
  sync,
  type AckPolicy,
  type AckRule,
} from '../src/index.ts'

const invalid = (message: RegExp): unknown =>
  expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(message) as string })

describe('a policy is checked as a whole', () => {
  test.each<[string, () => unknown, RegExp]>([
    ['a level without a set', () => resolvePolicy({ level: 'durable' }), /needs a set/],
    ['local with a set', () => resolvePolicy({ level: 'local', of: any(1, ['b']) }), /remove the set/],
    ['the leader in its own set', () => resolvePolicy(sync(['a', 'b']), 'a'), /the leader itself/],
    ['more than there are', () => any(3, ['b', 'c']), /can never be met/],
    ['none', () => first(0, ['b']), /ask for 1 or more/],
    ['a half', () => any(1.5, ['b', 'c']), /ask for 1 or more/],
    ['all of them, or none', () => sync(['b', 'c'], { onUnmet: 'degrade' }), /need not/],
    ['no names', () => sync([]), /names no followers/],
    ['the name of every own slot', () => any(1, ['local']), /can be no follower/],
    ['one twice', () => any(1, ['b', 'b']), /twice/],
    ['a pattern', () => any(1, ['*']), /can be no follower/],
    [
      'an unknown level',
      () => resolvePolicy({ level: 'remote' as 'durable', of: any(1, ['b']) }),
      /the level is/,
    ],
    ['an unknown reaction', () => resolvePolicy(semiSync(['b'], { onUnmet: 'hope' as 'fail' })), /onUnmet/],
    [
      'an unknown visibility',
      () => resolvePolicy(semiSync(['b'], { visibility: 'all' as 'local' })),
      /visibility/,
    ],
    ['no time', () => resolvePolicy(semiSync(['b'], { ackTimeoutMs: 0 })), /ackTimeoutMs/],
    [
      'a set of an unknown kind',
      () => resolvePolicy({ level: 'durable', of: { kind: 'all' as 'any', count: 1, names: ['b'] } }),
      /a set is/,
    ],
  ])('%s is refused', (_, make, message) => {
    expect(make).toThrow(invalid(message))
  })

  test('the presets are what the article calls them', () => {
    expect(formatRule(async())).toBe('local')
    expect(formatRule(semiSync(['b', 'c']))).toBe('durable FIRST 1 (b, c)')
    expect(formatRule(sync(['b', 'c']))).toBe('durable ANY 2 (b, c)')
    expect(formatRule(sync(['b'], { level: 'applied' }))).toBe('applied ANY 1 (b)')
    expect(resolvePolicy(semiSync(['b'])).onUnmet).toBe('block')
  })
})

test('a policy as text', () => {
  expect(parsePolicy('semi-sync:b,c', { onUnmet: 'degrade' })).toEqual(
    semiSync(['b', 'c'], { onUnmet: 'degrade' }),
  )
  expect(parsePolicy('sync:b')).toEqual(sync(['b']))
  expect(() => parsePolicy('sync:b', { onUnmet: 'degrade' })).toThrow(invalid(/need not/))
  expect(parsePolicy('async')).toEqual(async())
})

describe('a rule as text', () => {
  test.each([
    ['async', 'local'],
    ['local', 'local'],
    ['semi-sync:b,c', 'durable FIRST 1 (b, c)'],
    ['sync:b, c', 'durable ANY 2 (b, c)'],
    ['any 1 (b,c) durable', 'durable ANY 1 (b, c)'],
    ['applied FIRST 2 (b, c, d)', 'applied FIRST 2 (b, c, d)'],
    ['any 1 (b)', 'durable ANY 1 (b)'],
  ])('%s', (text, rule) => {
    expect(formatRule(parseRule(text))).toBe(rule)
  })

  test.each([
    '',
    'any',
    'any 1',
    'quorum 1 (b)',
    'durable',
    'any 2 (b) durable',
    'any 1 (b) often',
    'any 1 ()',
    'async:b',
    'any 1 (*)',
  ])("'%s' is refused", (text) => {
    expect(() => parseRule(text)).toThrow(invalid(/Acks: /))
  })

  test('every rule is read back as it was', () => {
    const names = fc.uniqueArray(fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,8}$/), {
      minLength: 1,
      maxLength: 5,
    })
    const rules = fc
      .record({
        level: fc.constantFrom('received' as const, 'durable' as const, 'applied' as const),
        kind: fc.constantFrom('any' as const, 'first' as const),
        names,
        part: fc.nat(4),
      })
      .map(
        ({ level, kind, names: of, part }) =>
          ({ level, of: { kind, count: 1 + (part % of.length), names: of } }) satisfies AckRule,
      )
    fc.assert(
      fc.property(rules, (rule) => {
        expect(parseRule(formatRule(rule))).toEqual(rule)
      }),
    )
  })
})

test('a policy keeps what it was given and fills in the rest', () => {
  const policy: AckPolicy = { level: 'received', of: any(1, ['b']), onUnmet: 'degrade', settleMs: 7 }
  expect(resolvePolicy(policy)).toEqual({
    rule: { level: 'received', of: { kind: 'any', count: 1, names: ['b'] } },
    onUnmet: 'degrade',
    visibility: 'acked',
    ackTimeoutMs: 10_000,
    settleMs: 7,
    lagMsMax: 1000,
    lagBytesMax: 4 * 1024 * 1024,
  })
})
