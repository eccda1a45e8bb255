import { describe, expect, test } from 'vitest'
import {
  canonicalIp,
  formatAddress,
  formatUnixAddress,
  insecureAddress,
  isLoopback,
  networkOf,
  parseAddress,
  parseUnixAddress,
} from '../src/index.ts'

const invalid = (reason: string): unknown =>
  expect.objectContaining({ code: 'ADDRESS_INVALID', message: expect.stringContaining(reason) as string })

describe('addresses', () => {
  test.each([
    ['tcp://127.0.0.1:7401', { scheme: 'tcp', host: '127.0.0.1', port: 7401, path: '/' }],
    ['tls://[::1]:0', { scheme: 'tls', host: '::1', port: 0, path: '/' }],
    ['tcp://node-a.example:7401', { scheme: 'tcp', host: 'node-a.example', port: 7401, path: '/' }],
  ])('%s is read, and written again', (address, endpoint) => {
    expect(parseAddress(address, { schemes: ['tcp', 'tls'] })).toEqual(endpoint)
    expect(formatAddress(endpoint)).toBe(address)
  })

  test.each([
    ['', 'no URL'],
    ['127.0.0.1:7401', 'no URL'],
    ['ws://127.0.0.1:7401', 'serves tcp:// and tls:// only'],
    ['tcp://127.0.0.1', 'no port'],
    ['tcp:///', 'no host'],
    ['tcp://127.0.0.1:99999', 'no URL'],
    ['tcp://user@127.0.0.1:7401', 'more than'],
    ['tcp://127.0.0.1:7401/path', 'more than'],
    ['tcp://127.0.0.1:7401?tls=1', 'more than'],
    ['tcp://127.0.0.1:7401#a', 'more than'],
  ])('%j is invalid', (address, reason) => {
    expect(() => parseAddress(address, { schemes: ['tcp', 'tls'] })).toThrow(invalid(reason))
  })

  test('a scheme may have paths and a port of its own', () => {
    const rules = { schemes: ['ws', 'wss'], paths: true, ports: { ws: 80, wss: 443 } }
    expect(parseAddress('wss://node-a.example/understudy', rules)).toEqual({
      scheme: 'wss',
      host: 'node-a.example',
      port: 443,
      path: '/understudy',
    })
    expect(formatAddress(parseAddress('ws://[::1]:8080/a', rules))).toBe('ws://[::1]:8080/a')
    expect(() => parseAddress('ws://a.example/a?b', rules)).toThrow(invalid('a path'))
  })

  test('socket files are read, and written again', () => {
    expect(parseUnixAddress('unix:///run/a%20b.sock')).toBe('/run/a b.sock')
    expect(formatUnixAddress('/run/a b#?.sock')).toBe('unix:///run/a%20b%23%3F.sock')
    expect(parseUnixAddress(formatUnixAddress('/run/a b#?%.sock'))).toBe('/run/a b#?%.sock')
  })

  test.each([
    ['unix://run/a.sock', 'more than a path'],
    ['unix:///', 'not one of a file'],
    ['unix:///run/', 'not one of a file'],
    ['unix:///run/%00', 'not one of a file'],
    ['unix:///run/%ff', 'not one of a file'],
    ['unix:///run/a?b', 'more than a path'],
    ['tcp:///run/a', 'no unix:// URL'],
    [`unix:///${'a'.repeat(107)}`, 'has 108 bytes'],
    [`unix:///${'ä'.repeat(54)}`, 'has 109 bytes'],
  ])('%s is invalid', (address, reason) => {
    expect(() => parseUnixAddress(address)).toThrow(invalid(reason))
  })
})

describe('IP addresses', () => {
  test.each([
    '127.0.0.1',
    '127.8.9.1',
    '::1',
    '0:0:0:0:0:0:0:1',
    '::ffff:127.0.0.1',
    '::FFFF:7f00:1',
    'localhost',
    'LocalHost',
  ])('%s is reached by this machine alone', (host) => expect(isLoopback(host)).toBe(true))

  test.each([
    '0.0.0.0',
    '::',
    '10.0.0.1',
    '128.0.0.1',
    '::2',
    '::ffff:10.0.0.1',
    '127.1',
    '127.0.0.1.example',
    'localhost.example',
    '::127.0.0.1',
    '',
  ])('%j can be reached by others', (host) => expect(isLoopback(host)).toBe(false))

  test('have one form each', () => {
    expect(canonicalIp('2001:DB8:0:0:0:0:0:1')).toBe('2001:db8::1')
    expect(canonicalIp('::ffff:10.0.0.1')).toBe('10.0.0.1')
    expect(canonicalIp('fe80::1%eth0')).toBe('fe80::1')
    expect(canonicalIp('a.example')).toBeUndefined()
  })

  test.each([
    ['10.0.0.1', '10.0.0.1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8::6', '2001:db8:0:0::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::1.2.3.4', '0:0:0:0::/64'],
    ['64:ff9b::1.2.3.4', '64:ff9b:0:0::/64'],
  ])('%s counts as %s', (host, network) => {
    expect(networkOf(host)).toBe(network)
  })
})

describe('what other machines can reach', () => {
  const everything = { encrypted: true, authenticated: true, insecure: false }

  test.each([
    ['encryption', { ...everything, encrypted: false }, 'nothing is encrypted'],
    ['authentication', { ...everything, authenticated: false }, 'no peer is authenticated'],
  ])('needs %s', (_, protection, reason) => {
    for (const address of ['tcp://0.0.0.0:0', 'tls://[::]:0', 'ws://node-a.example:1/a', 'tcp://127.1:0'])
      expect(insecureAddress(address, protection)).toMatchObject({
        code: 'INSECURE_ADDRESS',
        message: expect.stringContaining(reason) as string,
      })
  })

  test('is fine with both, or by decision', () => {
    expect(insecureAddress('tcp://0.0.0.0:0', everything)).toBeUndefined()
    const decided = { encrypted: false, authenticated: false, insecure: true }
    expect(insecureAddress('tcp://0.0.0.0:0', decided)).toBeUndefined()
  })

  test('addresses of this machine need neither', () => {
    const none = { encrypted: false, authenticated: false, insecure: false }
    for (const address of ['tcp://127.0.0.1:0', 'ws://[::1]:0/a', 'tcp://localhost:0', 'unix:///run/a.sock'])
      expect(insecureAddress(address, none)).toBeUndefined()
  })
})
