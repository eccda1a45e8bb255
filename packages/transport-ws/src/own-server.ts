/**
 * An HTTP or HTTPS server that does nothing but upgrades, and lets nobody linger.
 *
 * Decides: limits of connections from the moment they are accepted, TLS handshakes included, and the deadline by which a
 * connection must have become a channel. Which upgrades are granted is decided in upgrades.
 */
import { createServer as createHttp, type Server } from 'node:http'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import {
  Pending,
  isTlsError,
  listenerTls,
  listenFailed,
  tlsFailed,
  type Admission,
  type Certificates,
} from '@understudy/sockets'
import { tooMany, upgradeTimedOut } from './errors.ts'
import type { Settings } from './options.ts'
import { HEADER_BYTES_MAX, remoteOf } from './protocol.ts'

export class OwnServer {
  readonly http: Server
  readonly #settings: Settings
  readonly #admission: Admission
  /** Connections that are no channel yet. */
  readonly #waiting: Pending<string>
  readonly #stopWatching: () => void

  constructor(settings: Settings, admission: Admission, certificates: Certificates | undefined) {
    this.#settings = settings
    this.#admission = admission
    const { clock, handshakeMs, refused } = settings
    this.#waiting = new Pending({
      clock,
      timeoutMs: handshakeMs,
      late: (remote) => refused(upgradeTimedOut(remote, handshakeMs)),
    })
    const options = {
      maxHeaderSize: HEADER_BYTES_MAX,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: settings.keepAliveMs,
      // The deadline below is the one that counts; these, which run on real time, are for what it could miss.
      headersTimeout: 2 * settings.handshakeMs,
      requestTimeout: 2 * settings.handshakeMs,
      connectionsCheckingInterval: 1000,
    }
    if (certificates === undefined) {
      this.http = createHttp(options)
      this.#stopWatching = () => {}
    } else {
      const https = createHttps({
        ...options,
        ...listenerTls(certificates),
        // Who shows no certificate, or a bad one, gets an answer: see upgrades.
        rejectUnauthorized: false,
        handshakeTimeout: 2 * settings.handshakeMs,
      })
      https.on('tlsClientError', (error: NodeJS.ErrnoException, socket: Socket) => {
        if (isTlsError(error)) settings.refused(tlsFailed(remoteOf(socket), error))
      })
      this.#stopWatching = certificates.onChange(() => https.setSecureContext(certificates.options))
      this.http = https
    }
    this.http.on('connection', (socket: Socket) => this.#connected(socket))
    this.http.on('request', (_request, response) => {
      response.writeHead(426, { Connection: 'close', Upgrade: 'websocket', 'Content-Length': 0 }).end()
    })
  }

  async listen(address: string, endpoint: { host: string; port: number }): Promise<AddressInfo> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const onError = (error: NodeJS.ErrnoException): void => reject(listenFailed(address, error))
    this.http.once('error', onError).listen(endpoint, resolve)
    try {
      await promise
    } catch (error) {
      this.#stopWatching()
      throw error
    }
    this.http.off('error', onError)
    // A connection that could not be accepted, for want of file descriptors say: the peer dials again.
    this.http.on('error', () => {})
    return this.http.address() as AddressInfo
  }

  /** From here on the connection has no deadline. Its place was taken when it was accepted. */
  upgraded(socket: Socket): void {
    this.#waiting.take(socket)
  }

  async close(): Promise<void> {
    this.#stopWatching()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.http.close(() => resolve())
    this.#waiting.close()
    await promise
  }

  #connected(socket: Socket): void {
    const release = this.#admission.admit(socket.remoteAddress)
    if (release === undefined) {
      this.#settings.refused(tooMany(remoteOf(socket), this.#admission.open))
      socket.destroy()
      return
    }
    socket.once('close', release)
    this.#waiting.add(socket, remoteOf(socket))
  }
}
