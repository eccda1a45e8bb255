import type { Channel, Transport } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { combined } from '../src/index.ts'

/** A transport that only writes down what it was asked for. */
function named(scheme: string, asked: unknown[] = []): Transport {
  return {
    schemes: [scheme],
    async connect(address, options) {
      asked.push([scheme, 'connect', address, options])
      return {} as Channel
    },
    async listen(address, _accept, options) {
      asked.push([scheme, 'listen', address, options])
      return { address, close: async () => {}, [Symbol.asyncDispose]: async () => {} }
    },
  }
}

test('each address goes to the transport of its scheme, with its options', async () => {
  const asked: unknown[] = []
  const both = combined(named('x', asked), named('y', asked))
  expect(both.schemes).toEqual(['x', 'y'])
  await both.listen('x://a', () => {}, { channelsMax: 3 })
  await both.listen('y://a', () => {})
  for (const address of ['y://a', 'X://b']) await both.connect(address, { timeoutMs: 7 })
  expect(asked).toEqual([
    ['x', 'listen', 'x://a', { channelsMax: 3 }],
    ['y', 'listen', 'y://a', undefined],
    ['y', 'connect', 'y://a', { timeoutMs: 7 }],
    ['x', 'connect', 'X://b', { timeoutMs: 7 }],
  ])
})

test('an address that none serves, and a scheme that two serve, are refused', async () => {
  await expect(combined(named('x')).connect('z://a')).rejects.toMatchObject({ code: 'ADDRESS_INVALID' })
  await expect(combined(named('x')).listen('nothing', () => {})).rejects.toMatchObject({
    code: 'ADDRESS_INVALID',
  })
  expect(() => combined(named('x'), named('x'))).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
  )
})
