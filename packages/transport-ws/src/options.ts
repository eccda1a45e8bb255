/**
 * Options of `webSocket`, with every default.
 */
import {
  validateHeaderName,
  validateHeaderValue,
  type IncomingMessage,
  type Server as HttpServer,
} from 'node:http'
import type { Server as HttpsServer } from 'node:https'
import { UnderstudyError, systemClock, type Clock } from '@understudy/contracts'
import type { TlsOptions } from '@understudy/sockets'

export interface WebSocketOptions {
  /** For `wss://`: certificates, trusted authorities, whether clients need a certificate. A listener needs it, a dialler only for more than Node's own authorities. */
  readonly tls?: TlsOptions
  /**
   * Listen also on addresses that other machines can reach without both encryption and authentication: whoever reaches
   * the port reads and writes the data. Default false.
   */
  readonly insecure?: boolean
  /**
   * An HTTP or HTTPS server of the user's, which listens already. Only upgrades of the path of the listen address are
   * taken from it; it stays open when the listener closes. Default: a server of its own for each listener.
   */
  readonly server?: HttpServer | HttpsServer
  /**
   * The values of the `Origin` header that may connect, such as `https://app.example`. Browsers send one for every page
   * that dials, other clients need none and are not held to this. Default: none.
   */
  readonly origins?: readonly string[]
  /** Asked about each upgrade request before it is granted, addresses and headers included. False is answered 403. */
  readonly allow?: (request: IncomingMessage) => boolean
  /** Told of each peer that was refused before it became a channel: one too many, too slow, without a right. For logs. */
  readonly refused?: (error: UnderstudyError) => void
  /** Headers of the requests of `connect`, for proxies on the way. */
  readonly headers?: Readonly<Record<string, string>>
  /** Milliseconds in which a peer that connected to a server of the transport's own must have asked for the upgrade, TLS included. Default 5,000. */
  readonly handshakeMs?: number
  /** Milliseconds for a message that was begun, and a second more for each 64 KiB that it announced. Default 30,000. */
  readonly frameMs?: number
  /** `send` returns false above so many bytes that the operating system has not taken. Default 1 MiB. */
  readonly highBytes?: number
  /** `drained` is called below so many. Default 256 KiB. */
  readonly lowBytes?: number
  /** Milliseconds of silence after which the operating system asks whether the peer is still there. Default 10,000. */
  readonly keepAliveMs?: number
  /** For every time limit, and for looking at files of certificates. Default: real time. */
  readonly clock?: Clock
}

export interface Settings {
  readonly tls: TlsOptions | undefined
  readonly insecure: boolean
  readonly server: HttpServer | HttpsServer | undefined
  readonly origins: readonly string[]
  readonly allow: (request: IncomingMessage) => boolean
  readonly refused: (error: UnderstudyError) => void
  readonly headers: Readonly<Record<string, string>>
  readonly handshakeMs: number
  readonly frameMs: number
  readonly highBytes: number
  readonly lowBytes: number
  readonly keepAliveMs: number
  readonly clock: Clock
}

/** The options with their defaults. Throws `INVALID_ARGUMENT`. */
export function settingsOf(options: WebSocketOptions): Settings {
  const settings: Settings = {
    tls: undefined,
    insecure: false,
    server: undefined,
    origins: [],
    allow: () => true,
    refused: () => {},
    headers: {},
    handshakeMs: 5000,
    frameMs: 30_000,
    highBytes: 1024 * 1024,
    lowBytes: 256 * 1024,
    keepAliveMs: 10_000,
    clock: systemClock(),
    ...options,
  }
  const { lowBytes, highBytes } = settings
  if (!(lowBytes >= 1 && lowBytes <= highBytes))
    throw invalid(`lowBytes (${lowBytes}) must be at least 1 and at most highBytes (${highBytes})`)
  for (const name of ['keepAliveMs', 'handshakeMs', 'frameMs'] as const)
    if (!(settings[name] >= 1)) throw invalid(`${name} (${settings[name]}) must be at least 1`)
  for (const [name, value] of Object.entries(settings.headers)) checkHeader(name, value)
  return settings
}

/** The error names the header and not its value, which may be a secret. */
function checkHeader(name: string, value: string): void {
  try {
    validateHeaderName(name)
    validateHeaderValue(name, value)
  } catch {
    throw invalid(`the header "${name}" has a name or a value that HTTP does not allow`)
  }
}

function invalid(what: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `${what}. Nothing was opened.`)
}
