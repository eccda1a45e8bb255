import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { UnderstudyError } from '@understudy/contracts'
import { SimulatedClock } from '@understudy/testkit'
import {
  certificateFiles,
  certificateTexts,
  pem,
  type TestCertificate,
} from '@understudy/testkit/certificates'
import { webSocket } from '../src/index.ts'
import { bareSocket, deadAddress, pattern, Recorded, turns } from './peers.ts'

const ignore = (): void => {}
const server = { ...certificateTexts('server'), clientCertificates: 'require' } as const
const client = certificateTexts('client')

/** As what a certificate says, trusting the authority of the tests. */
function as(name: TestCertificate): { cert: string; key: string; ca: string } {
  return { ...certificateTexts(name), ca: pem('ca') }
}

describe('mutual TLS', () => {
  test('tells both ends who the other is, and gives both the same binding', async () => {
    const accepted = Promise.withResolvers<Recorded>()
    await using listener = await webSocket({ tls: server }).listen(
      'wss://127.0.0.1:0/replication',
      (channel) => accepted.resolve(new Recorded(channel)),
    )
    expect(listener.certificate).toMatchObject({
      identities: expect.arrayContaining(['CN:leader']) as string[],
    })
    const dialler = new Recorded(await webSocket({ tls: client }).connect(listener.address))
    const acceptor = await accepted.promise
    const [here, there] = [dialler.channel.security, acceptor.channel.security]
    expect(here?.identities).toContain('URI:understudy://leader')
    expect(there?.identities).toContain('URI:understudy://b')
    expect(here?.binding?.length).toBe(32)
    expect(there?.binding).toEqual(here?.binding)
    expect(acceptor.channel.remote).toMatch(/^wss:\/\/127\.0\.0\.1:\d+$/)
    dialler.channel.send([pattern(100_000)])
    await acceptor.closed().catch(ignore)
  }, 3000)

  test.each<[string, TestCertificate | undefined]>([
    ['shows no certificate', undefined],
    ['shows one of another authority', 'stranger'],
    ['shows one that has expired', 'expired'],
  ])('a client that %s is answered 401 before the upgrade', async (_name, name) => {
    let accepted = 0
    const refused: UnderstudyError[] = []
    await using listener = await webSocket({ tls: server, refused: (error) => refused.push(error) }).listen(
      'wss://127.0.0.1:0',
      () => accepted++,
    )
    const clock = new SimulatedClock({ wallMs: name === 'expired' ? Date.UTC(2020, 5, 1) : Date.now() })
    const using = name === undefined ? { ca: pem('ca') } : as(name)
    await expect(webSocket({ tls: using, clock }).connect(listener.address)).rejects.toMatchObject({
      code: 'AUTHENTICATION_REQUIRED',
      details: { status: 401 },
    })
    expect(refused).toMatchObject([{ code: 'TLS_FAILED' }])
    expect(accepted).toBe(0)
  })
})

describe('a dialler verifies the listener', () => {
  test.each<[string, TestCertificate, object]>([
    ['another name', 'elsewhere', {}],
    ['another authority', 'server', { ca: pem('other-ca') }],
    ['another name than serverName', 'server', { serverName: 'URI:understudy://other' }],
  ])('%s is TLS_FAILED', async (_name, shown, options) => {
    await using listener = await webSocket({ tls: certificateTexts(shown) }).listen(
      'wss://127.0.0.1:0',
      ignore,
    )
    await expect(
      webSocket({ tls: { ca: pem('ca'), ...options } }).connect(listener.address),
    ).rejects.toMatchObject({ code: 'TLS_FAILED' })
  })

  test('by the name that serverName says, whatever the host is', async () => {
    await using listener = await webSocket({ tls: certificateTexts('elsewhere') }).listen(
      'wss://127.0.0.1:0',
      (channel) => void new Recorded(channel),
    )
    const tls = { ca: pem('ca'), serverName: 'URI:understudy://other' }
    const dialler = new Recorded(await webSocket({ tls }).connect(listener.address))
    expect(dialler.channel.security?.encrypted).toBe(true)
    dialler.channel.close()
    await dialler.closed()
  })

  test('against the authorities of Node where none are given', async () => {
    await using listener = await webSocket({ tls: certificateTexts('server') }).listen(
      'wss://127.0.0.1:0',
      ignore,
    )
    await expect(webSocket().connect(listener.address)).rejects.toMatchObject({ code: 'TLS_FAILED' })
  })

  test('one that speaks no TLS is TLS_FAILED, and a ws:// dialler of one that does is CONNECT_FAILED', async () => {
    await using plain = await webSocket().listen('ws://127.0.0.1:0', ignore)
    await expect(
      webSocket({ tls: client }).connect(plain.address.replace('ws:', 'wss:')),
    ).rejects.toMatchObject({ code: 'TLS_FAILED' })
    await using secure = await webSocket({ tls: server }).listen('wss://127.0.0.1:0', ignore)
    await expect(webSocket().connect(secure.address.replace('wss:', 'ws:'))).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
    })
  })
})

describe('listening with TLS', () => {
  test('where other machines connect needs client certificates or authentication by the caller', async () => {
    await expect(
      webSocket({ tls: certificateTexts('server') }).listen('wss://0.0.0.0:0', ignore),
    ).rejects.toMatchObject({ code: 'INSECURE_ADDRESS', details: { encrypted: true, authenticated: false } })
    await using verified = await webSocket({ tls: server }).listen('wss://0.0.0.0:0', ignore)
    await using known = await webSocket({ tls: certificateTexts('server') }).listen(
      'wss://0.0.0.0:0',
      ignore,
      {
        authenticated: true,
      },
    )
    expect([verified.address, known.address]).toEqual(
      Array.from({ length: 2 }, () => expect.stringMatching(/^wss:/) as string),
    )
  })

  test('without a certificate is TLS_FAILED', async () => {
    await expect(webSocket().listen('wss://127.0.0.1:0', ignore)).rejects.toMatchObject({
      code: 'TLS_FAILED',
    })
    await expect(
      webSocket({ tls: { ca: pem('ca') } }).listen('wss://127.0.0.1:0', ignore),
    ).rejects.toMatchObject({
      code: 'TLS_FAILED',
    })
  })

  test('with certificates that cannot be used does not come up at all', () => {
    expect(() => webSocket({ tls: certificateTexts('expired') })).toThrow(
      expect.objectContaining({ code: 'TLS_FAILED' }),
    )
  })

  test('a handshake that is never finished ends at the deadline', async () => {
    const clock = new SimulatedClock({ wallMs: Date.now() })
    const refused: UnderstudyError[] = []
    const transport = webSocket({
      tls: certificateTexts('server'),
      clock,
      refused: (error) => refused.push(error),
    })
    await using listener = await transport.listen('wss://127.0.0.1:0', ignore)
    const socket = await bareSocket(listener.address)
    // An end, or a reset when it did not read all.
    const ended = new Promise((resolve) => socket.on('end', resolve).on('close', resolve).resume())
    // The beginning of a TLS record that announces more than comes.
    socket.write(Uint8Array.of(22, 3, 1, 2, 0, 1, 0))
    while (clock.pending === 0) await turns(1)
    await clock.advance(5000)
    await ended
    expect(refused).toMatchObject([{ code: 'PEER_SILENT' }])
    socket.destroy()
  })

  test('takes new certificates into use without a restart, for new connections', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'understudy-ws-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const clock = new SimulatedClock({ wallMs: Date.now() })
    const listening = webSocket({ tls: { ...certificateFiles(folder, 'server'), reloadMs: 1000 }, clock })
    await using listener = await listening.listen(
      'wss://127.0.0.1:0',
      (channel) => void new Recorded(channel),
    )
    const before = new Recorded(await webSocket({ tls: client }).connect(listener.address))
    expect(before.channel.security?.identities).toContain('CN:leader')
    certificateFiles(folder, 'renewed')
    await clock.advance(1000)
    const after = new Recorded(await webSocket({ tls: client }).connect(listener.address))
    expect(after.channel.security?.identities).toContain('CN:renewed')
    expect(listener.certificate?.identities).toContain('CN:renewed')
    expect(before.closes).toBe(0)
    for (const dialler of [before, after]) {
      dialler.channel.close()
      await dialler.closed()
    }
  })
})

test('with certificates nothing goes to another machine unencrypted, unless the user says so', async () => {
  // No name can be that long, so nobody is asked for it.
  const address = `ws://${'a'.repeat(64)}:7401`
  await expect(webSocket({ tls: client }).connect(address)).rejects.toMatchObject({
    code: 'INSECURE_ADDRESS',
  })
  const trusting = webSocket({ tls: client, insecure: true })
  await expect(trusting.connect(address)).rejects.toMatchObject({ code: 'CONNECT_FAILED' })
})

test('nobody there is CONNECT_FAILED, with TLS too', async () => {
  await expect(webSocket({ tls: client }).connect(await deadAddress('wss'))).rejects.toMatchObject({
    code: 'CONNECT_FAILED',
  })
})
