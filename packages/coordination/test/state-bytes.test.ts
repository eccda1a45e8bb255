import type { PublishedState } from '@understudy/contracts'
import { decodeState, encodeState } from '@understudy/coordination'
import { expect, test } from 'vitest'

const STATE: PublishedState = {
  cluster: 'c0ffee',
  epoch: 3,
  runId: '0123456789abcdef',
  leader: { name: 'a', addresses: ['tcp://a:1'] },
  acks: {
    rule: { level: 'durable', of: { kind: 'first', count: 1, names: ['b', 'c'] } },
    next: { level: 'local' },
  },
  ceilings: new Map([['note', 2n ** 63n - 1n]]),
  paused: false,
}

const GOLDEN =
  '{"version":1,"token":"t","cluster":"c0ffee","epoch":3,"runId":"0123456789abcdef","leader":{"name":"a","addresses":["tcp://a:1"]},' +
  '"acks":{"rule":{"level":"durable","of":{"kind":"first","count":1,"names":["b","c"]}},"next":{"level":"local"}},' +
  '"ceilings":{"note":"9223372036854775807"},"paused":false}'

test('the bytes are those of version 1', () => {
  expect(Buffer.from(encodeState({ state: STATE, token: 't' })).toString()).toBe(GOLDEN)
  expect(decodeState(Buffer.from(GOLDEN))).toEqual({ state: STATE, token: 't' })
})

test('a field that a later version may add is no reason to refuse', () => {
  const bytes = Buffer.from(GOLDEN.replace('"paused"', '"hint":1,"paused"'))
  expect(decodeState(bytes).state).toEqual(STATE)
})

test.each([
  ['no JSON', '{'],
  ['no object', '[]'],
  ['no version', GOLDEN.replace('"version":1,', '')],
  ['no token', GOLDEN.replace('"token":"t",', '')],
  ['a text as epoch', GOLDEN.replace('"epoch":3', '"epoch":"3"')],
  ['a broken epoch', GOLDEN.replace('"epoch":3', '"epoch":3.5')],
  ['a leader without a name', GOLDEN.replace('"name":"a",', '')],
  ['an unknown level', GOLDEN.replace('"durable"', '"quick"')],
  ['a level that needs a set', GOLDEN.replace('"level":"local"', '"level":"applied"')],
  ['a set that asks for more than it has', GOLDEN.replace('"count":1', '"count":3')],
  ['an id that is none', GOLDEN.replace('9223372036854775807', '9223372036854775808')],
  ['a negative id', GOLDEN.replace('9223372036854775807', '-1')],
  ['paused as a number', GOLDEN.replace('"paused":false', '"paused":0')],
  ['bytes that are no UTF-8', `${GOLDEN.slice(0, 40)}\u00ff`],
])('%s is refused', (name, text) => {
  const bytes = Buffer.from(text, name.includes('UTF-8') ? 'latin1' : 'utf8')
  expect(() => decodeState(bytes)).toThrow(expect.objectContaining({ code: 'STATE_CORRUPT' }))
})

test('a newer version is said to be one', () => {
  const bytes = Buffer.from(GOLDEN.replace('"version":1', '"version":2'))
  expect(() => decodeState(bytes)).toThrow(expect.objectContaining({ code: 'FORMAT_VERSION' }))
})

test('what could not be read back is not written', () => {
  const refused = (change: Partial<PublishedState>): void =>
    expect(() => encodeState({ state: { ...STATE, ...change }, token: 't' })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    )
  refused({ epoch: -1 })
  refused({ cluster: '' })
  refused({ ceilings: new Map([['note', -1n]]) })
  refused({ acks: { rule: { level: 'durable' } } })
  refused({ ceilings: new Map([['x'.repeat(600_000), 1n]]) })
})
