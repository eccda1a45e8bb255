import { expect, test } from 'vitest'
import { Admission } from '../src/index.ts'

test('one address gets so many connections, and another one its own', () => {
  const admission = new Admission({ channelsPerAddressMax: 2 })
  const first = admission.admit('10.0.0.1')
  expect(admission.admit('::ffff:10.0.0.1')).toBeTypeOf('function')
  expect(admission.admit('10.0.0.1')).toBeUndefined()
  expect(admission.admit('10.0.0.2')).toBeTypeOf('function')
  first?.()
  first?.()
  expect(admission.open).toBe(2)
  expect(admission.admit('10.0.0.1')).toBeTypeOf('function')
  expect(admission.admit('10.0.0.1')).toBeUndefined()
})

test('hosts of one IPv6 network share their number', () => {
  const admission = new Admission({ channelsPerAddressMax: 1 })
  expect(admission.admit('2001:db8::1')).toBeTypeOf('function')
  expect(admission.admit('2001:db8::ffff:1:2:3')).toBeUndefined()
  expect(admission.admit('2001:db8:0:1::1')).toBeTypeOf('function')
})

test('all addresses together get so many', () => {
  const admission = new Admission({ channelsMax: 3 })
  const releases = ['10.0.0.1', '10.0.0.2', undefined].map((address) => admission.admit(address))
  expect(admission.admit('10.0.0.3')).toBeUndefined()
  expect(admission.admit(undefined)).toBeUndefined()
  for (const release of releases) release?.()
  expect(admission.open).toBe(0)
  expect(admission.admit(undefined)).toBeTypeOf('function')
})

test('the defaults are 1,024 and 256', () => {
  const admission = new Admission()
  for (let i = 0; i < 256; i++) expect(admission.admit('10.0.0.1')).toBeTypeOf('function')
  expect(admission.admit('10.0.0.1')).toBeUndefined()
  for (let i = 256; i < 1024; i++) expect(admission.admit(`10.0.${i >> 8}.${i & 255}`)).toBeTypeOf('function')
  expect(admission.admit('10.1.0.1')).toBeUndefined()
})
