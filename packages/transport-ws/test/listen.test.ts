import { once } from 'node:events'
import { connect as connectSocket } from 'node:net'
import { describe, expect, test } from 'vitest'
import type { UnderstudyError } from '@understudy/contracts'
import { SimulatedClock } from '@understudy/testkit'
import { webSocket, type WebSocketOptions } from '../src/index.ts'
import { answerHead, bareSocket, pattern, Recorded, turns, upgradeRequest, upgradedSocket } from './peers.ts'

const ignore = (): void => {}

describe('addresses', () => {
  test.each([
    ['', 'no URL'],
    ['127.0.0.1:7401', 'no URL'],
    ['tcp://127.0.0.1:7401', 'serves ws:// and wss:// only'],
    ['http://127.0.0.1:7401', 'serves ws:// and wss:// only'],
    ['ws://:7401', 'no'],
    ['ws://127.0.0.1:99999', 'no URL'],
    ['ws://user@127.0.0.1:7401', 'more than'],
    ['ws://127.0.0.1:7401/path?token=1', 'more than'],
  ])('%j is ADDRESS_INVALID for both directions', async (address, reason) => {
    const expected = { code: 'ADDRESS_INVALID', message: expect.stringContaining(reason) as string }
    await expect(webSocket().connect(address)).rejects.toMatchObject(expected)
    await expect(webSocket().listen(address, ignore)).rejects.toMatchObject(expected)
  })

  test.each(['ws://127.0.0.1:0', 'ws://127.8.9.1:0/replication', 'ws://localhost:0', 'ws://[::1]:0/a/b'])(
    'listening on %s gives an address to dial',
    async (address) => {
      const accepted = Promise.withResolvers<Recorded>()
      await using listener = await webSocket().listen(address, (channel) =>
        accepted.resolve(new Recorded(channel)),
      )
      expect(listener.address).toMatch(
        new RegExp(`^${address.replaceAll(/[[\].]/g, '\\$&').replace(':0', ':\\d+')}$`),
      )
      const dialler = new Recorded(await webSocket().connect(listener.address))
      dialler.channel.send([pattern(5)])
      const acceptor = await accepted.promise
      await acceptor.framesArrived(1)
      expect(acceptor.channel.remote).toMatch(/^ws:\/\/(127\.\d+\.\d+\.\d+|\[::1\]):\d+$/)
      expect(acceptor.channel.security).toBeUndefined()
      dialler.channel.close()
      await dialler.closed()
    },
  )

  test.each(['ws://0.0.0.0:0', 'ws://[::]:0', 'ws://192.0.2.1:0', 'ws://node-a.example'])(
    'listening on %s needs an explicit decision, even with authentication',
    async (address) => {
      const listening = webSocket().listen(address, ignore, { authenticated: true })
      await expect(listening).rejects.toMatchObject({ code: 'INSECURE_ADDRESS' })
    },
  )

  test('that decision can be made', async () => {
    await using listener = await webSocket({ insecure: true }).listen('ws://0.0.0.0:0', ignore)
    expect(listener.address).toMatch(/^ws:\/\/0\.0\.0\.0:\d+$/)
  })

  test('a port in use is LISTEN_FAILED', async () => {
    await using listener = await webSocket().listen('ws://127.0.0.1:0', ignore)
    await expect(webSocket().listen(listener.address, ignore)).rejects.toMatchObject({
      code: 'LISTEN_FAILED',
      details: { systemCode: 'EADDRINUSE' },
    })
  })
})

test.each<WebSocketOptions>([
  { lowBytes: 10, highBytes: 5 },
  { lowBytes: 0 },
  { handshakeMs: 0 },
  { frameMs: NaN },
  { headers: { a: 'b\r\nc: d' } },
])('options that make no sense are refused: %j', (options) => {
  expect(() => webSocket(options)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
})

/** The first line of the answer to a request; the socket is at its end then, unless upgraded. */
async function statusOf(address: string, request: string): Promise<string> {
  const socket = await bareSocket(address)
  socket.write(request)
  const head = await answerHead(socket)
  socket.resume()
  if (!head.includes(' 101 ')) await once(socket, 'end')
  socket.destroy()
  return head.slice(0, head.indexOf('\r\n'))
}

describe('a request that is no upgrade of ours is answered in HTTP and closed', () => {
  test.each<[string, string, string]>([
    ['a page', 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', 'HTTP/1.1 426 Upgrade Required'],
    ['no HTTP at all', '\x00\x00\x00\x05hello\r\n\r\n', 'HTTP/1.1 400 Bad Request'],
    ['another path', upgradeRequest({}, 'GET /other HTTP/1.1'), 'HTTP/1.1 404 Not Found'],
    ['another protocol', upgradeRequest({ Upgrade: 'h2c' }), 'HTTP/1.1 400 Bad Request'],
    ['no subprotocol', upgradeRequest({ 'Sec-WebSocket-Protocol': null }), 'HTTP/1.1 400 Bad Request'],
    [
      'another subprotocol',
      upgradeRequest({ 'Sec-WebSocket-Protocol': 'chat, understudy.10' }),
      'HTTP/1.1 400 Bad Request',
    ],
    ['another version', upgradeRequest({ 'Sec-WebSocket-Version': '7' }), 'HTTP/1.1 400 Bad Request'],
    ['no key', upgradeRequest({ 'Sec-WebSocket-Key': null }), 'HTTP/1.1 400 Bad Request'],
    ['another method', upgradeRequest({}, 'POST / HTTP/1.1'), 'HTTP/1.1 405 Method Not Allowed'],
    ['a page of a browser', upgradeRequest({ Origin: 'https://evil.example' }), 'HTTP/1.1 403 Forbidden'],
    ['a file of a browser', upgradeRequest({ Origin: 'null' }), 'HTTP/1.1 403 Forbidden'],
    [
      'a header of 9 KiB',
      upgradeRequest({ Cookie: 'a'.repeat(9 * 1024) }),
      'HTTP/1.1 431 Request Header Fields Too Large',
    ],
  ])('%s', async (_name, request, status) => {
    let accepted = 0
    await using listener = await webSocket().listen('ws://127.0.0.1:0', () => accepted++)
    expect(await statusOf(listener.address, request)).toBe(status)
    expect(accepted).toBe(0)
  })

  test('among several subprotocols ours is chosen, and no extension', async () => {
    await using listener = await webSocket().listen(
      'ws://127.0.0.1:0',
      (channel) => void new Recorded(channel),
    )
    const socket = await bareSocket(listener.address)
    socket.write(
      upgradeRequest({
        'Sec-WebSocket-Protocol': 'chat, understudy.1',
        'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits',
      }),
    )
    const head = await answerHead(socket)
    expect(head).toMatch(/^HTTP\/1.1 101 /)
    expect(head).toContain('Sec-WebSocket-Protocol: understudy.1\r\n')
    expect(head).not.toContain('Extensions')
    socket.destroy()
  })

  test('what the user allows decides before the upgrade', async () => {
    const seen: unknown[] = []
    const transport = webSocket({
      allow: (request) => {
        seen.push(request.socket.remoteAddress)
        return request.headers['x-token'] === 'yes'
      },
    })
    await using listener = await transport.listen('ws://127.0.0.1:0', (channel) => void new Recorded(channel))
    expect(await statusOf(listener.address, upgradeRequest({ 'X-Token': 'no' }))).toMatch(/ 403 /)
    expect(await statusOf(listener.address, upgradeRequest({ 'X-Token': 'yes' }))).toMatch(/ 101 /)
    expect(seen).toEqual(['127.0.0.1', '127.0.0.1'])
  })

  test('a promise is no permission', async () => {
    const allow = (() => Promise.resolve(false)) as unknown as () => boolean
    await using listener = await webSocket({ allow }).listen('ws://127.0.0.1:0', ignore)
    expect(await statusOf(listener.address, upgradeRequest())).toMatch(/ 403 /)
  })

  test('a bug in that predicate lets nobody in, and breaks nothing', async () => {
    const refused: UnderstudyError[] = []
    const bug = new TypeError('test')
    const transport = webSocket({
      refused: (error) => refused.push(error),
      allow: () => {
        throw bug
      },
    })
    await using listener = await transport.listen('ws://127.0.0.1:0', ignore)
    for (let i = 0; i < 2; i++) expect(await statusOf(listener.address, upgradeRequest())).toMatch(/ 500 /)
    expect(refused).toMatchObject([0, 1].map(() => ({ code: 'FORBIDDEN', cause: bug })))
  })

  test('an origin that was named may connect, its neighbours not', async () => {
    const transport = webSocket({ origins: ['https://app.example'] })
    await using listener = await transport.listen('ws://127.0.0.1:0', (channel) => void new Recorded(channel))
    expect(await statusOf(listener.address, upgradeRequest({ Origin: 'https://app.example' }))).toMatch(
      / 101 /,
    )
    for (const Origin of ['http://app.example', 'https://app.example.evil', 'https://evil.example'])
      expect(await statusOf(listener.address, upgradeRequest({ Origin }))).toMatch(/ 403 /)
  })
})

describe('a peer that is slow to ask for the upgrade', () => {
  test.each<[string, string]>([
    ['says nothing before it', ''],
    ['sends half a request', upgradeRequest().slice(0, 60)],
    ['sends a request without its last line', upgradeRequest().slice(0, -2)],
  ])('%s, is closed at the deadline', async (_name, start) => {
    const clock = new SimulatedClock()
    const refused: UnderstudyError[] = []
    const transport = webSocket({ clock, refused: (error) => refused.push(error) })
    await using listener = await transport.listen('ws://127.0.0.1:0', ignore)
    const socket = await bareSocket(listener.address)
    let isClosed = false
    // An end, or a reset when not all was read.
    const closed = new Promise<void>((resolve) => {
      const end = (): void => {
        isClosed = true
        resolve()
      }
      socket.on('end', end).on('close', end).resume()
    })
    socket.write(start)
    while (clock.pending === 0) await turns(1)
    // A byte a second gives no more time.
    for (const byte of start === '' ? 'GET ' : 'abcd') {
      await clock.advance(1000)
      socket.write(byte)
    }
    await clock.advance(999)
    await turns()
    expect(isClosed).toBe(false)
    await clock.advance(1)
    await closed
    socket.destroy()
    await turns()
    expect(clock.pending).toBe(0)
    expect(refused).toMatchObject([{ code: 'PEER_SILENT', details: { timeoutMs: 5000 } }])
  })

  test('a channel has no such deadline', async () => {
    const clock = new SimulatedClock()
    const accepted = Promise.withResolvers<Recorded>()
    await using listener = await webSocket({ clock }).listen('ws://127.0.0.1:0', (channel) =>
      accepted.resolve(new Recorded(channel)),
    )
    const socket = await upgradedSocket(listener.address)
    const channel = await accepted.promise
    expect(clock.pending).toBe(0)
    await clock.advance(1_000_000)
    await turns()
    expect(channel.closes).toBe(0)
    socket.destroy()
  })
})

describe('connections', () => {
  test('over the limit of one address are closed at once, without an answer', async () => {
    const accepted: Recorded[] = []
    const refused: UnderstudyError[] = []
    await using listener = await webSocket({ refused: (error) => refused.push(error) }).listen(
      'ws://127.0.0.1:0',
      (channel) => accepted.push(new Recorded(channel)),
      { channelsPerAddressMax: 2 },
    )
    // One that did not ask for the upgrade yet counts too.
    const waiting = await bareSocket(listener.address)
    const first = await upgradedSocket(listener.address)
    const third = await bareSocket(listener.address)
    third.resume()
    await once(third, 'end')
    expect(accepted.length).toBe(1)
    expect(refused).toMatchObject([{ code: 'OVERLOADED' }])
    // Another address has places of its own.
    const other = connectSocket({
      port: Number(new URL(listener.address).port),
      host: '127.0.0.1',
      localAddress: '127.0.0.2',
    })
    other.write(upgradeRequest())
    expect(await answerHead(other)).toMatch(/ 101 /)
    waiting.destroy()
    await once(waiting, 'close')
    while (true) {
      const again = await bareSocket(listener.address)
      again.write(upgradeRequest())
      const head = await answerHead(again).catch(() => '')
      again.destroy()
      if (head.includes(' 101 ')) break
    }
    for (const socket of [first, other]) socket.destroy()
  })

  test('close ends channels and half-asked upgrades, and frees the port', async () => {
    const accepted: Recorded[] = []
    const listener = await webSocket().listen('ws://127.0.0.1:0', (channel) =>
      accepted.push(new Recorded(channel)),
    )
    const dialler = new Recorded(await webSocket().connect(listener.address))
    const half = await bareSocket(listener.address)
    half.write(upgradeRequest().slice(0, 40))
    half.resume()
    await turns()
    const gone = once(half, 'end')
    await Promise.all([listener.close(), listener.close()])
    await gone
    half.destroy()
    expect(accepted.map((channel) => channel.closes)).toEqual([1])
    await dialler.closed()
    expect(dialler.error).toBeUndefined()
    await using again = await webSocket().listen(listener.address, ignore)
    expect(again.address).toBe(listener.address)
  })
})
