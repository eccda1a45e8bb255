import type { Transport } from '@understudy/contracts'
import { memoryTransport } from '@understudy/testkit'
import { expect, test } from 'vitest'
import { combined } from '../src/index.ts'

function named(scheme: string): Transport {
  const memory = memoryTransport()
  const inner = (address: string): string => address.replace(`${scheme}:`, 'memory:')
  return {
    schemes: [scheme],
    connect: (address, options) => memory.connect(inner(address), options),
    listen: (address, accept, options) => memory.listen(inner(address), accept, options),
  }
}

test('each address goes to the transport of its scheme', async () => {
  const both = combined(named('x'), named('y'))
  expect(both.schemes).toEqual(['x', 'y'])
  const accepted: string[] = []
  const take = (name: string) => (channel: Parameters<Parameters<Transport['listen']>[1]>[0]) => {
    accepted.push(name)
    channel.start({ frame: () => {}, drained: () => {}, closed: () => {} })
  }
  await using x = await both.listen('x://a', take('x'))
  await using y = await both.listen('y://a', take('y'))
  expect([x.address, y.address]).toEqual(['memory://a', 'memory://a'])
  for (const address of ['y://a', 'x://a', 'x://a']) {
    const channel = await both.connect(address)
    channel.start({ frame: () => {}, drained: () => {}, closed: () => {} })
    channel.close()
  }
  expect(accepted).toEqual(['y', 'x', 'x'])
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
