import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { Child } from '../src/processes/child.ts'
import type { StrangersCalls } from '../src/processes/strangers.ts'

/** An address, and a queue of the connections that came. */
async function listening(accept: (socket: Socket) => void): Promise<AsyncDisposable & { port: number }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    accept(socket)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

test.runIf(process.platform === 'linux')(
  'strangers come from several addresses: half are silent, half begin a frame and send a byte a second; one that is closed comes again',
  async () => {
    const bytes = new Map<Socket, number[]>()
    const dripped = Promise.withResolvers<Socket>()
    const all = Promise.withResolvers<void>()
    const again = Promise.withResolvers<void>()
    await using server = await listening((socket) => {
      bytes.set(socket, [])
      if (bytes.size === 16) all.resolve()
      if (bytes.size === 17) again.resolve()
      socket.on('data', (chunk) => {
        bytes.get(socket)?.push(...chunk)
        if ((bytes.get(socket)?.length ?? 0) > 4) dripped.resolve(socket)
      })
    })
    await using strangers = new Child<StrangersCalls>('strangers')
    const address = `tcp://127.0.0.1:${server.port}`
    await strangers.call('start', { address, connections: 16, dialsPerSecond: 1000 })
    await all.promise
    expect(new Set([...bytes.keys()].map(({ remoteAddress }) => remoteAddress)).size).toBe(8)
    const slow = await dripped.promise
    // 4000 bytes are announced, and the first of them has come.
    expect(bytes.get(slow)?.slice(0, 5)).toEqual([0xa0, 0x0f, 0, 0, 1])
    expect([...bytes.values()].filter((sent) => sent.length === 0)).toHaveLength(8)
    expect(await strangers.call('state')).toMatchObject({ dialled: 16, open: 16, closedByNode: 0, failed: 0 })
    slow.destroy()
    await again.promise
    expect(await strangers.call('state')).toMatchObject({ dialled: 17, closedByNode: 1 })
  },
)

test.runIf(process.platform === 'linux')(
  'over WebSocket, the slow half asks for the upgrade first',
  async () => {
    const upgrade = Promise.withResolvers<string>()
    const frame = Promise.withResolvers<Buffer>()
    await using server = await listening((socket) => {
      socket.once('data', (request) => {
        upgrade.resolve(request.toString('latin1'))
        socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n')
        socket.once('data', frame.resolve)
      })
    })
    await using strangers = new Child<StrangersCalls>('strangers')
    const address = `ws://127.0.0.1:${server.port}`
    await strangers.call('start', { address, connections: 16, dialsPerSecond: 1000 })
    expect(await upgrade.promise).toMatch(
      /^GET \/ HTTP\/1\.1\r\n[^]*Sec-WebSocket-Protocol: understudy\.1\r\n\r\n$/,
    )
    expect([...(await frame.promise).subarray(0, 4)]).toEqual([0x82, 0xfe, 0x0f, 0xa0])
  },
)

test.runIf(process.platform === 'linux')(
  'what is closed at once is dialled no faster than the rate',
  async () => {
    const times: number[] = []
    const many = Promise.withResolvers<void>()
    await using server = await listening((socket) => {
      times.push(performance.now())
      if (times.length === 40) many.resolve()
      socket.destroy()
    })
    await using strangers = new Child<StrangersCalls>('strangers')
    const address = `tcp://127.0.0.1:${server.port}`
    await strangers.call('start', { address, connections: 4, dialsPerSecond: 50 })
    await many.promise
    const [first = 0] = times
    const last = times[39] ?? 0
    expect(last - first).toBeGreaterThan(550)
  },
)
