/**
 * Connects: resolves with a channel when both ends agreed to speak WebSocket.
 *
 * Decides: options of the socket and of the request, and what a failure means. The handshake itself is that of `ws`, which
 * checks the answer and the subprotocol in it; redirects are not followed.
 *
 * 1. Whoever gave certificates has no plain `ws://` with other machines, unless he says that the network is to be trusted.
 */
import type { IncomingMessage } from 'node:http'
import { connect as connectSocket, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { WebSocket } from 'ws'
import type { ConnectOptions } from '@understudy/contracts'
import {
  connectAborted,
  connectFailed,
  connectTimedOut,
  diallerTls,
  formatAddress,
  invalidAddress,
  isLoopback,
  parseAddress,
  plainAddress,
  type Certificates,
  type Endpoint,
  type SystemError,
} from '@understudy/sockets'
import { WebSocketChannel } from './channel.ts'
import { handshakeFailed, upgradeRefused } from './errors.ts'
import type { Settings } from './options.ts'
import { channelOptions, HEADER_BYTES_MAX, RULES, SUBPROTOCOL, WS_OPTIONS } from './protocol.ts'

const CONNECT_TIMEOUT_MS = 5000
const CONNECT_FRAME_BYTES_MAX = 16 * 1024 * 1024

export async function dial(
  address: string,
  settings: Settings,
  certificates: () => Certificates,
  options: ConnectOptions,
): Promise<WebSocketChannel> {
  const { signal, timeoutMs = CONNECT_TIMEOUT_MS, frameBytesMax = CONNECT_FRAME_BYTES_MAX } = options
  const endpoint = parseAddress(address, RULES)
  if (endpoint.port === 0) throw invalidAddress(address, 'nothing can be dialled at port 0', RULES.schemes)
  if (
    endpoint.scheme === 'ws' &&
    settings.tls !== undefined &&
    !settings.insecure &&
    !isLoopback(endpoint.host)
  )
    throw plainAddress(address, 'wss')
  if (signal?.aborted === true) throw connectAborted(address, signal)
  const { promise, resolve, reject } = Promise.withResolvers<WebSocketChannel>()
  let isOver = false
  const fail = (error: Error): void => {
    if (isOver) return
    isOver = true
    reject(error)
  }
  const ws = request(endpoint, settings, certificates)
  let socket: Socket | undefined
  ws.on('upgrade', (response: IncomingMessage) => {
    socket = response.socket
  })
  ws.on('unexpected-response', (asked, response: IncomingMessage) => {
    fail(upgradeRefused(address, response.statusCode ?? 0))
    asked.destroy()
  })
  ws.on('error', (error: SystemError & Error) => fail(failureOf(address, error)))
  ws.on('open', () => {
    if (isOver || socket === undefined) return
    isOver = true
    resolve(
      new WebSocketChannel(ws, socket, channelOptions(socket, settings, { accepted: false, frameBytesMax })),
    )
  })
  const onAbort = (): void => fail(connectAborted(address, signal))
  signal?.addEventListener('abort', onAbort, { once: true })
  const timer = settings.clock.schedule(timeoutMs, () => fail(connectTimedOut(address, timeoutMs)))
  try {
    return await promise
  } catch (error) {
    ws.terminate()
    throw error
  } finally {
    timer.cancel()
    signal?.removeEventListener('abort', onAbort)
  }
}

function request(endpoint: Endpoint, settings: Settings, certificates: () => Certificates): WebSocket {
  const { scheme, host, port, path } = endpoint
  const socketOptions = {
    host,
    port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: settings.keepAliveMs,
  }
  const tls = scheme === 'wss' ? diallerTls(certificates(), host) : undefined
  const createConnection = (): Socket => {
    if (tls === undefined) return connectSocket(socketOptions)
    return connectTls({ ...socketOptions, ...tls, ALPNProtocols: ['http/1.1'] }).setKeepAlive(
      true,
      settings.keepAliveMs,
    )
  }
  return new WebSocket(formatAddress({ scheme, host, port, path }), [SUBPROTOCOL], {
    ...WS_OPTIONS,
    headers: { ...settings.headers },
    followRedirects: false,
    maxHeaderSize: HEADER_BYTES_MAX,
    createConnection,
  })
}

/** Errors of the operating system and of TLS have codes; those of HTTP's parser and of `ws` are about the answer. */
function failureOf(address: string, error: SystemError & Error): Error {
  const { code } = error
  return code === undefined || code.startsWith('HPE_')
    ? handshakeFailed(address, error)
    : connectFailed(address, error)
}
