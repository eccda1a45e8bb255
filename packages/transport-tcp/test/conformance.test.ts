import { once } from 'node:events'
import { connect as connectSocket } from 'node:net'
import { transportSuite, type RawPeer } from '@understudy/testkit/suites/transport'
import { tcp } from '../src/index.ts'
import { deadAddress, framed } from './peers.ts'

transportSuite({
  name: 'tcp',
  create: async () => ({
    transport: tcp(),
    listenAddress: 'tcp://127.0.0.1:0',
    deadAddress: await deadAddress(),
    raw: {
      connect: connectRaw,
      encode: framed,
      header(length) {
        const prefix = Buffer.alloc(4)
        prefix.writeUInt32LE(length)
        return prefix
      },
    },
  }),
})

async function connectRaw(address: string): Promise<RawPeer> {
  const socket = connectSocket({
    host: '127.0.0.1',
    port: Number(new URL(address).port),
    noDelay: true,
    allowHalfOpen: true,
  })
  socket.on('error', () => {})
  // What comes is taken and dropped, so that the end is noticed.
  socket.resume()
  await once(socket, 'connect')
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        socket.write(bytes, (error) => (error === undefined || error === null ? resolve() : reject(error)))
      }),
    end: () => socket.end(),
    destroy: () => socket.resetAndDestroy(),
  }
}
