/**
 * What the TLS session of a socket proves, and the options of both ends that make it prove something.
 *
 * 1. Identities come only from a certificate that was verified against the trusted authorities of this side.
 * 2. The binding is offered for TLS 1.3 alone. With TLS 1.2 it is unique only with the extended master secret (RFC 9266,
 *    section 4.2), and Node does not tell whether a session has that.
 * 3. A dialler always verifies the listener: its authority and its name.
 */
import { isIP } from 'node:net'
import { X509Certificate } from 'node:crypto'
import {
  checkServerIdentity,
  type ConnectionOptions,
  type PeerCertificate,
  type TLSSocket,
  type TlsOptions as ServerTlsOptions,
} from 'node:tls'
import { UnderstudyError, type ChannelSecurity } from '@understudy/contracts'
import type { Certificates } from './certificates.ts'
import type { ClientCertificates } from './options.ts'
import { identitiesOf } from './identities.ts'
import { tlsFailed } from './tls-errors.ts'

const BINDING_LABEL = 'EXPORTER-Channel-Binding'
const BINDING_BYTES = 32
/** How `serverName` begins when it is compared with URIs. */
const URI = 'URI:'

/** What a session proves; its handshake must be done. */
export function securityOf(socket: TLSSocket): ChannelSecurity {
  const certificate = socket.authorized ? socket.getPeerX509Certificate() : undefined
  const identities = certificate === undefined ? [] : identitiesOf(certificate)
  if (socket.getProtocol() !== 'TLSv1.3') return { encrypted: true, identities }
  const binding = socket.exportKeyingMaterial(BINDING_BYTES, BINDING_LABEL, Buffer.alloc(0))
  return { encrypted: true, identities, binding: new Uint8Array(binding) }
}

/**
 * Why a listener must not serve a session whose handshake is done: the client showed a certificate that cannot be
 * verified, or none where one is required.
 *
 * Node itself ends such sessions, when `rejectUnauthorized` says so, without a word to either side. A listener that
 * wants to say why sets it to false and calls this for every session.
 */
export function clientProblem(
  socket: TLSSocket,
  remote: string,
  clientCertificates: ClientCertificates = 'none',
): UnderstudyError | undefined {
  if (socket.authorized) return undefined
  if (socket.getPeerX509Certificate() === undefined)
    return clientCertificates === 'require'
      ? tlsFailed(remote, {
          message: 'no client certificate',
          code: 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE',
        })
      : undefined
  const reason = socket.authorizationError as NodeJS.ErrnoException | string | undefined
  const code = typeof reason === 'string' ? reason : reason?.code
  return tlsFailed(remote, { message: 'the client certificate cannot be verified', code })
}

/** Options for `tls.createServer` and `https.createServer`. Throws `TLS_FAILED` without a certificate. */
export function listenerTls(certificates: Certificates): ServerTlsOptions {
  if (certificates.status() === undefined) throw noCertificate()
  const { clientCertificates = 'none' } = certificates.tls
  return {
    ...certificates.options,
    requestCert: clientCertificates !== 'none',
    // With `request` it is `clientProblem` that refuses who shows a bad one.
    rejectUnauthorized: clientCertificates === 'require',
  }
}

/** Options for `tls.connect`, for a listener at `host`. */
export function diallerTls(certificates: Certificates, host: string): ConnectionOptions {
  const expected = certificates.tls.serverName ?? host
  const isName = isIP(expected) === 0 && !expected.startsWith(URI)
  return {
    secureContext: certificates.context,
    rejectUnauthorized: true,
    // An empty name tells nothing: SNI has neither IP addresses nor URIs.
    servername: isName ? expected : '',
    checkServerIdentity: (_, certificate) => checkIdentity(expected, certificate),
  }
}

function checkIdentity(expected: string, certificate: PeerCertificate): Error | undefined {
  try {
    if (!expected.startsWith(URI)) return checkServerIdentity(expected, certificate)
    const identities = identitiesOf(new X509Certificate(certificate.raw))
    if (identities.includes(expected)) return undefined
  } catch {
    // Names that cannot be read: Node throws, which nobody could catch where it calls this.
  }
  return Object.assign(new Error(`the certificate is not for ${expected}`), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  })
}

function noCertificate(): UnderstudyError {
  return new UnderstudyError(
    'TLS_FAILED',
    'A listener with TLS needs a certificate, and there is none. Nothing was opened; set tls.cert and tls.key.',
  )
}
