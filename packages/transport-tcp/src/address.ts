/** Addresses of the form `tcp://host:port`: IPv4, IPv6 in brackets, or a name. */
import { BlockList, isIP } from 'node:net'
import { UnderstudyError } from '@understudy/contracts'

export const SCHEME = 'tcp'

export interface Endpoint {
  /** Without brackets. */
  readonly host: string
  readonly port: number
}

/** Reads an address. Throws `ADDRESS_INVALID` for anything but a scheme, a host and a port. */
export function parseAddress(address: string): Endpoint {
  const url = URL.canParse(address) ? new URL(address) : undefined
  if (url === undefined) throw invalid(address, 'it is no URL')
  if (url.protocol !== `${SCHEME}:`) throw invalid(address, `this transport serves ${SCHEME}:// only`)
  if (url.hostname === '') throw invalid(address, 'it names no host')
  if (url.port === '') throw invalid(address, 'it names no port')
  if (url.username + url.password + url.search + url.hash !== '' || !['', '/'].includes(url.pathname))
    throw invalid(address, 'it has more than a host and a port')
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(url.port) }
}

export function formatAddress(endpoint: Endpoint): string {
  const host = isIP(endpoint.host) === 6 ? `[${endpoint.host}]` : endpoint.host
  return `${SCHEME}://${host}:${endpoint.port}`
}

/** Whether only this machine can reach `host`. Of names only `localhost` counts: any other may change its meaning. */
export function isLoopback(host: string): boolean {
  const family = isIP(host)
  if (family === 0) return host.toLowerCase() === 'localhost'
  const loopback = new BlockList()
  loopback.addSubnet('127.0.0.0', 8, 'ipv4')
  loopback.addAddress('::1', 'ipv6')
  return loopback.check(host, family === 4 ? 'ipv4' : 'ipv6')
}

export function invalid(address: string, reason: string): UnderstudyError {
  return new UnderstudyError(
    'ADDRESS_INVALID',
    `The address "${address}" cannot be used: ${reason}. Nothing was opened; write it as tcp://127.0.0.1:7401 or tcp://[::1]:7401.`,
    { address },
  )
}
