/**
 * Reads certificate, key and authorities and checks that they can be used together, before anybody meets them.
 *
 * 1. All or nothing: what comes out fits together, and is valid at the time of the clock.
 */
import { constants, createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import { UnderstudyError } from '@understudy/contracts'
import type { PemSource, TlsOptions } from './options.ts'
import { blocksOf, readPem, unusable, type ReadPem } from './pem.ts'

/** What was read, before it was looked at. */
export interface PemTexts {
  readonly cert?: string
  readonly key?: string
  readonly ca?: string
}

/** What a session is made with. */
export interface Material {
  readonly texts: PemTexts
  readonly options: SecureContextOptions
  readonly context: SecureContext
  /** Of this side. */
  readonly certificate: X509Certificate | undefined
}

/** Throws `TLS_FAILED`, or `INVALID_ARGUMENT` for options that do not go together. */
export function readTexts(tls: TlsOptions, read: ReadPem): PemTexts {
  const { cert, key, ca, clientCertificates = 'none' } = tls
  if ((cert === undefined) !== (key === undefined))
    throw incomplete('tls.cert and tls.key belong together, and only one of them was given')
  if (clientCertificates !== 'none' && ca === undefined)
    throw incomplete(
      `tls.clientCertificates is "${clientCertificates}", and tls.ca does not say which authority issues them`,
    )
  return {
    ...(ca === undefined ? {} : { ca: readPem(ca, 'tls.ca', read) }),
    ...(cert === undefined ? {} : { cert: readPem(cert, 'tls.cert', read) }),
    ...(key === undefined ? {} : { key: readPem(key, 'tls.key', read) }),
  }
}

/** Throws `TLS_FAILED`. `tls` is what the texts were read from. */
export function makeMaterial(texts: PemTexts, tls: TlsOptions, nowMs: number): Material {
  const { cert, key, ca } = tls
  if (texts.ca !== undefined) checkAuthorities(texts.ca, named('tls.ca', ca), nowMs)
  const certificate =
    texts.cert === undefined ? undefined : checkCertificate(texts.cert, named('tls.cert', cert), nowMs)
  if (certificate !== undefined && !certificate.checkPrivateKey(privateKey(texts.key, named('tls.key', key))))
    throw unusable(
      `${named('tls.key', key)} is not the key of ${named('tls.cert', cert)}`,
      'give the key that the certificate was made for',
      {},
    )
  const options: SecureContextOptions = {
    ...texts,
    ...(texts.ca === undefined ? {} : { ca: blocksOf(texts.ca) }),
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    // A resumed session would go on with a certificate that was good when it began: each connection proves itself anew.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  }
  return { texts, options, context: contextOf(options), certificate }
}

function contextOf(options: SecureContextOptions): SecureContext {
  try {
    return createSecureContext(options)
  } catch (cause) {
    throw unusable(
      `OpenSSL refuses the certificate, key or authorities: ${cause instanceof Error ? cause.message : String(cause)}`,
      'make them anew, with keys of 2,048 bits or more (RSA) or of P-256 (EC)',
      { cause },
    )
  }
}

function named(option: string, source: PemSource | undefined): string {
  return typeof source === 'object' ? `${option} ("${source.file}")` : option
}

/** The first certificate of the text is this side's own. */
function checkCertificate(text: string, name: string, nowMs: number): X509Certificate {
  const chain = parse(text, name)
  for (const certificate of chain) {
    if (certificate.validToDate.getTime() <= nowMs)
      throw unusable(`${name} expired on ${certificate.validToDate.toISOString()}`, 'renew it', {})
    if (certificate.validFromDate.getTime() > nowMs)
      throw unusable(
        `${name} is not valid before ${certificate.validFromDate.toISOString()}`,
        'check the clock of this machine',
        {},
      )
  }
  return chain[0]!
}

/** A bundle may hold authorities that are gone; one must be left. */
function checkAuthorities(text: string, name: string, nowMs: number): void {
  if (parse(text, name).every((certificate) => certificate.validToDate.getTime() <= nowMs))
    throw unusable(`${name} holds only authorities that have expired`, 'give the ones of today', {})
}

function parse(text: string, name: string): X509Certificate[] {
  const blocks = blocksOf(text)
  if (blocks.length === 0)
    throw unusable(`${name} holds no certificate`, 'give a text with BEGIN CERTIFICATE', {})
  try {
    return blocks.map((block) => new X509Certificate(block))
  } catch (cause) {
    throw unusable(`${name} holds a certificate that cannot be read`, 'export it anew, as PEM', { cause })
  }
}

function privateKey(text: string | undefined, name: string): KeyObject {
  try {
    return createPrivateKey(text ?? '')
  } catch {
    // Without the cause: what it says of a key is nobody's business.
    throw unusable(
      `${name} is no private key that can be read`,
      'give it as PEM, without a passphrase: the mode of the file protects it',
      {},
    )
  }
}

function incomplete(what: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `${what}. Nothing was opened; give both.`)
}
