/**
 * The rule for listening: an address that other machines can reach needs encryption and authentication, or somebody who
 * says in so many words that it does not.
 */
import { UnderstudyError } from '@understudy/contracts'
import { isLoopback } from './ip.ts'

export interface Protection {
  /** Nobody between the ends reads or changes frames. */
  readonly encrypted: boolean
  /** Peers prove who they are: by client certificates that TLS requires, or to the caller (`ListenOptions.authenticated`). */
  readonly authenticated: boolean
  /** The user's decision that the network is to be trusted. */
  readonly insecure: boolean
}

/** The error of listening on `address` with this protection; undefined when it may be listened on. */
export function insecureAddress(address: string, protection: Protection): UnderstudyError | undefined {
  const { encrypted, authenticated, insecure } = protection
  if (insecure || (encrypted && authenticated)) return undefined
  const url = new URL(address)
  if (url.protocol === 'unix:' || isLoopback(url.hostname.replace(/^\[(.*)\]$/, '$1'))) return undefined
  const missing = [
    ...(encrypted ? [] : ['nothing is encrypted (use TLS)']),
    ...(authenticated
      ? []
      : ['no peer is authenticated (require client certificates, or credentials of the node)']),
  ]
  return new UnderstudyError(
    'INSECURE_ADDRESS',
    `${address} can be reached from other machines, and ${missing.join(' and ')}. Nothing was opened; mend that, ` +
      'listen on 127.0.0.1 or [::1], or set insecure: true on a network where every machine is trusted.',
    { address, encrypted, authenticated },
  )
}

/** The error of a plain address, of a transport that was given certificates. `scheme`: the one that is encrypted. */
export function plainAddress(address: string, scheme: string): UnderstudyError {
  return new UnderstudyError(
    'INSECURE_ADDRESS',
    `${address} is not encrypted, reaches other machines, and this transport has the option tls. Nothing was opened; ` +
      `write it with ${scheme}://, or set insecure: true on a network where every machine is trusted.`,
    { address },
  )
}
