import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type PeerCertificate } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { clientProblem, connectFailed, diallerTls, listenerTls, securityOf, tlsFailed } from '../src/index.ts'
import { certificateTexts, pem } from './fixtures.ts'
import { loaded, session } from './peers.ts'

const server = certificateTexts('server')
const client = certificateTexts('client')
const mutual = { ...server, clientCertificates: 'require' } as const

describe('identities', () => {
  test('of both ends come from their certificates', async () => {
    await using both = await session(mutual, client)
    expect(securityOf(both.acceptor!).identities).toEqual(['URI:understudy://b', 'CN:b'])
    expect(securityOf(both.dialler!).identities).toContain('URI:understudy://leader')
  })

  test('are none where no certificate is asked for, though the dialler has one', async () => {
    await using both = await session(server, client)
    expect(securityOf(both.acceptor!)).toMatchObject({ encrypted: true, identities: [] })
  })

  test('are none of a certificate that was shown but cannot be verified, and it is a problem', async () => {
    const stranger = { ...certificateTexts('stranger'), ca: pem('ca') }
    await using both = await session({ ...server, clientCertificates: 'request' }, stranger)
    expect(securityOf(both.acceptor!).identities).toEqual([])
    expect(clientProblem(both.acceptor!, 'tls://x')).toMatchObject({
      code: 'TLS_FAILED',
      details: { tlsCode: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' },
    })
  })

  test('may be missing where they are only requested', async () => {
    await using both = await session({ ...server, clientCertificates: 'request' }, { ca: pem('ca') })
    expect(clientProblem(both.acceptor!, 'tls://x')).toBeUndefined()
    expect(securityOf(both.acceptor!).identities).toEqual([])
  })

  test('come out of a hostile certificate as they are in it', async () => {
    await using both = await session(mutual, certificateTexts('hostile'))
    const { identities } = securityOf(both.acceptor!)
    expect(identities).toContain('URI:understudy://x, DNS:evil.example')
    expect(identities).not.toContain('DNS:evil.example')
  })
})

describe('the binding', () => {
  test('is the same at both ends, and another one in each session', async () => {
    await using first = await session(mutual, client)
    await using second = await session(mutual, client)
    const bindings = [first.dialler, first.acceptor, second.dialler, second.acceptor].map((end) =>
      Buffer.from(securityOf(end!).binding!).toString('hex'),
    )
    expect(bindings[0]).toHaveLength(64)
    expect(bindings[1]).toBe(bindings[0])
    expect(bindings[3]).toBe(bindings[2])
    expect(bindings[2]).not.toBe(bindings[0])
  })

  test('is not offered for TLS 1.2', async () => {
    await using both = await session(mutual, client, {
      secureContext: undefined,
      ...client,
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.2',
    })
    expect(both.dialler?.getProtocol()).toBe('TLSv1.2')
    expect(securityOf(both.acceptor!)).not.toHaveProperty('binding')
    expect(securityOf(both.acceptor!).identities).toContain('CN:b')
  })
})

describe('a session', () => {
  test('is of TLS 1.3 where both can, and never below 1.2', async () => {
    await using best = await session(mutual, client)
    expect(best.dialler?.getProtocol()).toBe('TLSv1.3')
    await using old = await session(mutual, client, {
      secureContext: undefined,
      ...client,
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    })
    expect(old.acceptorError?.code).toMatch(/UNSUPPORTED_PROTOCOL|VERSION/)
    expect(connectFailed('tls://x', old.diallerError!).code).toBe('TLS_FAILED')
  })

  test.each(['TLSv1.2', 'TLSv1.3'] as const)('of %s is not resumed', async (version) => {
    const listening = createServer(listenerTls(loaded(mutual)), (socket) => socket.end('x'))
    listening.listen(0, '127.0.0.1')
    await once(listening, 'listening')
    const { port } = listening.address() as AddressInfo
    const dial = async (
      ticket: Buffer | undefined,
    ): Promise<{ reused: boolean; ticket: Buffer | undefined }> => {
      const socket = connect({
        ...client,
        host: '127.0.0.1',
        port,
        minVersion: version,
        maxVersion: version,
        ...(ticket === undefined ? {} : { session: ticket }),
      })
      let latest = undefined as Buffer | undefined
      socket.on('session', (next: Buffer) => {
        latest = next
      })
      await once(socket.resume(), 'end')
      return { reused: socket.isSessionReused(), ticket: latest ?? socket.getSession() }
    }
    const first = await dial(undefined)
    const second = await dial(first.ticket)
    await new Promise((resolve) => listening.close(resolve))
    expect(second.reused).toBe(false)
  })

  test.each([
    ['another authority', certificateTexts('stranger'), {}, 'authority that this side does not trust'],
    ['another name', certificateTexts('elsewhere'), {}, 'is for another name'],
    ['another name than was asked for', server, { serverName: 'node-a.example' }, 'is for another name'],
    ['another URI', server, { serverName: 'URI:understudy://b' }, 'is for another name'],
  ])('with a listener of %s does not come about', async (_, listener, more, message) => {
    await using both = await session(listener, { ca: pem('ca'), ...more })
    expect(both.dialler).toBeUndefined()
    expect(connectFailed('tls://x', both.diallerError!)).toMatchObject({
      code: 'TLS_FAILED',
      message: expect.stringContaining(message) as string,
    })
  })

  test.each(['localhost', '127.0.0.1', 'URI:understudy://leader'])(
    'with %s as its name does',
    async (serverName) => {
      await using both = await session(server, { ca: pem('ca'), serverName })
      expect(both.dialler?.authorized).toBe(true)
    },
  )

  test('with a dialler without a certificate does not where one is required, and both know why', async () => {
    await using both = await session(mutual, { ca: pem('ca') })
    expect(both.acceptorError?.code).toBe('ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE')
    const error = both.diallerError ?? ((await once(both.dialler!, 'error')) as [Error])[0]
    expect(connectFailed('tls://x', error)).toMatchObject({
      code: 'TLS_FAILED',
      message: expect.stringContaining('wants a client certificate') as string,
    })
  })
})

test('a listener needs a certificate', () => {
  expect(() => listenerTls(loaded({ ca: pem('ca') }))).toThrow(
    expect.objectContaining({ code: 'TLS_FAILED' }),
  )
  expect(diallerTls(loaded({ ca: pem('ca') }), '127.0.0.1')).toMatchObject({
    servername: '',
    rejectUnauthorized: true,
  })
})

test('a certificate whose names cannot be read is one for another name', () => {
  const { checkServerIdentity } = diallerTls(loaded({ ca: pem('ca') }), 'a.example')
  const unreadable = { subject: {}, subjectaltname: 'DNS:"a' } as unknown as PeerCertificate
  expect(checkServerIdentity?.('', unreadable)).toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
})

test('errors without a code, or with one that nobody knows, are told as they are', () => {
  expect(tlsFailed('tls://x', { message: 'odd' }).message).toContain('odd')
  expect(tlsFailed('tls://x', { message: 'odd', code: 'ERR_SSL_ODD' }).message).toContain('compare')
  expect(connectFailed('tls://x', { message: 'no', code: 'ECONNREFUSED' }).code).toBe('CONNECT_FAILED')
})
