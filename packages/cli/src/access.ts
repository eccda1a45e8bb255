/**
 * As whom a command connects, and over what: the options that every command with an address shares.
 *
 * A secret is never an option: whoever lists processes sees those. It comes from a private file, or from the environment.
 */
import { Option, type Command } from 'commander'
import { UnderstudyError, type Transport } from '@understudy/contracts'
import { credentialFromEnvironment, readCredential } from '@understudy/credentials'
import type { NodeOptions } from '@understudy/node'
import type { Credential } from '@understudy/protocol'
import { combined, type TlsOptions } from '@understudy/sockets'
import { tcp } from '@understudy/transport-tcp'
import { webSocket } from '@understudy/transport-ws'

/** The shared options as the command line has them. */
export interface AccessOptions {
  readonly credential?: string
  readonly tlsCa?: string
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly tlsServerName?: string
  readonly compression?: boolean
  readonly channelBinding?: boolean
}

export interface Access {
  readonly transport: Transport
  readonly credential: Credential | undefined
  readonly compression: boolean
  readonly channelBinding: boolean
}

export const ADDRESSES = `
Addresses: tcp://host:port, tls://host:port, ws://host:port/path, wss://host:port/path, unix:///path/of/socket.
A secret comes from --credential, or from UNDERSTUDY_CREDENTIAL_FILE or UNDERSTUDY_CREDENTIAL (name:secret).`

/** Adds the options to a command. */
export function addAccessOptions(command: Command): Command {
  return command
    .option('--credential <file>', 'the credential to show (default: from the environment, or none)')
    .addOption(
      new Option('--tls-ca <file>', 'certificates of the authorities that are trusted, PEM').env(
        'UNDERSTUDY_TLS_CA',
      ),
    )
    .addOption(new Option('--tls-cert <file>', 'own certificate, PEM').env('UNDERSTUDY_TLS_CERT'))
    .addOption(new Option('--tls-key <file>', 'its private key, PEM, mode 600').env('UNDERSTUDY_TLS_KEY'))
    .option('--tls-server-name <name>', 'name that the certificate of the other side must have')
    .option('--compression', 'compress what travels when the other side does too; needs a credential')
    .option(
      '--no-channel-binding',
      'for a reverse proxy that ends TLS between the two, which then has to be trusted',
    )
}

/** Reads files and environment. Throws `CREDENTIALS_INVALID`, or `INVALID_ARGUMENT` for options that cannot take effect. */
export function accessOf(
  options: AccessOptions,
  more: {
    readonly insecure?: boolean
    readonly tls?: Partial<TlsOptions>
    readonly credentials?: boolean
  } = {},
): Access {
  const credential =
    options.credential === undefined
      ? credentialFromEnvironment(process.env)
      : readCredential(options.credential)
  const authenticates = credential !== undefined || more.credentials === true
  const compression = options.compression === true
  const channelBinding = options.channelBinding !== false
  if (!authenticates && (compression || !channelBinding))
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      '--compression and --no-channel-binding are parts of authentication and need a credential. Nothing was sent.',
    )
  const tls: TlsOptions = {
    ...(options.tlsCa !== undefined && { ca: { file: options.tlsCa } }),
    ...(options.tlsCert !== undefined && { cert: { file: options.tlsCert } }),
    ...(options.tlsKey !== undefined && { key: { file: options.tlsKey } }),
    ...(options.tlsServerName !== undefined && { serverName: options.tlsServerName }),
    ...more.tls,
  }
  const given = { ...(Object.keys(tls).length > 0 && { tls }), insecure: more.insecure === true }
  return { transport: combined(tcp(given), webSocket(given)), credential, compression, channelBinding }
}

export type AuthenticationOptions = Pick<NodeOptions, 'credential' | 'compression' | 'channelBinding'>

/** What of `Access` createNode and connect take: options that are parts of authentication only where there is one. */
export function authenticationOf(access: Access, credentials: boolean = false): AuthenticationOptions {
  const { credential, compression, channelBinding } = access
  if (credential === undefined && !credentials) return {}
  return { ...(credential && { credential }), compression, channelBinding }
}
