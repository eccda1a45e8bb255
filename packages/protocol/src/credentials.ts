/**
 * Credentials: what an end proves that it is, and what a listener knows of those it lets in.
 *
 * A secret is 32 random bytes, never a password: so no slow key derivation is needed, and nothing on the wire or in a
 * listener's file can be guessed back to it. The keys are those of SCRAM (RFC 5802 §3), derived with HKDF-SHA-256
 * (RFC 5869) in place of PBKDF2:
 *
 *     clientKey = HKDF(secret, "understudy 1 client key")      storedKey = SHA-256(clientKey)
 *     serverKey = HKDF(secret, "understudy 1 server key")      verifier  = storedKey, serverKey
 *
 * A listener keeps only the verifier: whoever reads its file can pose as the listener, not as those it lets in.
 */
import { createHash, hkdfSync } from 'node:crypto'
import { UnderstudyError } from '@understudy/contracts'
import { plainView } from './wire.ts'

/** What a credential opens. None includes another. */
export type Role = 'replicate' | 'snapshot' | 'member' | 'read' | 'write' | 'admin'

export const ROLES: readonly Role[] = ['replicate', 'snapshot', 'member', 'read', 'write', 'admin']

/** What an end says it is, and how it proves it: by a secret, or by the certificate that its transport shows. */
export type Credential =
  | { readonly name: string; readonly secret: Uint8Array }
  | { readonly name: string; readonly certificate: true }

/** 32 bytes each. */
export interface Verifier {
  readonly storedKey: Uint8Array
  readonly serverKey: Uint8Array
}

/** One credential as the listener knows it. */
export interface Grant {
  readonly name: string
  readonly roles: readonly Role[]
  /** Names of nodes that it may follow or bootstrap as. Default: its own name. */
  readonly nodes?: readonly string[]
  /** Lets in who proves the secret. */
  readonly verifier?: Verifier
  /** Lets in who shows a verified certificate with one of these names, written as `ChannelSecurity.identities` has them. */
  readonly identities?: readonly string[]
  /** Milliseconds since the Unix epoch; from then on it opens nothing new. Default: never. */
  readonly expiresAt?: number
}

/** Everybody that a listener lets in. Asked at each handshake, so that an answer may change while the node runs. */
export interface Grants {
  find(name: string): Grant | undefined
  /** Why a newer list could not be taken, so that an older one is in force. */
  readonly problem?: UnderstudyError | undefined
}

/** A peer that proved who it is. */
export interface Peer {
  readonly name: string
  readonly roles: ReadonlySet<Role>
  readonly nodes: readonly string[]
}

export const SECRET_BYTES = 32

/** The verifier for a listener's file. Throws `CREDENTIALS_INVALID` for a secret of another length. */
export function verifierOf(secret: Uint8Array): Verifier {
  const { storedKey, serverKey } = keysOf(secret)
  return { storedKey, serverKey }
}

/** All keys of a secret. */
export function keysOf(secret: Uint8Array): Verifier & { readonly clientKey: Uint8Array } {
  if (secret.length !== SECRET_BYTES)
    throw new UnderstudyError(
      'CREDENTIALS_INVALID',
      `A secret has ${secret.length} bytes; it must be ${SECRET_BYTES} random ones. Nothing was sent; make one with \`understudy credential\`.`,
    )
  const derive = (label: string): Uint8Array =>
    new Uint8Array(hkdfSync('sha256', secret, '', `understudy 1 ${label}`, 32))
  const clientKey = derive('client key')
  return { clientKey, storedKey: sha256(clientKey), serverKey: derive('server key') }
}

export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return plainView(hash.digest())
}

/** Grants of a fixed list. Throws `INVALID_ARGUMENT` for a name that is given twice, or a grant that proves nothing. */
export function grants(list: readonly Grant[]): Grants {
  const byName = new Map<string, Grant>()
  for (const grant of list) {
    const { name, roles, verifier, identities = [] } = grant
    const fault = byName.has(name)
      ? 'is there twice'
      : verifier === undefined && identities.length === 0
        ? 'has neither a verifier nor identities of a certificate'
        : roles.every((role) => ROLES.includes(role))
          ? undefined
          : `has a role that is none of ${ROLES.join(', ')}`
    if (fault !== undefined)
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `The credential ${name} ${fault}. Nobody is let in by this list; mend it.`,
      )
    byName.set(name, grant)
  }
  return { find: (name) => byName.get(name) }
}
