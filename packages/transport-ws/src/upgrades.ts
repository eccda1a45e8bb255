/**
 * Decides which upgrade requests of an HTTP server become channels.
 *
 * 1. Everything is checked before the upgrade, the cheap things first, and a refusal is an HTTP answer: 404 for another
 *    path, 403 for an origin or what `allow` says, 401 for a certificate, 503 when there are too many.
 * 2. A request for another path is left to whoever else listens to upgrades of the server; only when nobody does is it
 *    answered here, by the first of several listeners of this package.
 */
import { STATUS_CODES, type IncomingMessage, type Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { WebSocketServer } from 'ws'
import type { Channel, UnderstudyError } from '@understudy/contracts'
import { clientProblem } from '@understudy/sockets'
import { WebSocketChannel } from './channel.ts'
import { forbidden } from './errors.ts'
import type { Settings } from './options.ts'
import { channelOptions, remoteOf, SUBPROTOCOL, WS_OPTIONS } from './protocol.ts'

/** Marks the listeners of this package; of the global registry, as two copies of the package may be loaded. */
const OURS = Symbol.for('@understudy/transport-ws.upgrades')

export interface UpgradesOptions {
  /** Of the listen address. */
  readonly path: string
  readonly settings: Settings
  readonly frameBytesMax: number
  /** Whether the connection has a place. */
  readonly admit: (socket: Socket) => boolean
  readonly accept: (channel: Channel) => void
}

interface Refusal {
  readonly status: number
  readonly error: UnderstudyError
}

type UpgradeListener = ((request: IncomingMessage, socket: Duplex, head: Buffer) => void) & {
  [OURS]?: string
}

export class Upgrades {
  readonly #options: UpgradesOptions
  readonly #server: Server
  readonly #listener: UpgradeListener
  readonly #channels = new Set<WebSocketChannel>()
  readonly #handshakes = new WebSocketServer({
    ...WS_OPTIONS,
    noServer: true,
    clientTracking: false,
    handleProtocols: () => SUBPROTOCOL,
  })

  constructor(server: Server, options: UpgradesOptions) {
    this.#server = server
    this.#options = options
    this.#listener = (request, socket, head) => this.#asked(request, socket as Socket, head)
    this.#listener[OURS] = options.path
    server.on('upgrade', this.#listener)
  }

  /** Takes no more upgrades, and closes every channel. */
  async close(): Promise<void> {
    this.#server.off('upgrade', this.#listener)
    const channels = [...this.#channels]
    for (const channel of channels) channel.close()
    await Promise.all(channels.map((channel) => channel.gone))
  }

  #asked(request: IncomingMessage, socket: Socket, head: Buffer): void {
    if (pathOf(request) !== this.#options.path) {
      if (this.#answersForAll(request)) answer(socket, 404)
      return
    }
    const refusal = this.#refusal(request, socket)
    if (refusal !== undefined) {
      answer(socket, refusal.status)
      this.#options.settings.refused(refusal.error)
      return
    }
    if (!this.#options.admit(socket)) {
      answer(socket, 503)
      return
    }
    this.#handshakes.handleUpgrade(request, socket, head, (ws) => {
      const { settings, frameBytesMax } = this.#options
      const channel = new WebSocketChannel(
        ws,
        socket,
        channelOptions(socket, settings, { accepted: true, frameBytesMax }),
      )
      this.#channels.add(channel)
      socket.once('close', () => this.#channels.delete(channel))
      try {
        this.#options.accept(channel)
      } catch (error) {
        ws.terminate()
        throw error
      }
    })
  }

  #refusal(request: IncomingMessage, socket: Socket): Refusal | undefined {
    const { allow, origins, tls } = this.#options.settings
    const remote = remoteOf(socket)
    const { origin } = request.headers
    if (origin !== undefined && !origins.includes(origin))
      return { status: 403, error: forbidden(remote, 'it comes from a web page whose origin is not allowed') }
    if (socket instanceof TLSSocket) {
      const error = clientProblem(socket, remote, tls?.clientCertificates)
      if (error !== undefined) return { status: 401, error }
    }
    const offered = request.headers['sec-websocket-protocol'] ?? ''
    if (!offered.split(',').some((name) => name.trim() === SUBPROTOCOL))
      return { status: 400, error: forbidden(remote, `it does not offer the subprotocol ${SUBPROTOCOL}`) }
    try {
      // Nothing else counts: a promise, of somebody who forgot that none is waited for, is true as well.
      const allowed: unknown = allow(request)
      if (allowed === true) return undefined
    } catch (cause) {
      return { status: 500, error: forbidden(remote, 'the option allow failed', cause) }
    }
    return { status: 403, error: forbidden(remote, 'the option allow does not let it in') }
  }

  /** Nobody else would answer: all who listen are of this package, none of them for this path, and this is the first. */
  #answersForAll(request: IncomingMessage): boolean {
    const listeners = this.#server.listeners('upgrade') as UpgradeListener[]
    const path = pathOf(request)
    return (
      listeners[0] === this.#listener &&
      listeners.every((listener) => listener[OURS] !== undefined && listener[OURS] !== path)
    )
  }
}

function pathOf(request: IncomingMessage): string {
  const url = request.url ?? '/'
  const end = url.indexOf('?')
  return end === -1 ? url : url.slice(0, end)
}

/** Refuses an upgrade in HTTP, then closes. */
function answer(socket: Socket, status: number): void {
  socket.on('error', () => {})
  socket.once('finish', () => socket.destroy())
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
  )
}
