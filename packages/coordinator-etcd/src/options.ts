/** Options of `etcdCoordinator` with every default, and what of them cannot be. */
import { UnderstudyError, type Clock } from '@understudy/contracts'
import { processClock } from '@understudy/coordination'
import { isLoopback, type TlsOptions } from '@understudy/sockets'

/** A file that only its owner may open, read again at each login; or the password itself. */
export type PasswordSource = { readonly file: string } | string

/** Options of `etcdCoordinator`, with their defaults. */
export interface EtcdCoordinatorOptions {
  /** Client addresses of the members: `https://etcd-1.example:2379`. The others are tried when one does not answer. */
  readonly endpoints: readonly string[]
  /** Name of the cluster in etcd: its keys begin with `/understudy/<cluster>/`. One for each cluster of nodes. */
  readonly cluster: string
  /** User of etcd, where authentication is on. */
  readonly user?: { readonly name: string; readonly password: PasswordSource }
  /** Certificates for `https://`: `ca` of the members, `cert` and `key` of this side where etcd asks for them. */
  readonly tls?: TlsOptions
  /** Use `http://` to other machines too: whoever is on the way reads the password and may take the lease. Default false. */
  readonly insecure?: boolean
  /** With several endpoints: milliseconds for one before the next is tried. Default 500. */
  readonly attemptMs?: number
  /** A watch reads by itself when nothing was told for so long, in milliseconds. Default 1,000. */
  readonly refreshMs?: number
  /** Default: `processClock`. */
  readonly clock?: Clock
}

export interface Settings {
  readonly endpoints: readonly URL[]
  readonly prefix: string
  readonly user: EtcdCoordinatorOptions['user']
  readonly tls: TlsOptions | undefined
  readonly attemptMs: number
  readonly refreshMs: number
  readonly clock: Clock
}

/** What a part of a key may be. */
const CLUSTER = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/

/** Throws `INVALID_ARGUMENT`, `ADDRESS_INVALID` or `INSECURE_ADDRESS`. */
export function settingsOf(options: EtcdCoordinatorOptions): Settings {
  const { endpoints, cluster, user, tls, insecure = false, attemptMs = 500, refreshMs = 1000 } = options
  if (!Array.isArray(endpoints) || endpoints.length === 0)
    throw invalid('endpoints must name at least one member')
  if (typeof cluster !== 'string' || !CLUSTER.test(cluster))
    throw invalid(`cluster ('${cluster}') must be letters, digits, dots, dashes and underscores`)
  if (user !== undefined && (user.name === '' || user.password === ''))
    throw invalid('user.name and user.password must not be empty')
  if (!(attemptMs >= 10) || !(refreshMs >= 10))
    throw invalid(`attemptMs (${attemptMs}) and refreshMs (${refreshMs}) must be at least 10`)
  return {
    endpoints: endpoints.map((text) => endpointOf(text, { insecure, hasTls: tls !== undefined })),
    prefix: `/understudy/${cluster}/`,
    user,
    tls,
    attemptMs,
    refreshMs,
    clock: options.clock ?? processClock(),
  }
}

function endpointOf(text: string, rules: { readonly insecure: boolean; readonly hasTls: boolean }): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isOnlyOrigin =
    url !== undefined && url.pathname === '/' && url.username + url.search + url.hash === ''
  if (url === undefined || !/^https?:$/.test(url.protocol) || !isOnlyOrigin)
    throw new UnderstudyError(
      'ADDRESS_INVALID',
      `The endpoint "${text}" cannot be used. Nothing was opened; write it as https://etcd-1.example:2379.`,
      { address: text },
    )
  if (url.protocol === 'https:' && !rules.hasTls)
    throw invalid(
      `${text} needs the option tls, with the authority (ca) that issued the certificates of etcd`,
    )
  const isOpen = url.protocol === 'http:' && !isLoopback(url.hostname.replace(/^\[(.*)\]$/, '$1'))
  if (isOpen && !rules.insecure)
    throw new UnderstudyError(
      'INSECURE_ADDRESS',
      `${text} is not encrypted and reaches another machine. Nothing was opened; use https://, or set insecure: true on a network where every machine is trusted.`,
      { address: text },
    )
  return url
}

function invalid(what: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `${what}. Nothing was opened.`)
}
