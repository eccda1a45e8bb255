/**
 * What an address of this transport means: where to connect to or listen, and whether it is encrypted.
 *
 * 1. `tls://` is encrypted or an error; nothing else is encrypted.
 * 2. Whoever gave certificates has no plain `tcp://` with other machines, unless he says that the network is to be trusted.
 */
import { UnderstudyError } from '@understudy/contracts'
import {
  formatAddress,
  isLoopback,
  parseAddress,
  parseUnixAddress,
  plainAddress,
  type Certificates,
} from '@understudy/sockets'

export const SCHEMES: readonly string[] = ['tcp', 'tls', 'unix']

export type Target =
  | { readonly scheme: 'tcp'; readonly host: string; readonly port: number }
  | {
      readonly scheme: 'tls'
      readonly host: string
      readonly port: number
      readonly certificates: Certificates
    }
  | { readonly scheme: 'unix'; readonly path: string }

/** Throws `ADDRESS_INVALID`, `INVALID_ARGUMENT` or `INSECURE_ADDRESS`. */
export function targetOf(address: string, certificates: Certificates | undefined, insecure: boolean): Target {
  if (/^unix:/i.test(address)) return { scheme: 'unix', path: parseUnixAddress(address) }
  const { scheme, host, port } = parseAddress(address, { schemes: SCHEMES })
  if (scheme === 'tls') {
    if (certificates === undefined) throw withoutTls(address)
    return { scheme, host, port, certificates }
  }
  if (certificates !== undefined && !insecure && !isLoopback(host)) throw plainAddress(address, 'tls')
  return { scheme: 'tcp', host, port }
}

/** The address of a peer, for people. */
export function remoteOf(
  scheme: string,
  peer: { readonly remoteAddress?: string | undefined; readonly remotePort?: number | undefined },
): string {
  return formatAddress({ scheme, host: peer.remoteAddress ?? 'unknown', port: peer.remotePort ?? 0 })
}

function withoutTls(address: string): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `${address} needs TLS, and this transport was made without the option tls. Nothing was opened; pass tcp({ tls: { … } }).`,
    { address },
  )
}
