/** Options of TLS, the same for every transport that has it. */

/** A file, or the PEM text itself. A file may change: it is read again. */
export type PemSource = { readonly file: string } | string

/** What a listener asks of those who dial. `request`: a certificate that is shown must be good, but none need be shown. */
export type ClientCertificates = 'require' | 'request' | 'none'

export interface TlsOptions {
  /** The certificate of this side, with the intermediate ones after it. A listener needs one. */
  readonly cert?: PemSource
  /** Its private key. A file must not be readable for others (mode 0600), and a key takes no passphrase. */
  readonly key?: PemSource
  /** The authorities trusted for the peer's certificate, and no others. Default: those that Node ships with. */
  readonly ca?: PemSource
  /** Of a listener; needs `ca`. Default `none`. */
  readonly clientCertificates?: ClientCertificates
  /**
   * Of a dialler: the name that the certificate must have, instead of the host of the address. A DNS name, an IP
   * address, or `URI:understudy://leader` for exactly that URI.
   */
  readonly serverName?: string
  /** Milliseconds between two looks at the files. Default 10,000. */
  readonly reloadMs?: number
}
