import { once } from 'node:events'
import { createServer, get, type RequestListener, type Server } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectSocket, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import type { UnderstudyError } from '@understudy/contracts'
import { certificateTexts, pem } from '@understudy/testkit/certificates'
import { webSocket } from '../src/index.ts'
import { answerHead, bareSocket, pattern, Recorded, upgradeRequest, upgradedSocket } from './peers.ts'

const page: RequestListener = (_request, response) => response.end('a page')
const ignore = (): void => {}

interface Running extends AsyncDisposable {
  readonly server: Server
  readonly port: number
}

async function running(server: Server = createServer(page), host: string = '127.0.0.1'): Promise<Running> {
  server.listen(0, host)
  await once(server, 'listening')
  return {
    server,
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function pageOf(port: number): Promise<string> {
  const [response] = await once(get({ port, host: '127.0.0.1', agent: false }), 'response')
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return text
}

async function statusOf(port: number, path: string): Promise<string> {
  const socket = await bareSocket(`ws://127.0.0.1:${port}`)
  socket.write(upgradeRequest({}, `GET ${path} HTTP/1.1`))
  const head = await answerHead(socket)
  socket.destroy()
  return head.slice(9, 12)
}

describe("on a user's server", () => {
  test('channels, pages and another WebSocket server live side by side, and the server outlives the listener', async () => {
    await using user = await running()
    const { server, port } = user
    const others = new WebSocketServer({ noServer: true })
    server.on('upgrade', (request, socket, head) => {
      if (request.url === '/chat')
        others.handleUpgrade(request, socket, head, (chat) => chat.on('message', (data) => chat.send(data)))
    })
    const accepted = Promise.withResolvers<Recorded>()
    const transport = webSocket({ server })
    const listener = await transport.listen(`ws://127.0.0.1:${port}/replication`, (channel) =>
      accepted.resolve(new Recorded(channel)),
    )
    expect(listener.address).toBe(`ws://127.0.0.1:${port}/replication`)
    const dialler = new Recorded(await webSocket().connect(listener.address))
    dialler.channel.send([pattern(100)])
    const acceptor = await accepted.promise
    await acceptor.framesArrived(1)

    const chat = new WebSocket(`ws://127.0.0.1:${port}/chat`)
    await once(chat, 'open')
    chat.send('hello')
    const [echo] = await once(chat, 'message')
    expect(String(echo)).toBe('hello')
    expect(await pageOf(port)).toBe('a page')

    await listener.close()
    await dialler.closed()
    expect([dialler.error, acceptor.closes]).toEqual([undefined, 1])
    chat.send('still here')
    expect(String((await once(chat, 'message'))[0])).toBe('still here')
    expect(await pageOf(port)).toBe('a page')
    expect(server.listenerCount('upgrade')).toBe(1)
    chat.terminate()
  })

  test('port 0 in the address stands for the port of the server', async () => {
    await using user = await running()
    await using listener = await webSocket({ server: user.server }).listen('ws://localhost:0/a', ignore)
    expect(listener.address).toBe(`ws://localhost:${user.port}/a`)
  })

  test('an upgrade that nobody wants is answered 404, once, however many of our listeners there are', async () => {
    await using user = await running()
    const transport = webSocket({ server: user.server })
    const accept = (channel: ConstructorParameters<typeof Recorded>[0]): void => void new Recorded(channel)
    await using first = await transport.listen('ws://127.0.0.1:0/first', accept)
    await using second = await transport.listen('ws://127.0.0.1:0/second', accept)
    expect(await statusOf(user.port, '/third')).toBe('404')
    expect(await statusOf(user.port, '/first')).toBe('101')
    expect(await statusOf(user.port, '/second?x=1')).toBe('101')
    expect(await statusOf(user.port, '/first/')).toBe('404')
    // Somebody else listens: it is theirs to answer.
    user.server.on('upgrade', (request, socket) => {
      if (request.url === '/third') socket.end('HTTP/1.1 418 Theirs\r\nContent-Length: 0\r\n\r\n')
    })
    expect(await statusOf(user.port, '/third')).toBe('418')
    expect([first.address, second.address]).toEqual([
      `ws://127.0.0.1:${user.port}/first`,
      `ws://127.0.0.1:${user.port}/second`,
    ])
  })

  test('one channel too many is answered 503, and told', async () => {
    await using user = await running()
    const refused: UnderstudyError[] = []
    const transport = webSocket({ server: user.server, refused: (error) => refused.push(error) })
    const accepted: Recorded[] = []
    await using listener = await transport.listen(
      'ws://127.0.0.1:0/a',
      (channel) => accepted.push(new Recorded(channel)),
      { channelsMax: 1 },
    )
    const first = await upgradedSocket(listener.address)
    expect(await statusOf(user.port, '/a')).toBe('503')
    expect(refused).toMatchObject([{ code: 'OVERLOADED' }])
    await expect(webSocket().connect(listener.address)).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
      details: { status: 503 },
    })
    first.destroy()
    await accepted[0]?.closed()
    const dialler = new Recorded(await webSocket().connect(listener.address))
    dialler.channel.close()
    await dialler.closed()
  })

  test.each<[string, string]>([
    ['another port', 'ws://127.0.0.1:1/a'],
    ['another host', 'ws://127.0.0.2:0/a'],
    ['TLS, which it does not speak', 'wss://127.0.0.1:0/a'],
  ])('an address with %s is ADDRESS_INVALID', async (_name, address) => {
    await using user = await running()
    await expect(webSocket({ server: user.server }).listen(address, ignore)).rejects.toMatchObject({
      code: 'ADDRESS_INVALID',
    })
    expect(user.server.listenerCount('upgrade')).toBe(0)
  })

  test('that does not listen yet is LISTEN_FAILED', async () => {
    await expect(
      webSocket({ server: createServer() }).listen('ws://127.0.0.1:0/a', ignore),
    ).rejects.toMatchObject({ code: 'LISTEN_FAILED' })
  })

  test('that other machines reach is INSECURE_ADDRESS, whatever the address says', async () => {
    await using user = await running(createServer(page), '0.0.0.0')
    for (const address of ['ws://127.0.0.1:0/a', 'ws://localhost:0/a', 'ws://node-a.example:0/a']) {
      await expect(
        webSocket({ server: user.server }).listen(address, ignore, { authenticated: true }),
      ).rejects.toMatchObject({ code: 'INSECURE_ADDRESS' })
    }
    await using listener = await webSocket({ server: user.server, insecure: true }).listen(
      'ws://node-a.example:0/a',
      ignore,
    )
    expect(listener.address).toBe(`ws://node-a.example:${user.port}/a`)
  })

  test('with TLS gives channels their security, and client certificates are checked before the upgrade', async () => {
    const { cert, key, ca } = certificateTexts('server')
    const server = createHttpsServer({ cert, key, ca, requestCert: true, rejectUnauthorized: false }, page)
    await using user = await running(server)
    const refused: UnderstudyError[] = []
    const accepted = Promise.withResolvers<Recorded>()
    const transport = webSocket({
      server,
      tls: { ca, clientCertificates: 'require' },
      refused: (error) => refused.push(error),
    })
    await using listener = await transport.listen(`wss://127.0.0.1:${user.port}/a`, (channel) =>
      accepted.resolve(new Recorded(channel)),
    )
    for (const name of [undefined, 'stranger'] as const) {
      const tls = name === undefined ? { ca } : { ...certificateTexts(name), ca: pem('ca') }
      await expect(webSocket({ tls }).connect(listener.address)).rejects.toMatchObject({
        code: 'AUTHENTICATION_REQUIRED',
        details: { status: 401 },
      })
    }
    expect(refused).toMatchObject([{ code: 'TLS_FAILED' }, { code: 'TLS_FAILED' }])
    const dialler = new Recorded(
      await webSocket({ tls: certificateTexts('client') }).connect(listener.address),
    )
    const acceptor = await accepted.promise
    expect(acceptor.channel.security?.identities).toContain('URI:understudy://b')
    dialler.channel.close()
    await dialler.closed()
    await expect(webSocket({ server }).listen('ws://127.0.0.1:0/b', ignore)).rejects.toMatchObject({
      code: 'ADDRESS_INVALID',
    })
  })

  test('on a UNIX socket, as behind a proxy, takes channels too', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'understudy-ws-'))
    const path = join(folder, 'http.sock')
    const server = createServer(page).listen(path)
    await once(server, 'listening')
    const accepted = Promise.withResolvers<Recorded>()
    const listener = await webSocket({ server }).listen('ws://proxy.example/a', (channel) =>
      accepted.resolve(new Recorded(channel)),
    )
    expect(listener.address).toBe('ws://proxy.example:80/a')
    const socket = connectSocket(path)
    socket.write(upgradeRequest({}, 'GET /a HTTP/1.1'))
    expect(await answerHead(socket)).toMatch(/ 101 /)
    const acceptor = await accepted.promise
    expect(acceptor.channel.remote).toBe('a peer on this machine')
    socket.destroy()
    await listener.close()
    server.close()
    await once(server, 'close')
    rmSync(folder, { recursive: true })
  })
})
