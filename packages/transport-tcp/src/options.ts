/** Options of `tcp` with every default, and what of them cannot be. */
import type { LookupFunction } from 'node:net'
import { systemClock, UnderstudyError, type Clock } from '@understudy/contracts'
import type { TlsOptions } from '@understudy/sockets'

/** Options of `tcp`, with their defaults. */
export interface TcpOptions {
  /** Certificates, for `tls://` addresses. With it, `tcp://` addresses are for this machine alone. Default: no TLS. */
  readonly tls?: TlsOptions
  /**
   * Listen also where other machines connect without encryption or authentication: whoever reaches the port reads and
   * writes the data. Default false.
   */
  readonly insecure?: boolean
  /** `send` returns false above so many bytes that the operating system has not taken. Default 1 MiB. */
  readonly highBytes?: number
  /** `drained` is called below so many. Default 256 KiB. */
  readonly lowBytes?: number
  /** Milliseconds of silence after which the operating system asks whether the peer is still there. Default 10,000. */
  readonly keepAliveMs?: number
  /** Milliseconds that a peer who was accepted has for the TLS handshake. Default 5,000. */
  readonly handshakeMs?: number
  /** Milliseconds for a frame that was begun, and a second more for each 64 KiB of it. Default 30,000. */
  readonly frameMs?: number
  /** Of a name with several addresses: milliseconds for each before the next is tried. Default 500. */
  readonly attemptMs?: number
  /** Resolves names. Default: that of the operating system. */
  readonly lookup?: LookupFunction
  /** Told of each connection that ended before it became a channel: one too many, or a failed handshake. For logs. */
  readonly refused?: (error: UnderstudyError) => void
  /** For time limits, and the time that certificates are compared with. Default: real time. */
  readonly clock?: Clock
}

type Undefaulted = 'tls' | 'lookup'

/** The options with their defaults. */
export type Settings = Required<Omit<TcpOptions, Undefaulted>> & Pick<TcpOptions, Undefaulted>

const DEFAULTS: Settings = {
  insecure: false,
  highBytes: 1024 * 1024,
  lowBytes: 256 * 1024,
  keepAliveMs: 10_000,
  handshakeMs: 5000,
  frameMs: 30_000,
  attemptMs: 500,
  refused: () => {},
  clock: systemClock(),
}

/** Throws `INVALID_ARGUMENT`. */
export function settingsOf(options: TcpOptions): Settings {
  const settings: Settings = { ...DEFAULTS, ...options }
  const { highBytes, lowBytes } = settings
  if (!(lowBytes >= 1 && lowBytes <= highBytes))
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `lowBytes (${lowBytes}) must be at least 1 and at most highBytes (${highBytes}). Nothing was opened.`,
    )
  for (const name of ['keepAliveMs', 'handshakeMs', 'frameMs', 'attemptMs'] as const)
    if (!(settings[name] >= 1))
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `${name} (${settings[name]}) must be at least 1. Nothing was opened.`,
      )
  return settings
}
