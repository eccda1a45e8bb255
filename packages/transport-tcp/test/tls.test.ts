import { once } from 'node:events'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { connect as connectSocket, createServer, type AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { SimulatedClock } from '@understudy/testkit'
import { certificateTexts, pem, type TestCertificate } from '@understudy/testkit/certificates'
import { tcp, type TlsOptions } from '../src/index.ts'
import { framed, listening, pair, pattern, Recorded } from './peers.ts'

const ADDRESS = 'tls://127.0.0.1:0'
const server = certificateTexts('server')
const client = certificateTexts('client')
const mutual: TlsOptions = { ...server, clientCertificates: 'require' }
/** A dialler with a certificate that `mutual` does not trust. */
const untrusted = (name: TestCertificate): TlsOptions => ({ ...certificateTexts(name), ca: pem('ca') })

describe('a channel over TLS', () => {
  test('names the certificates of both ends', async () => {
    await using both = await pair({ tls: mutual }, {}, ADDRESS, { tls: client })
    expect(both.acceptor.channel.security?.identities).toEqual(['URI:understudy://b', 'CN:b'])
    expect(both.dialler.channel.security?.identities).toEqual(
      expect.arrayContaining(['URI:understudy://leader', 'DNS:localhost']),
    )
    expect(both.acceptor.channel.remote).toMatch(/^tls:\/\/127\.0\.0\.1:\d+$/)
    expect(both.dialler.channel.remote).toBe(both.listener.address)
  })

  test('names nobody whose certificate was not asked for', async () => {
    await using both = await pair({ tls: server }, {}, ADDRESS, { tls: client })
    expect(both.acceptor.channel.security).toMatchObject({ encrypted: true, identities: [] })
  })

  test('has a binding that only its two ends know', async () => {
    await using first = await pair({ tls: mutual }, {}, ADDRESS, { tls: client })
    await using second = await pair({ tls: mutual }, {}, ADDRESS, { tls: client })
    const [a, b, c, d] = [first.dialler, first.acceptor, second.dialler, second.acceptor].map(
      (end) => end.channel.security?.binding,
    )
    expect(a).toHaveLength(32)
    expect(b).toEqual(a)
    expect(d).toEqual(c)
    expect(c).not.toEqual(a)
  })

  test.each([
    ['nothing', ADDRESS, false],
    ['everything, without TLS,', 'tcp://127.0.0.1:0', true],
  ])('shows %s of its frames on the wire', async (_, address, shows) => {
    await using both = await listening({ tls: server }, address)
    const wire: Buffer[] = []
    // Somebody in the middle, who writes down what goes by.
    const middle = createServer((near) => {
      const far = connectSocket(both.port, '127.0.0.1')
      near.on('data', (bytes) => wire.push(bytes)).pipe(far)
      far.on('data', (bytes) => wire.push(bytes)).pipe(near)
    }).listen(0, '127.0.0.1')
    await once(middle, 'listening')
    const port = (middle.address() as AddressInfo).port
    const channel = new Recorded(
      await tcp({ tls: { ca: pem('ca') } }).connect(`${address.slice(0, -1)}${port}`),
    )
    channel.channel.send([Buffer.from('attack at dawn')])
    await both.until(() => both.accepted.length === 1)
    await both.accepted[0]?.framesArrived(1)
    expect(Buffer.concat(wire).includes('attack')).toBe(shows)
    channel.channel.close()
    await channel.closed()
    middle.close()
  })

  test('still answers a peer that ended its half', async () => {
    await using both = await listening({ tls: server })
    const half = { ca: pem('ca'), host: '127.0.0.1', port: both.port, allowHalfOpen: true }
    const session = connectTls(half)
    const received: Buffer[] = []
    session.on('data', (bytes: Buffer) => received.push(bytes))
    await both.until(() => both.accepted.length === 1)
    const [acceptor] = both.accepted
    acceptor!.onFrame = () => acceptor!.channel.send([pattern(50_000)])
    // The frame and the end are there together when it reads on.
    acceptor!.channel.pause()
    session.end(framed(pattern(1)))
    await once(session, 'finish')
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    acceptor!.channel.resume()
    await once(session, 'end')
    expect(Buffer.concat(received)).toEqual(framed(pattern(50_000)))
    await acceptor!.closed()
    expect(acceptor!.error).toBeUndefined()
  })

  test('of TLS 1.2 has no binding, and is good enough otherwise', async () => {
    await using both = await listening({ tls: mutual })
    const session = connectTls({ ...client, host: '127.0.0.1', port: both.port, maxVersion: 'TLSv1.2' })
    await both.until(() => both.accepted.length === 1)
    expect(both.accepted[0]?.channel.security).toEqual({
      encrypted: true,
      identities: ['URI:understudy://b', 'CN:b'],
    })
    session.destroy()
  })

  test('is absent from plain channels', async () => {
    await using both = await pair({ tls: server })
    expect(both.acceptor.channel.security).toBeUndefined()
    expect(both.dialler.channel.security).toBeUndefined()
  })
})

describe('a dialler refuses', () => {
  const cases: [string, TestCertificate, TlsOptions, string, string][] = [
    ['another authority', 'stranger', client, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'set tls.ca'],
    ['another name', 'elsewhere', client, 'ERR_TLS_CERT_ALTNAME_INVALID', 'another name'],
    [
      'another URI than it expects',
      'server',
      { ...client, serverName: 'URI:understudy://b' },
      'ERR_TLS_CERT_ALTNAME_INVALID',
      'another name',
    ],
    [
      'names hidden in a name',
      'hostile',
      { ...client, serverName: 'evil.example' },
      'ERR_TLS_CERT_ALTNAME_INVALID',
      'another name',
    ],
    ['a certificate that expired', 'expired', client, 'CERT_HAS_EXPIRED', 'renew it'],
  ]
  test.each(cases)('%s', async (_, certificate, tls, tlsCode, message) => {
    // A bare listener: ours does not come up with some of these.
    const { cert, key } = certificateTexts(certificate)
    const bare = createTlsServer({ cert, key })
      .on('tlsClientError', () => {})
      .listen(0, '127.0.0.1')
    await once(bare, 'listening')
    const address = `tls://127.0.0.1:${(bare.address() as AddressInfo).port}`
    await expect(tcp({ tls }).connect(address)).rejects.toMatchObject({
      code: 'TLS_FAILED',
      details: { tlsCode, peer: address },
      message: expect.stringContaining(message) as string,
    })
    await new Promise((resolve) => bare.close(resolve))
  })

  test('no name that it was told to expect', async () => {
    for (const serverName of ['localhost', 'URI:understudy://leader', '127.0.0.1']) {
      await using both = await pair({ tls: server }, {}, ADDRESS, { tls: { ca: pem('ca'), serverName } })
      expect(both.dialler.channel.security?.encrypted).toBe(true)
    }
  })
})

describe('a listener refuses, and both ends know why:', () => {
  const cases: [string, TlsOptions, string][] = [
    ['no certificate', { ca: pem('ca') }, 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE'],
    ['one of another authority', untrusted('stranger'), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
    ['one that expired', certificateTexts('expired'), 'CERT_HAS_EXPIRED'],
  ]
  test.each(cases)('%s', async (_, tls, tlsCode) => {
    await using both = await listening({ tls: mutual })
    // A machine whose clock is wrong takes a certificate of its own that has expired.
    const clock = new SimulatedClock({ wallMs: Date.UTC(2020, 5, 1) })
    const channel = new Recorded(await tcp({ tls, clock }).connect(both.listener.address))
    channel.channel.send([pattern(100)])
    await channel.closed()
    expect(channel.error).toMatchObject({
      code: 'TLS_FAILED',
      details: { tlsCode: 'CERTIFICATE_REFUSED', peer: both.listener.address },
    })
    await both.until(() => both.refused.length === 1)
    expect(both.refused[0]).toMatchObject({ code: 'TLS_FAILED', details: { tlsCode } })
    expect(both.accepted).toEqual([])
  })

  test('but is told nothing of the kind by a client', async () => {
    await using both = await listening({ tls: server })
    const session = connectTls({ ca: pem('ca'), host: '127.0.0.1', port: both.port }).on('error', () => {})
    session.end(Buffer.alloc(4, 255))
    await both.until(() => both.accepted.length === 1)
    await both.accepted[0]?.closed()
    expect(both.accepted[0]?.error?.code).toBe('FRAME_TOO_LARGE')
  })

  test('and it breaks off with one that does not go', async () => {
    const clock = new SimulatedClock()
    await using both = await listening({ tls: mutual, clock }, ADDRESS, { channelsMax: 1 })
    const lingering = { ca: pem('ca'), host: '127.0.0.1', port: both.port, allowHalfOpen: true }
    const session = connectTls(lingering).on('error', () => {})
    const [marker] = (await once(session, 'data')) as [Buffer]
    expect([...marker]).toEqual([255, 255, 255, 255])
    await expect(tcp({ tls: client }).connect(both.listener.address)).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
    })
    await clock.advance(1000)
    const next = new Recorded(await tcp({ tls: client }).connect(both.listener.address))
    await both.until(() => both.accepted.length === 1)
    session.destroy()
    next.channel.close()
    await next.closed()
  })

  test('and it is told no longer when the listener closes', async () => {
    const both = await listening({ tls: mutual, clock: new SimulatedClock() })
    const lingering = { ca: pem('ca'), host: '127.0.0.1', port: both.port, allowHalfOpen: true }
    const session = connectTls(lingering).on('error', () => {})
    await once(session, 'data')
    await both.listener.close()
    session.destroy()
  })

  test('a bad one where they are only requested', async () => {
    await using both = await listening({ tls: { ...server, clientCertificates: 'request' } })
    const channel = new Recorded(await tcp({ tls: untrusted('stranger') }).connect(both.listener.address))
    await channel.closed()
    expect(channel.error).toMatchObject({ code: 'TLS_FAILED' })
    expect(both.refused).toEqual([expect.objectContaining({ code: 'TLS_FAILED' })])
    expect(both.accepted).toEqual([])
    const none = new Recorded(await tcp({ tls: { ca: pem('ca') } }).connect(both.listener.address))
    await both.until(() => both.accepted.length === 1)
    expect(both.accepted[0]?.channel.security?.identities).toEqual([])
    none.channel.close()
    await none.closed()
  })

  test('TLS 1.1', async () => {
    await using both = await listening({ tls: server })
    const session = connectTls({
      ca: pem('ca'),
      host: '127.0.0.1',
      port: both.port,
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    })
    const [error] = (await once(session, 'error')) as [NodeJS.ErrnoException]
    expect(error.code).toBe('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION')
    await both.until(() => both.refused.length === 1)
    expect(both.refused[0]).toMatchObject({
      code: 'TLS_FAILED',
      message: expect.stringContaining('TLS 1.2 or 1.3') as string,
    })
  })
})

describe('an address', () => {
  const ignore = (): void => {}

  test('with tls:// needs certificates, to listen and to dial', async () => {
    const expected = { code: 'INVALID_ARGUMENT', message: expect.stringContaining('tcp({ tls:') as string }
    await expect(tcp().listen(ADDRESS, ignore)).rejects.toMatchObject(expected)
    await expect(tcp().connect('tls://127.0.0.1:7401')).rejects.toMatchObject(expected)
    await expect(tcp({ tls: { ca: pem('ca') } }).listen(ADDRESS, ignore)).rejects.toMatchObject({
      code: 'TLS_FAILED',
      message: expect.stringContaining('set tls.cert and tls.key') as string,
    })
  })

  test('with tcp:// stays on this machine where TLS was asked for', async () => {
    for (const address of ['tcp://192.0.2.1:7401', 'tcp://node-a.example:7401']) {
      const expected = { code: 'INSECURE_ADDRESS', message: expect.stringContaining('tls://') as string }
      await expect(tcp({ tls: server }).connect(address)).rejects.toMatchObject(expected)
      await expect(
        tcp({ tls: mutual }).listen(address, ignore, { authenticated: true }),
      ).rejects.toMatchObject(expected)
    }
  })

  test('that others reach needs authentication too', async () => {
    await expect(tcp({ tls: server }).listen('tls://0.0.0.0:0', ignore)).rejects.toMatchObject({
      code: 'INSECURE_ADDRESS',
      details: { encrypted: true, authenticated: false },
    })
    await expect(tcp().listen('tcp://0.0.0.0:0', ignore, { authenticated: true })).rejects.toMatchObject({
      code: 'INSECURE_ADDRESS',
      details: { encrypted: false, authenticated: true },
    })
    await using certificates = await tcp({ tls: mutual }).listen('tls://0.0.0.0:0', ignore)
    await using credentials = await tcp({ tls: server }).listen('tls://0.0.0.0:0', ignore, {
      authenticated: true,
    })
    expect([certificates.address, credentials.address]).toEqual([
      expect.stringMatching(/^tls:\/\/0\.0\.0\.0:\d+$/),
      expect.stringMatching(/^tls:\/\/0\.0\.0\.0:\d+$/),
    ])
  })

  test('and certificates that cannot be used are errors at once', () => {
    expect(() => tcp({ tls: certificateTexts('expired') })).toThrow(
      expect.objectContaining({ code: 'TLS_FAILED' }),
    )
  })
})
