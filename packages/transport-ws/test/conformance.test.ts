import { createServer, type Socket } from 'node:net'
import { once } from 'node:events'
import { transportSuite, type RawPeer } from '@understudy/testkit/suites/transport'
import { webSocket } from '../src/index.ts'
import { deadAddress, framed, frameHeader, upgradedSocket } from './peers.ts'

transportSuite({
  name: 'ws',
  create: async () => {
    const silent = await silentServer()
    return {
      transport: webSocket(),
      listenAddress: 'ws://127.0.0.1:0',
      deadAddress: await deadAddress(),
      silentAddress: silent.address,
      raw: {
        connect: connectRaw,
        encode: (frame) => framed(frame),
        header: (length) => frameHeader({ length }),
      },
      dispose: () => silent.close(),
    }
  },
})

async function connectRaw(address: string): Promise<RawPeer> {
  const socket = await upgradedSocket(address)
  // What comes is taken and dropped, so that the end is noticed.
  socket.resume()
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        socket.write(bytes, (error) => (error === undefined || error === null ? resolve() : reject(error)))
      }),
    // In the midst of a frame the closing frame is part of it.
    end: () => socket.end(framed(Uint8Array.of(0x03, 0xe8), { first: 0x88 })),
    destroy: () => socket.resetAndDestroy(),
  }
}

/** A server that takes connections and says nothing. */
async function silentServer(): Promise<{ address: string; close(): Promise<void> }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    socket.on('error', () => {})
    sockets.add(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    address: `ws://127.0.0.1:${address.port}`,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
