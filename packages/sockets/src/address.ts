/**
 * Addresses of transports over sockets: `scheme://host:port`, with a path where the scheme has paths, and
 * `unix:///path/of.sock`.
 *
 * 1. Nothing in an address is ignored: what has no meaning for its scheme makes it invalid.
 */
import { isIP, type Socket } from 'node:net'
import { UnderstudyError } from '@understudy/contracts'

export interface Endpoint {
  /** Without the colon. */
  readonly scheme: string
  /** An IPv6 address without brackets. */
  readonly host: string
  readonly port: number
  /** `/` where there is none. */
  readonly path: string
}

export interface AddressRules {
  /** The schemes that the transport serves, without the colon. */
  readonly schemes: readonly string[]
  /** Whether a path may follow. Default false. */
  readonly paths?: boolean
  /** The port of an address without one, by scheme. A scheme that is not listed needs a port. */
  readonly ports?: Readonly<Record<string, number>>
}

/** Reads an address. Throws `ADDRESS_INVALID`. */
export function parseAddress(address: string, rules: AddressRules): Endpoint {
  const { schemes, paths = false, ports = {} } = rules
  const fail = (reason: string): UnderstudyError => invalidAddress(address, reason, schemes)
  const url = URL.canParse(address) ? new URL(address) : undefined
  if (url === undefined) throw fail('it is no URL')
  const scheme = url.protocol.slice(0, -1)
  if (!schemes.includes(scheme))
    throw fail(`this transport serves ${schemes.map((name) => `${name}://`).join(' and ')} only`)
  if (url.hostname === '') throw fail('it names no host')
  const port = url.port === '' ? ports[scheme] : Number(url.port)
  if (port === undefined) throw fail('it names no port')
  const hasPath = url.pathname !== '' && url.pathname !== '/'
  if (url.username + url.password + url.search + url.hash !== '' || (hasPath && !paths))
    throw fail(`it has more than a host${paths ? ', a port and a path' : ' and a port'}`)
  return { scheme, host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port, path: url.pathname || '/' }
}

/** The address of an endpoint. */
export function formatAddress(endpoint: {
  scheme: string
  host: string
  port: number
  path?: string
}): string {
  const { scheme, host, port, path = '/' } = endpoint
  return `${scheme}://${isIP(host) === 6 ? `[${host}]` : host}:${port}${path === '/' ? '' : path}`
}

/** Bytes that the operating system has for the path of a socket, without the zero at its end. */
export function socketPathBytesMax(): number {
  return process.platform === 'linux' ? 107 : 103
}

/** The path of a `unix:///…` address. Throws `ADDRESS_INVALID`. */
export function parseUnixAddress(address: string): string {
  const fail = (reason: string): UnderstudyError => invalidAddress(address, reason, ['unix'])
  const url = URL.canParse(address) ? new URL(address) : undefined
  if (url?.protocol !== 'unix:') throw fail('it is no unix:// URL')
  if (url.host + url.username + url.search + url.hash !== '')
    throw fail('it has more than a path, which begins at the root')
  const path = decodedPath(url.pathname)
  if (path === undefined || path.includes('\0') || path.length < 2 || path.endsWith('/'))
    throw fail('its path is not one of a file')
  const bytes = Buffer.byteLength(path)
  if (bytes > socketPathBytesMax())
    throw fail(
      `its path has ${bytes} bytes, and the operating system takes ${socketPathBytesMax()} for a socket`,
    )
  return path
}

/** The address of a socket file. */
export function formatUnixAddress(path: string): string {
  return `unix://${path.split('/').map(encodeURIComponent).join('/')}`
}

function decodedPath(path: string): string | undefined {
  try {
    return decodeURIComponent(path)
  } catch {
    return undefined
  }
}

/** Both ends of a connection, which no other one has at the same time: its name. */
export function connectionName(
  socket: Pick<Socket, 'localAddress' | 'localPort' | 'remoteAddress' | 'remotePort'>,
): string {
  const { localAddress, localPort, remoteAddress, remotePort } = socket
  return `${localAddress} ${localPort} ${remoteAddress} ${remotePort}`
}

/** The error of an address that cannot be used. */
export function invalidAddress(
  address: string,
  reason: string,
  schemes: readonly string[] = [],
): UnderstudyError {
  const examples = schemes.map((name) =>
    name === 'unix' ? 'unix:///run/understudy.sock' : `${name}://127.0.0.1:7401`,
  )
  const advice = examples.length === 0 ? 'correct it' : `write it as ${examples.join(' or ')}`
  return new UnderstudyError(
    'ADDRESS_INVALID',
    `The address "${address}" cannot be used: ${reason}. Nothing was opened; ${advice}.`,
    { address },
  )
}
