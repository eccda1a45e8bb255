/**
 * IP addresses as one text each, so that they can be compared.
 *
 * 1. `::ffff:127.0.0.1` and `127.0.0.1` are the same machine, and are written the same way: as IPv4.
 * 2. Only addresses written in full count: `127.1` or `0x7f000001` is a name here, whatever a resolver makes of it.
 */
import { isIP, SocketAddress } from 'node:net'

const MAPPED = '::ffff:'

/** The usual form of an address: IPv4 where it is one in disguise, IPv6 shortened, without a zone. Of a name: undefined. */
export function canonicalIp(host: string): string | undefined {
  const bare = host.replace(/%.*$/, '')
  const family = isIP(bare)
  if (family === 0) return undefined
  if (family === 4) return bare
  const { address } = new SocketAddress({ address: bare, family: 'ipv6' })
  const mapped = address.startsWith(MAPPED) ? address.slice(MAPPED.length) : ''
  return isIP(mapped) === 4 ? mapped : address
}

/**
 * Whether only this machine can reach `host`. Of names only `localhost` counts, because any other may change its
 * meaning; whoever listens on it checks afterwards what it was bound to.
 */
export function isLoopback(host: string): boolean {
  const ip = canonicalIp(host)
  if (ip === undefined) return host.toLowerCase() === 'localhost'
  return ip === '::1' || (isIP(ip) === 4 && ip.startsWith('127.'))
}

/** What counts as one address for limits: an IPv4 address, or the first 64 bits of an IPv6 one, which one host can have all of. */
export function networkOf(host: string): string {
  const ip = canonicalIp(host)
  if (ip === undefined || isIP(ip) === 4) return ip ?? host
  const [head = '', tail] = ip.split('::')
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    // The last 32 bits may be written as IPv4, which are two groups.
    const after = tail === '' ? 0 : tail.split(':').length + (tail.includes('.') ? 1 : 0)
    while (groups.length < 8 - after) groups.push('0')
  }
  return `${groups.slice(0, 4).join(':')}::/64`
}
