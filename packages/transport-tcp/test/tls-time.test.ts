import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectSocket, createServer, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SimulatedClock } from '@understudy/testkit'
import { certificateFiles, certificateTexts, pem } from '@understudy/testkit/certificates'
import { tcp } from '../src/index.ts'
import { framed, listening, pattern, rawPair, Recorded } from './peers.ts'

const server = certificateTexts('server')
const trusting = { ca: pem('ca') }

/** The first bytes of a client of TLS, as one writes them to the wire. */
async function clientHello(): Promise<Buffer> {
  const bare = createServer().listen(0, '127.0.0.1')
  await once(bare, 'listening')
  const came = once(bare, 'connection').then(async ([socket]: Socket[]) => {
    const [hello] = (await once(socket!, 'data')) as [Buffer]
    socket!.destroy()
    return hello
  })
  await tcp({ tls: trusting })
    .connect(`tls://127.0.0.1:${(bare.address() as AddressInfo).port}`)
    .catch(() => {})
  bare.close()
  return came
}

function dialBare(port: number): Socket {
  return connectSocket({ host: '127.0.0.1', port, noDelay: true })
    .on('error', () => {})
    .resume()
}

describe('a handshake', () => {
  test.each([
    ['nothing', 0],
    ['half a hello', 100],
  ])('of %s, then silence, ends at its deadline', async (_, bytes) => {
    const clock = new SimulatedClock()
    await using both = await listening({ tls: server, clock, handshakeMs: 5000 })
    const hello = await clientHello()
    const socket = dialBare(both.port)
    socket.write(hello.subarray(0, bytes))
    const closed = once(socket, 'close')
    while (clock.pending === 0) await clock.settle()
    await clock.advance(4999)
    expect([both.refused, socket.destroyed]).toEqual([[], false])
    await clock.advance(1)
    await closed
    expect(both.refused).toEqual([expect.objectContaining({ code: 'PEER_SILENT' })])
    expect([both.accepted, clock.pending]).toEqual([[], 0])
  })

  test('of a byte a second has no longer time', async () => {
    const clock = new SimulatedClock()
    await using both = await listening({ tls: server, clock })
    const hello = await clientHello()
    const socket = dialBare(both.port)
    const closed = once(socket, 'close')
    while (clock.pending === 0) await clock.settle()
    for (let second = 0; second < 5; second++) {
      socket.write(hello.subarray(second, second + 1))
      await clock.advance(1000)
    }
    await closed
    expect(both.refused).toEqual([expect.objectContaining({ code: 'PEER_SILENT' })])
  })

  test('that is done leaves no timer', async () => {
    const clock = new SimulatedClock()
    await using both = await listening({ tls: server, clock })
    const channel = new Recorded(await tcp({ tls: trusting }).connect(both.listener.address))
    await both.until(() => both.accepted.length === 1)
    expect(clock.pending).toBe(0)
    channel.channel.close()
    await channel.closed()
  })

  test('counts among the connections, and one that fails does no longer', async () => {
    await using both = await listening({ tls: server }, undefined, { channelsMax: 2 })
    const silent = [dialBare(both.port), dialBare(both.port)]
    await Promise.all(silent.map((socket) => once(socket, 'connect')))
    const third = dialBare(both.port)
    await once(third, 'close')
    expect(both.refused).toEqual([expect.objectContaining({ code: 'OVERLOADED' })])
    silent[0]?.destroy()
    await both.until(() => both.refused.length === 2)
    expect(both.refused[1]).toMatchObject({ code: 'CONNECTION_LOST' })
    const channel = new Recorded(await tcp({ tls: trusting }).connect(both.listener.address))
    await both.until(() => both.accepted.length === 1)
    channel.channel.close()
    await channel.closed()
    silent[1]?.destroy()
  })

  test('under way ends with the listener', async () => {
    const both = await listening({ tls: server })
    const socket = dialBare(both.port)
    await once(socket, 'connect')
    const closed = once(socket, 'close')
    await both.listener.close()
    await closed
    expect(both.accepted).toEqual([])
  })

  test('with somebody who speaks plainly fails at once, and both know', async () => {
    await using both = await listening({ tls: server })
    const plain = new Recorded(await tcp().connect(both.listener.address.replace('tls:', 'tcp:')))
    plain.channel.send([pattern(100)])
    await plain.closed()
    await both.until(() => both.refused.length === 1)
    expect(both.refused[0]).toMatchObject({
      code: 'TLS_FAILED',
      message: expect.stringContaining('does not speak TLS') as string,
    })
    expect(plain.frames).toEqual([])
  })

  test('with a listener that speaks plainly is a frame over its limit, and no hang', async () => {
    await using both = await rawPair()
    both.socket.write(await clientHello())
    await both.channel.closed()
    expect(both.channel.error?.code).toBe('FRAME_TOO_LARGE')
    // Over the limit of an authenticated peer, too.
    await using after = await rawPair({}, { frameBytesMax: 16 * 1024 * 1024 })
    after.socket.write(await clientHello())
    await after.channel.closed()
    expect(after.channel.error?.code).toBe('FRAME_TOO_LARGE')
    await expect(
      tcp({ tls: trusting }).connect(both.listener.address.replace('tcp:', 'tls:')),
    ).rejects.toMatchObject({ code: expect.stringMatching(/^(TLS_FAILED|CONNECT_FAILED)$/) as string })
  })
})

describe('new certificates', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tls-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  test('are shown to those who connect afterwards, and channels go on', async () => {
    const clock = new SimulatedClock()
    const files = certificateFiles(folder, 'server')
    await using both = await listening({ tls: { ...files, reloadMs: 5000 }, clock })
    const connect = async (): Promise<Recorded> =>
      new Recorded(await tcp({ tls: trusting }).connect(both.listener.address))
    const before = await connect()
    certificateFiles(folder, 'renewed')
    await clock.advance(5000)
    const after = await connect()
    expect(before.channel.security?.identities).toContain('CN:leader')
    expect(after.channel.security?.identities).toContain('CN:renewed')
    expect(both.listener.certificate?.identities).toContain('CN:renewed')
    await both.until(() => both.accepted.length === 2)
    before.channel.send([pattern(10)])
    await both.accepted[0]?.framesArrived(1)
    writeFileSync(files.cert.file, 'not a certificate')
    await clock.advance(5000)
    expect(both.listener.certificate).toMatchObject({
      identities: expect.arrayContaining(['CN:renewed']) as string[],
      expiresAt: Date.UTC(2120, 0, 1),
      problem: expect.stringContaining('no PEM text') as string,
    })
    for (const channel of [before, after]) {
      channel.channel.close()
      await channel.closed()
    }
  })

  test('are looked for no longer when the listener has closed', async () => {
    const clock = new SimulatedClock()
    const both = await listening({ tls: certificateFiles(folder, 'server'), clock })
    expect(clock.pending).toBe(1)
    await both.listener.close()
    expect(clock.pending).toBe(0)
  })

  test('are used by those who dial, too', async () => {
    const clock = new SimulatedClock()
    const transport = tcp({ tls: { ...certificateFiles(folder, 'client'), reloadMs: 5000 }, clock })
    await using both = await listening({ tls: { ...server, clientCertificates: 'require' } })
    const identities: (readonly string[] | undefined)[] = []
    for (const name of ['client', 'renewed'] as const) {
      certificateFiles(folder, name)
      await clock.advance(5000)
      const channel = new Recorded(await transport.connect(both.listener.address))
      await both.until(() => both.accepted.length > identities.length)
      identities.push(both.accepted.at(-1)?.channel.security?.identities)
      channel.channel.close()
      await channel.closed()
    }
    expect(identities).toEqual([expect.arrayContaining(['CN:b']), expect.arrayContaining(['CN:renewed'])])
  })

  test('of a plain listener there are none', async () => {
    await using both = await listening({}, 'tcp://127.0.0.1:0')
    expect(both.listener.certificate).toBeUndefined()
    const channel = new Recorded(await tcp().connect(both.listener.address))
    channel.channel.send([framed(pattern(1))])
    channel.channel.close()
    await channel.closed()
  })
})
