import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import {
  connect as connectSocket,
  createServer,
  type AddressInfo,
  type NetConnectOpts,
  type Socket,
} from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { transportSuite, type RawAccess, type RawPeer } from '@understudy/testkit/suites/transport'
import { certificateFiles, certificateTexts } from '@understudy/testkit/certificates'
import { tcp } from '../src/index.ts'
import { deadAddress, framed } from './peers.ts'

transportSuite({
  name: 'tcp',
  create: async () => ({
    transport: tcp(),
    listenAddress: 'tcp://127.0.0.1:0',
    deadAddress: await deadAddress(),
    tcpAddresses: true,
    raw: rawAccess(async (address) => {
      const socket = await connected({ host: '127.0.0.1', port: Number(new URL(address).port) })
      return [socket, socket]
    }),
  }),
})

transportSuite({
  name: 'tls, mutual',
  create: async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tls-'))
    // It accepts, and says nothing: no handshake comes about.
    const silent = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    return {
      transport: tcp({ tls: { ...certificateFiles(folder, 'server'), clientCertificates: 'require' } }),
      listenAddress: 'tls://127.0.0.1:0',
      deadAddress: (await deadAddress()).replace('tcp:', 'tls:'),
      silentAddress: `tls://127.0.0.1:${(silent.address() as AddressInfo).port}`,
      tcpAddresses: true,
      raw: rawAccess(async (address) => {
        const socket = await connected({ host: '127.0.0.1', port: Number(new URL(address).port) })
        const session = connectTls({ socket, ...certificateTexts('client'), host: '127.0.0.1' })
        await once(session, 'secureConnect')
        return [session, socket]
      }),
      async dispose() {
        silent.close()
        rmSync(folder, { recursive: true })
      },
    }
  },
})

transportSuite({
  name: 'unix',
  create: async () => {
    const folder = mkdtempSync(join(tmpdir(), 'unix-'))
    let listeners = 0
    return {
      transport: tcp(),
      get listenAddress() {
        return `unix://${folder}/${listeners++}.sock`
      },
      deadAddress: `unix://${folder}/nobody.sock`,
      perAddressLimit: false,
      raw: rawAccess(async (address) => {
        const socket = await connected({ path: new URL(address).pathname })
        return [socket, socket]
      }),
      dispose: async () => rmSync(folder, { recursive: true }),
    }
  },
})

async function connected(where: NetConnectOpts): Promise<Socket> {
  const socket = connectSocket({ ...where, noDelay: true, allowHalfOpen: true })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** `open` makes what to write to, and the socket beneath it. */
function rawAccess(open: (address: string) => Promise<[Socket, Socket]>): RawAccess {
  return {
    encode: framed,
    header(length) {
      const prefix = Buffer.alloc(4)
      prefix.writeUInt32LE(length)
      return prefix
    },
    async connect(address): Promise<RawPeer> {
      const [stream, socket] = await open(address)
      stream.on('error', () => {})
      // What comes is taken and dropped, so that the end is noticed.
      stream.resume()
      return {
        write: (bytes) =>
          new Promise((resolve, reject) => {
            stream.write(bytes, (error) =>
              error === undefined || error === null ? resolve() : reject(error),
            )
          }),
        end: () => stream.end(),
        destroy: () => (new URL(address).protocol === 'unix:' ? socket.destroy() : socket.resetAndDestroy()),
      }
    },
  }
}
