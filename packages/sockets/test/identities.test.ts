import { X509Certificate } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { alternativeNames, identitiesOf } from '../src/index.ts'
import { pem } from './fixtures.ts'

test('a certificate with names inside of names has none of the inner ones', () => {
  const identities = identitiesOf(new X509Certificate(pem('hostile')))
  expect(identities).toEqual([
    'DNS:localhost',
    'IP:127.0.0.1',
    'IP:::1',
    'URI:understudy://x, DNS:evil.example',
    'DNS:x, uri:understudy://evil',
    'URI:understudy://q", DNS:evil.example',
    'CN:x, DNS:evil.example/CN=evil',
  ])
})

describe('alternative names', () => {
  test.each([
    ['', []],
    ['DNS:A.Example', ['DNS:a.example']],
    ['DNS:a, URI:understudy://B, IP Address:10.0.0.2', ['DNS:a', 'URI:understudy://B', 'IP:10.0.0.2']],
    ['IP Address:2001:DB8:0:0:0:0:0:1', ['IP:2001:db8::1']],
    ['IP Address:<invalid>', []],
    [
      'email:a@b.example, DirName:"CN = b\\u002c O = c", Registered ID:1.2.3, othername:<unsupported>, DNS:a',
      ['DNS:a'],
    ],
    ['DNS:"a\\u002c DNS:b", DNS:c', ['DNS:a, dns:b', 'DNS:c']],
    ['URI:"a\\"\\u002c DNS:b"', ['URI:a", DNS:b']],
  ])('of %s', (text, names) => {
    expect(alternativeNames(text)).toEqual(names)
  })

  test.each([
    'DNS:a, b',
    'DNS:a, ',
    ', DNS:a',
    'DNS',
    ':a',
    'DNS:"a',
    'DNS:"a" DNS:b',
    'DNS:"a"x, DNS:b',
    'DNS:"a\\q", DNS:b',
    'DNS:"a\nb", DNS:b',
    'DNS:a, "x":b',
  ])('that cannot be read for certain count for nothing: %j', (text) => {
    expect(alternativeNames(text)).toEqual([])
  })
})
