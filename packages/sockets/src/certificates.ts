/**
 * The certificate, key and authorities that a transport uses at the moment.
 *
 * Decides: when files are read again. Leaves to others: what makes them usable (material), and handing a new context to
 * servers that already listen (`onChange`).
 *
 * 1. They are loaded and checked at once: a transport that could not encrypt does not come up.
 * 2. Files that cannot be taken, such as a certificate whose key is still the old one, change nothing: the ones before
 *    stay in use, `status` says why, and the next look tries again.
 */
import type { SecureContext, SecureContextOptions } from 'node:tls'
import { isUnderstudyError, type CertificateStatus, type Clock, type Timer } from '@understudy/contracts'
import { identitiesOf } from './identities.ts'
import { makeMaterial, readTexts, type Material } from './material.ts'
import type { TlsOptions } from './options.ts'
import { readPemFile, type ReadPem } from './pem.ts'

const RELOAD_MS = 10_000

export interface CertificatesEnvironment {
  readonly clock: Clock
  /** Default: files of the disk. */
  readonly read?: ReadPem
}

/** Throws `TLS_FAILED` when they cannot be used, `INVALID_ARGUMENT` when options do not go together. */
export function certificates(tls: TlsOptions, environment: CertificatesEnvironment): Certificates {
  return new Certificates(tls, environment)
}

export class Certificates implements Disposable {
  readonly tls: TlsOptions
  readonly #clock: Clock
  readonly #read: ReadPem
  readonly #listeners = new Set<() => void>()
  #material: Material
  #problem: string | undefined
  #timer: Timer | undefined
  #closed = false
  #lookedAtMs: number

  constructor(tls: TlsOptions, { clock, read = readPemFile }: CertificatesEnvironment) {
    this.tls = tls
    this.#clock = clock
    this.#read = read
    this.#lookedAtMs = clock.monotonic()
    this.#material = makeMaterial(readTexts(tls, read), tls, clock.now())
  }

  /** For `tls.createServer`, `https.createServer` and `server.setSecureContext`. Another object after each change. */
  get options(): SecureContextOptions {
    return this.#material.options
  }

  /** The same, made ready, for `tls.connect`. */
  get context(): SecureContext {
    return this.#material.context
  }

  /** Of this side's certificate; undefined: there is none. */
  status(): CertificateStatus | undefined {
    const { certificate } = this.#material
    if (certificate === undefined) return undefined
    return {
      identities: identitiesOf(certificate),
      expiresAt: certificate.validToDate.getTime(),
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
    }
  }

  /** Reads the files again, at once. True: there were new ones, and they are in use. */
  reload(): boolean {
    this.#lookedAtMs = this.#clock.monotonic()
    try {
      const texts = readTexts(this.tls, this.#read)
      const { cert, key, ca } = this.#material.texts
      const isSame = texts.cert === cert && texts.key === key && texts.ca === ca
      if (!isSame) this.#material = makeMaterial(texts, this.tls, this.#clock.now())
      this.#problem = undefined
      if (isSame) return false
    } catch (error) {
      if (!isUnderstudyError(error)) throw error
      this.#problem = error.message
      return false
    }
    for (const changed of this.#listeners) changed()
    return true
  }

  /** Reads the files again when the last look is `reloadMs` ago: for whoever dials now and then, and keeps no timer. */
  refresh(): void {
    const { reloadMs = RELOAD_MS } = this.tls
    if (this.#clock.monotonic() - this.#lookedAtMs >= reloadMs) this.reload()
  }

  /** Calls `changed` after each change, until the returned function is called. Files are looked at only while somebody waits. */
  onChange(changed: () => void): () => void {
    this.#listeners.add(changed)
    this.#watch()
    return () => {
      this.#listeners.delete(changed)
      if (this.#listeners.size === 0) this.#unwatch()
    }
  }

  /** Files are not looked at any more; what is in use stays. */
  close(): void {
    this.#closed = true
    this.#listeners.clear()
    this.#unwatch()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #watch(): void {
    const { cert, key, ca, reloadMs = RELOAD_MS } = this.tls
    const hasFiles = [cert, key, ca].some((source) => typeof source === 'object')
    if (this.#closed || !hasFiles || this.#timer !== undefined) return
    this.#timer = this.#clock.schedule(reloadMs, () => {
      this.#timer = undefined
      this.reload()
      if (this.#listeners.size > 0) this.#watch()
    })
  }

  #unwatch(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }
}
