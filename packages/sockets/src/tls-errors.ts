/**
 * What the errors of TLS mean, and what to do about each. Sources: the X.509 codes in Node's documentation of `tls`, and
 * the alerts of RFC 8446, section 6, under the names that OpenSSL gives them.
 */
import { UnderstudyError } from '@understudy/contracts'
import type { SystemError } from './errors.ts'

/** Codes of verification begin like one of these, or stand in `VERIFICATION`. */
const PREFIXES = /^(?:ERR_SSL_|ERR_TLS_|ERR_OSSL_|CERT_|UNABLE_TO_|CRL_)/
const VERIFICATION: readonly string[] = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'ERROR_IN_CERT_NOT_BEFORE_FIELD',
  'ERROR_IN_CERT_NOT_AFTER_FIELD',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
  'HOSTNAME_MISMATCH',
  'EPROTO',
]

/** The first that fits a code counts. */
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [
    /ALTNAME_INVALID|HOSTNAME_MISMATCH/,
    'the certificate of the peer is for another name: dial a name that stands in it, or set tls.serverName',
  ],
  [
    /ALERT_CERTIFICATE_REQUIRED|DID_NOT_RETURN_A_CERTIFICATE|ALERT_HANDSHAKE_FAILURE/,
    'the listener wants a client certificate, or no cipher of both: set tls.cert and tls.key of the dialler',
  ],
  [
    /ALERT_UNKNOWN_CA|ALERT_BAD_CERTIFICATE|ALERT_CERTIFICATE_UNKNOWN|ALERT_UNSUPPORTED_CERTIFICATE|ALERT_DECRYPT_ERROR/,
    "the peer does not trust this side's certificate: give the peer, as tls.ca, the authority that issued it",
  ],
  [
    /CERTIFICATE_REFUSED/,
    "the listener does not take this side's certificate, or wants one: it must be valid, and of an authority in the listener's tls.ca",
  ],
  [/ALERT_CERTIFICATE_EXPIRED/, "the peer says that this side's certificate has expired: renew it"],
  [/ALERT_CERTIFICATE_REVOKED|CERT_REVOKED/, 'the certificate was revoked: use another one'],
  [/CERT_HAS_EXPIRED/, 'the certificate of the peer has expired: renew it, and check the clocks'],
  [/CERT_NOT_YET_VALID/, 'the certificate of the peer is not valid yet: check the clocks of both machines'],
  [
    /UNABLE_TO_|SELF_SIGNED|INVALID_CA|CERT_UNTRUSTED|CERT_REJECTED|SIGNATURE_FAILURE/,
    'the certificate of the peer comes from an authority that this side does not trust: set tls.ca to that authority',
  ],
  [
    /INVALID_PURPOSE/,
    'the certificate of the peer is not for this use: issue it with the extended key usages serverAuth and clientAuth',
  ],
  [
    /UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|UNKNOWN_PROTOCOL|VERSION_TOO_LOW/,
    'both ends must speak TLS 1.2 or 1.3: update the older one',
  ],
  [
    /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|RECORD_LAYER_FAILURE|UNEXPECTED_MESSAGE|BAD_RECORD_TYPE|EPROTO/,
    'the other end does not speak TLS: use an address with tls:// or wss:// on both ends, or on neither',
  ],
  [/HANDSHAKE_TIMEOUT/, 'the peer did not finish the handshake in time: check that it speaks TLS'],
]

/** Whether an error says that encryption failed, not the network. */
export function isTlsError(error: SystemError): boolean {
  const { code = '' } = error
  return PREFIXES.test(code) || VERIFICATION.includes(code)
}

/** The handshake with `peer`, an address or a remote, failed, or the peer ended the session with an alert. */
export function tlsFailed(peer: string, cause: SystemError): UnderstudyError {
  const code = cause.code ?? ''
  const advice = ADVICE.find(([pattern]) => pattern.test(code))?.[1] ?? 'compare the TLS options of both ends'
  return new UnderstudyError(
    'TLS_FAILED',
    `TLS with ${peer} failed: ${code === '' ? cause.message : code}. The connection was closed and nothing of it was used; ${advice}.`,
    { peer, tlsCode: cause.code, cause },
  )
}
