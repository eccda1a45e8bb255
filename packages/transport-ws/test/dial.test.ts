import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { createServer as createNetServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { SimulatedClock } from '@understudy/testkit'
import { webSocket } from '../src/index.ts'
import { deadAddress, framed, pattern, Recorded, turns } from './peers.ts'

interface Fake extends AsyncDisposable {
  readonly address: string
}

async function listening(server: Server, sockets: Set<Socket>): Promise<Fake> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Answers the first bytes of every connection with these. */
async function answering(answer: string | ((request: string) => string)): Promise<Fake> {
  const sockets = new Set<Socket>()
  const server = createNetServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('data', (bytes) => {
      socket.write(typeof answer === 'string' ? answer : answer(bytes.toString('latin1')), 'latin1')
      socket.resume()
    })
  })
  return listening(server, sockets)
}

/** A right answer to an upgrade, then these headers. */
function granted(request: string, headers: string): string {
  const key = /sec-websocket-key: (\S+)/i.exec(request)?.[1] ?? ''
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${headers}\r\n`
}

describe('a refusal has the HTTP status and what to do', () => {
  test.each<[number, string]>([
    [301, 'redirects are not followed'],
    [307, 'redirects are not followed'],
    [200, 'Understudy node listens there'],
    [400, 'passes on the Upgrade and Connection headers'],
    [401, 'certificate'],
    [403, 'does not let this machine in'],
    [404, 'check the path'],
    [426, 'Upgrade and Connection headers'],
    [502, 'cannot reach the node'],
    [503, 'as many connections'],
    [504, 'cannot reach the node'],
  ])('%i', async (status, advice) => {
    await using server = await answering(
      `HTTP/1.1 ${status} Text\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 5\r\n\r\nhello`,
    )
    const codes: Record<number, string> = { 401: 'AUTHENTICATION_REQUIRED', 403: 'FORBIDDEN' }
    await expect(webSocket().connect(server.address)).rejects.toMatchObject({
      code: codes[status] ?? 'CONNECT_FAILED',
      details: { status, address: server.address },
      message: expect.stringContaining(advice) as string,
    })
  })
})

describe('an answer that is no handshake of ours is CONNECT_FAILED', () => {
  test.each<[string, string | ((request: string) => string)]>([
    ['no HTTP', '\x00\x01\x02hello\r\n\r\n'],
    ['an endless header', `HTTP/1.1 101 Switching\r\nX: ${'a'.repeat(20_000)}`],
    [
      'a wrong key',
      'HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\nSec-WebSocket-Protocol: understudy.1\r\n\r\n',
    ],
    ['no subprotocol', (request) => granted(request, '')],
    ['another subprotocol', (request) => granted(request, 'Sec-WebSocket-Protocol: understudy.2\r\n')],
    [
      'compression, which was not offered',
      (request) =>
        granted(
          request,
          'Sec-WebSocket-Protocol: understudy.1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n',
        ),
    ],
  ])('%s', async (_name, answer) => {
    await using server = await answering(answer)
    await expect(webSocket().connect(server.address)).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
      message: expect.stringContaining('no proxy on the way changes the handshake') as string,
    })
  })

  test('an end before the answer', async () => {
    const sockets = new Set<Socket>()
    await using server = await listening(
      createNetServer((socket) => socket.resume().end()),
      sockets,
    )
    await expect(webSocket().connect(server.address)).rejects.toMatchObject({ code: 'CONNECT_FAILED' })
  })
})

test('frames that came in one piece with the answer are kept until start', async () => {
  await using server = await answering(
    (request) =>
      granted(request, 'Sec-WebSocket-Protocol: understudy.1\r\n') +
      framed(Uint8Array.of(1, 2), { masked: false }).toString('latin1') +
      framed(Uint8Array.of(3), { masked: false }).toString('latin1'),
  )
  const channel = await webSocket().connect(server.address)
  await turns()
  const recorded = new Recorded(channel)
  await recorded.framesArrived(2)
  expect(recorded.frames.map((frame) => [...frame])).toEqual([[1, 2], [3]])
})

test('nobody there is CONNECT_FAILED with the system code, a name that does not resolve too', async () => {
  const address = await deadAddress()
  await expect(webSocket().connect(address)).rejects.toMatchObject({
    code: 'CONNECT_FAILED',
    details: { systemCode: 'ECONNREFUSED', address },
  })
  // Longer than a label of a name may be, so that nobody is asked for it.
  await expect(webSocket().connect(`ws://${'a'.repeat(64)}:7401`)).rejects.toMatchObject({
    code: 'CONNECT_FAILED',
  })
})

test('port 0 cannot be dialled', async () => {
  await expect(webSocket().connect('ws://127.0.0.1:0')).rejects.toMatchObject({ code: 'ADDRESS_INVALID' })
})

describe('a listener that does not answer', () => {
  test.each<[string, string]>([
    ['at all', ''],
    ['to its end', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso'],
  ])('%s, is given up at the deadline, which closes the socket', async (_name, answer) => {
    const gone = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    const server = createNetServer((socket) => {
      socket.on('error', () => {})
      socket.on('close', () => gone.resolve())
      socket.once('data', () => {
        socket.write(answer)
        asked.resolve()
      })
    })
    await using fake = await listening(server, new Set())
    const clock = new SimulatedClock()
    const connecting = webSocket({ clock }).connect(fake.address, { timeoutMs: 70 })
    const rejected = connecting.catch((error: unknown) => error)
    await asked.promise
    await turns()
    await clock.advance(70)
    expect(await rejected).toMatchObject({ code: 'TIMEOUT', details: { timeoutMs: 70 } })
    await gone.promise
    expect(clock.pending).toBe(0)
  })
})

test('headers are sent as they are, and no Origin, cookie or extension of our own', async () => {
  const seen = Promise.withResolvers<IncomingHttpHeaders>()
  const server = createServer()
  server.on('upgrade', (request, socket) => {
    seen.resolve(request.headers)
    socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n')
  })
  await using fake = await listening(server, new Set())
  await expect(
    webSocket({ headers: { Authorization: 'Bearer abc' } }).connect(`${fake.address}replication`),
  ).rejects.toMatchObject({ details: { status: 403 } })
  const headers = await seen.promise
  expect(headers).toMatchObject({ authorization: 'Bearer abc', 'sec-websocket-protocol': 'understudy.1' })
  expect(Object.keys(headers).toSorted()).toEqual([
    'authorization',
    'connection',
    'host',
    'sec-websocket-key',
    'sec-websocket-protocol',
    'sec-websocket-version',
    'upgrade',
  ])
})

test('what a dialler sends is masked with a mask of its own for each frame, what a listener sends is not', async () => {
  const received = Promise.withResolvers<Buffer>()
  const sockets = new Set<Socket>()
  const server = createNetServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('data', (request) => {
      socket.write(granted(request.toString('latin1'), 'Sec-WebSocket-Protocol: understudy.1\r\n'))
      const chunks: Buffer[] = []
      socket.on('data', (chunk) => {
        chunks.push(chunk)
        const all = Buffer.concat(chunks)
        if (all.length === 2 * (6 + 100)) received.resolve(all)
      })
    })
  })
  await using fake = await listening(server, sockets)
  const recorded = new Recorded(await webSocket().connect(fake.address))
  const body = pattern(100)
  const original = body.slice()
  recorded.channel.send([body.subarray(0, 40), body.subarray(40)])
  recorded.channel.send([body])
  const bytes = await received.promise
  const masks = [0, 106].map((at) => {
    expect(bytes.subarray(at, at + 2)).toEqual(Buffer.from([0x82, 0x80 | 100]))
    const mask = bytes.subarray(at + 2, at + 6)
    const payload = bytes.subarray(at + 6, at + 106).map((byte, i) => byte ^ mask[i % 4]!)
    expect(Buffer.compare(payload, original)).toBe(0)
    return mask.toString('hex')
  })
  expect(new Set(masks).size).toBe(2)
  // Masking did not change what belongs to the caller.
  expect(Buffer.compare(body, original)).toBe(0)
})

test('a server that masks its frames is no WebSocket server', async () => {
  await using server = await answering(
    (request) =>
      granted(request, 'Sec-WebSocket-Protocol: understudy.1\r\n') +
      framed(Uint8Array.of(1)).toString('latin1'),
  )
  const recorded = new Recorded(await webSocket().connect(server.address))
  await recorded.closed()
  expect(recorded.error).toMatchObject({ code: 'PROTOCOL_VIOLATION' })
})
