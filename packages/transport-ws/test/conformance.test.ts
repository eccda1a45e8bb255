import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { TLSSocket, type ConnectionOptions } from 'node:tls'
import { certificateTexts, pem } from '@understudy/testkit/certificates'
import { transportSuite, type RawPeer } from '@understudy/testkit/suites/transport'
import { webSocket, type WebSocketOptions } from '../src/index.ts'
import { deadAddress, framed, frameHeader, upgradedSocket } from './peers.ts'

suite('ws', {})
// Both directions at once: `server` also dials, with the same authority.
suite('wss', { tls: certificateTexts('server') }, { ca: pem('ca') })

function suite(scheme: string, options: WebSocketOptions, tls?: ConnectionOptions): void {
  transportSuite({
    name: scheme,
    create: async () => {
      const silent = await silentServer()
      return {
        transport: webSocket(options),
        listenAddress: `${scheme}://127.0.0.1:0`,
        deadAddress: await deadAddress(scheme),
        tcpAddresses: true,
        silentAddress: `${scheme}://127.0.0.1:${silent.port}`,
        raw: {
          connect: async (address) => rawPeer(await upgradedSocket(address, tls)),
          encode: (frame) => framed(frame),
          header: (length) => frameHeader({ length }),
        },
        dispose: () => silent.close(),
      }
    },
  })
}

function rawPeer(socket: Socket): RawPeer {
  // What comes is taken and dropped, so that the end is noticed.
  socket.resume()
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        socket.write(bytes, (error) => (error === undefined || error === null ? resolve() : reject(error)))
      }),
    // In the midst of a frame the closing frame is part of it.
    end: () => socket.end(framed(Uint8Array.of(0x03, 0xe8), { first: 0x88 })),
    // A TLS socket has no reset of its own.
    destroy: () => (socket instanceof TLSSocket ? socket.destroy() : socket.resetAndDestroy()),
  }
}

/** A server that takes connections and says nothing. */
async function silentServer(): Promise<{ port: number; close(): Promise<void> }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    socket.on('error', () => {})
    sockets.add(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    port: address.port,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
