/**
 * Listens: on a server of its own, or on the paths of one that the user has.
 *
 * Decides: what a listen address means for each, and when it is too open. Leaves to others: limits of an own server
 * (own-server), which upgrades are granted (upgrades).
 */
import type { Server as HttpServer } from 'node:http'
import { Server as HttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import {
  UnderstudyError,
  type CertificateStatus,
  type Channel,
  type Listener,
  type ListenOptions,
} from '@understudy/contracts'
import {
  Admission,
  canonicalIp,
  formatAddress,
  insecureAddress,
  invalidAddress,
  isLoopback,
  parseAddress,
  type Certificates,
  type Endpoint,
  type Protection,
} from '@understudy/sockets'
import { tooMany } from './errors.ts'
import type { Settings } from './options.ts'
import { OwnServer } from './own-server.ts'
import { remoteOf, RULES } from './protocol.ts'
import { Upgrades } from './upgrades.ts'

const LISTEN_FRAME_BYTES_MAX = 4 * 1024

export async function listen(
  address: string,
  settings: Settings,
  certificates: () => Certificates,
  accept: (channel: Channel) => void,
  options: ListenOptions,
): Promise<Listener> {
  const endpoint = parseAddress(address, RULES)
  const admission = new Admission(options)
  const isEncrypted = endpoint.scheme === 'wss'
  const { insecure, server, tls } = settings
  const isVerified = isEncrypted && tls?.clientCertificates === 'require'
  const protection: Protection = {
    encrypted: isEncrypted,
    authenticated: options.authenticated === true || isVerified,
    insecure,
  }
  const { frameBytesMax = LISTEN_FRAME_BYTES_MAX } = options
  const common = { path: endpoint.path, settings, frameBytesMax, accept }
  if (server !== undefined) {
    const shared = sharedAddress(address, endpoint, server)
    refuseInsecure(shared.bound, protection)
    const upgrades = new Upgrades(server, {
      ...common,
      admit: (socket) => {
        const release = admission.admit(socket.remoteAddress)
        if (release === undefined) settings.refused(tooMany(remoteOf(socket), admission.open))
        else socket.once('close', release)
        return release !== undefined
      },
    })
    return new WebSocketListener(shared.address, undefined, () => upgrades.close())
  }
  refuseInsecure(address, protection)
  const shown = isEncrypted ? certificates() : undefined
  const own = new OwnServer(settings, admission, shown)
  const bound = await own.listen(address, { host: endpoint.host, port: endpoint.port })
  try {
    // A name may stand for more than this machine.
    refuseInsecure(formatAddress({ ...endpoint, host: bound.address }), protection)
  } catch (error) {
    await own.close()
    throw error
  }
  const upgrades = new Upgrades(own.http, {
    ...common,
    admit: (socket) => {
      own.upgraded(socket)
      return true
    },
  })
  return new WebSocketListener(formatAddress({ ...endpoint, port: bound.port }), shown, async () => {
    await Promise.all([own.close(), upgrades.close()])
  })
}

function refuseInsecure(address: string, protection: Protection): void {
  const error = insecureAddress(address, protection)
  if (error !== undefined) throw error
}

interface SharedAddress {
  /** To connect to, with the host that was asked for. */
  readonly address: string
  /** What the server is bound to. */
  readonly bound: string
}

/** What a listen address stands for on a server that listens already. Throws `LISTEN_FAILED` or `ADDRESS_INVALID`. */
function sharedAddress(address: string, endpoint: Endpoint, server: HttpServer | HttpsServer): SharedAddress {
  const fail = (reason: string): UnderstudyError => invalidAddress(address, reason, RULES.schemes)
  const bound = server.address()
  if (bound === null)
    throw new UnderstudyError(
      'LISTEN_FAILED',
      `Listening on ${address} failed: the given server does not listen. Nothing was opened; call its listen first and wait for it.`,
      { address },
    )
  const isTls = server instanceof HttpsServer
  if (isTls !== (endpoint.scheme === 'wss'))
    throw fail(isTls ? 'the given server speaks TLS (wss)' : 'the given server does not speak TLS (ws)')
  // A UNIX socket: the address is that of whoever passes connections on to it.
  if (typeof bound === 'string') return { address: formatAddress(endpoint), bound: 'ws://localhost:0' }
  if (endpoint.port !== 0 && endpoint.port !== bound.port)
    throw fail(`the given server listens on port ${bound.port}`)
  if (!isReached(endpoint.host, bound)) throw fail(`the given server listens on ${bound.address}`)
  const { scheme } = endpoint
  return {
    address: formatAddress({ ...endpoint, port: bound.port }),
    bound: formatAddress({ scheme, host: bound.address, port: bound.port }),
  }
}

/** Whether a server that is bound there may have this host. Of a name nobody knows for sure. */
function isReached(host: string, bound: AddressInfo): boolean {
  const asked = canonicalIp(host)
  const has = canonicalIp(bound.address)
  if (has === '0.0.0.0' || has === '::') return true
  if (asked === undefined) return host.toLowerCase() !== 'localhost' || isLoopback(bound.address)
  return asked === has
}

class WebSocketListener implements Listener {
  readonly address: string
  readonly #certificates: Certificates | undefined
  readonly #end: () => Promise<void>
  #closed: Promise<void> | undefined

  constructor(address: string, certificates: Certificates | undefined, end: () => Promise<void>) {
    this.address = address
    this.#certificates = certificates
    this.#end = end
  }

  get certificate(): CertificateStatus | undefined {
    return this.#certificates?.status()
  }

  close(): Promise<void> {
    this.#closed ??= this.#end()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
