/**
 * Certificates for tests of TLS, made once by `certificates/make.sh` and valid until 2120 unless said otherwise. Their
 * keys are public and protect nothing.
 *
 * The files of the repository can be read by everybody, which a transport refuses of a key: `certificateFiles` copies
 * them to a folder of the test.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** What each one is for. All but `stranger` are issued by `ca`; all but `client` and `elsewhere` are for localhost, 127.0.0.1 and ::1. */
export const TEST_CERTIFICATES = {
  server: 'URI:understudy://leader, CN:leader',
  renewed: 'what `server` is replaced with: URI:understudy://renewed, CN:renewed',
  client: 'URI:understudy://b, CN:b, and no host',
  expired: 'in 2021; URI:understudy://expired',
  stranger: 'names as of `client`, but issued by `other-ca`',
  elsewhere: 'DNS:other.example, URI:understudy://other, no address of this machine',
  hostile: 'single names with ", DNS:evil.example" and the like inside',
} as const

export type TestCertificate = keyof typeof TEST_CERTIFICATES
export type TestAuthority = 'ca' | 'other-ca'

/** The text of a certificate, of an authority, or (`server.key`) of a key. */
export function pem(name: TestCertificate | TestAuthority | `${TestCertificate}.key`): string {
  const file = name.endsWith('.key') ? name : `${name}.pem`
  return readFileSync(new URL(`../certificates/${file}`, import.meta.url), 'utf8')
}

/** Paths of a certificate, its key and an authority. */
export interface CertificateFiles {
  readonly cert: { readonly file: string }
  readonly key: { readonly file: string }
  readonly ca: { readonly file: string }
}

/** Writes a certificate, its key (mode 0600) and `ca` into `folder`, as `cert.pem`, `key.pem` and `ca.pem`; over those that are there. */
export function certificateFiles(folder: string, name: TestCertificate): CertificateFiles {
  mkdirSync(folder, { recursive: true })
  const write = (file: string, text: string, mode: number): { file: string } => {
    const path = join(folder, file)
    writeFileSync(path, text, { mode })
    return { file: path }
  }
  return {
    cert: write('cert.pem', pem(name), 0o644),
    key: write('key.pem', pem(`${name}.key`), 0o600),
    ca: write('ca.pem', pem('ca'), 0o644),
  }
}

/** The same as texts. */
export function certificateTexts(name: TestCertificate): { cert: string; key: string; ca: string } {
  return { cert: pem(name), key: pem(`${name}.key`), ca: pem('ca') }
}
