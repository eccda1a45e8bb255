/** What both ends agree on before the first frame. */
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { formatAddress, securityOf, type AddressRules } from '@understudy/sockets'
import type { ChannelOptions } from './channel.ts'
import type { Settings } from './options.ts'

/** The WebSocket subprotocol. A peer that does not name it is none of ours. */
export const SUBPROTOCOL = 'understudy.1'

export const RULES: AddressRules = {
  schemes: ['ws', 'wss'],
  paths: true,
  ports: { ws: 80, wss: 443 },
}

/** More than any header of ours, with those of proxies and cookies. */
export const HEADER_BYTES_MAX: number = 8 * 1024

/** For both ends, of `ws`: what it need not do, or only in bounds. Lengths are limited by the gate before it. */
export const WS_OPTIONS: {
  readonly perMessageDeflate: false
  readonly autoPong: false
  readonly maxPayload: number
  readonly maxFragments: number
  readonly maxBufferedChunks: number
  readonly closeTimeout: number
} = {
  perMessageDeflate: false,
  autoPong: false,
  maxPayload: 0,
  // We send none, a proxy may; each piece costs memory beside its bytes.
  maxFragments: 128,
  // Frames come whole.
  maxBufferedChunks: 4,
  // The channel has its own, on its own clock; this is the longest that a timer of Node takes.
  closeTimeout: 0x7fffffff,
}

/** Options of the channel on a connection whose handshakes are done. */
export function channelOptions(
  socket: Socket,
  settings: Settings,
  own: { accepted: boolean; frameBytesMax: number },
): ChannelOptions {
  const { highBytes, lowBytes, frameMs, clock } = settings
  const isEncrypted = socket instanceof TLSSocket
  return {
    ...own,
    highBytes,
    lowBytes,
    frameMs,
    clock,
    remote: remoteOf(socket),
    security: isEncrypted ? securityOf(socket) : undefined,
  }
}

/** For people: where the peer of a socket is. */
export function remoteOf(socket: Socket): string {
  const scheme = socket instanceof TLSSocket ? 'wss' : 'ws'
  const { remoteAddress, remotePort = 0 } = socket
  if (remoteAddress === undefined) return 'a peer on this machine'
  return formatAddress({ scheme, host: remoteAddress, port: remotePort })
}
