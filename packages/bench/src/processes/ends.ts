/**
 * Both ends of a connection, bare or of a transport.
 *
 * Decides: the options of bare sockets, which are those of a program that wants speed: no delay, no compression. Leaves
 * to others: what is sent over it.
 */
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import {
  connect as connectSocket,
  createServer,
  type AddressInfo,
  type ListenOptions,
  type Server,
  type Socket,
} from 'node:net'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { WebSocket, WebSocketServer } from 'ws'
import type { Channel, Transport } from '@understudy/contracts'
import { tcp } from '@understudy/transport-tcp'
import { webSocket } from '@understudy/transport-ws'
import { KINDS, type KindName, type TransportName } from '../transports/kinds.ts'
import type { SelfSigned } from '../transports/self-signed.ts'

export type End =
  | { readonly shape: 'stream'; readonly socket: Socket }
  | { readonly shape: 'webSocket'; readonly socket: WebSocket }
  | { readonly shape: 'channel'; readonly channel: Channel }

export interface EndOptions {
  readonly kind: KindName
  readonly certificate: SelfSigned
  /** Where a UNIX socket may be made. */
  readonly socketFile: string
}

const LOOPBACK = { port: 0, host: '127.0.0.1' } as const
/** More than any message here. */
const FRAME_BYTES_MAX = 1024 * 1024

/** Listens, hands each connection over, and returns the address. */
export async function listen(options: EndOptions, accept: (end: End) => void): Promise<string> {
  const { transport, bare } = KINDS[options.kind]
  if (bare) return listenBare(transport, options, accept)
  const address = transport === 'unix' ? `unix://${options.socketFile}` : `${transport}://127.0.0.1:0`
  const listener = await transportOf(transport, options.certificate).listen(
    address,
    (channel) => accept({ shape: 'channel', channel }),
    { frameBytesMax: FRAME_BYTES_MAX },
  )
  return listener.address
}

async function listenBare(
  transport: TransportName,
  { certificate: { cert, key }, socketFile }: EndOptions,
  accept: (end: End) => void,
): Promise<string> {
  const stream = (socket: Socket): void => accept({ shape: 'stream', socket })
  const noDelay = true
  switch (transport) {
    case 'unix':
      await listening(createServer(stream), { path: socketFile }, transport)
      return `unix://${socketFile}`
    case 'tcp':
      return listening(createServer({ noDelay }, stream), LOOPBACK, transport)
    case 'tls':
      return listening(createTlsServer({ cert, key, noDelay }, stream), LOOPBACK, transport)
    case 'ws':
    case 'wss': {
      const server = transport === 'ws' ? createHttpServer() : createHttpsServer({ cert, key })
      new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (socket) =>
        accept({ shape: 'webSocket', socket }),
      )
      return listening(server, LOOPBACK, transport)
    }
  }
}

async function listening(server: Server, where: ListenOptions, scheme: TransportName): Promise<string> {
  server.listen(where)
  await once(server, 'listening')
  const { port } = (server.address() ?? {}) as Partial<AddressInfo>
  return `${scheme}://127.0.0.1:${String(port)}`
}

export async function dial(options: EndOptions, address: string): Promise<End> {
  const { transport, bare } = KINDS[options.kind]
  if (!bare)
    return { shape: 'channel', channel: await transportOf(transport, options.certificate).connect(address) }
  if (transport === 'ws' || transport === 'wss') {
    // Not open yet: messages that come with the handshake's answer would find nobody who listens.
    const socket = new WebSocket(address, { perMessageDeflate: false, ca: options.certificate.cert })
    return { shape: 'webSocket', socket }
  }
  const { hostname: host, port, pathname } = new URL(address)
  if (transport === 'tls') {
    const socket = connectTls({ host, port: Number(port), ca: options.certificate.cert })
    await once(socket, 'secureConnect')
    return { shape: 'stream', socket: socket.setNoDelay() }
  }
  const socket = connectSocket(transport === 'unix' ? { path: pathname } : { host, port: Number(port) })
  await once(socket, 'connect')
  return { shape: 'stream', socket: socket.setNoDelay() }
}

function transportOf(name: TransportName, { cert, key }: SelfSigned): Transport {
  switch (name) {
    case 'tcp':
    case 'unix':
      return tcp()
    case 'tls':
      return tcp({ tls: { cert, key, ca: cert } })
    case 'ws':
      return webSocket()
    case 'wss':
      return webSocket({ tls: { cert, key, ca: cert } })
  }
}
