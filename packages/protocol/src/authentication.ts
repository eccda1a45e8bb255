/**
 * Who is there: the first messages of a connection, in both directions.
 *
 *     dialler                                     listener
 *     AuthBegin { name, nonce }          →
 *                                        ←        AuthChallenge { nonce }
 *     AuthProof { proof }                →
 *                                        ←        AuthDone { signature }
 *
 * This is SCRAM (RFC 5802 §3) over a transcript of what was said:
 *
 *     transcript = SHA-256 over label, mechanism, name, both nonces, the offer of compression, the binding
 *     proof      = clientKey XOR HMAC(storedKey, transcript)       the listener takes clientKey back and hashes it
 *     signature  = HMAC(serverKey, transcript, what was chosen)
 *
 * With a certificate the transport has proven both ends, and AuthBegin is answered by AuthDone at once.
 *
 * 1. Nothing can be replayed: each side's nonce is in the transcript. Nothing can be relayed where both ends see one TLS
 *    session: its exporter (RFC 9266) is in the transcript of both, and a relay has two sessions.
 * 2. A name that is not known is answered like a wrong secret, with the same messages; the peer learns one code and one text.
 * 3. Secrets and keys appear in no message, error or event.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { UnderstudyError, type Clock, type Random } from '@understudy/contracts'
import type { Connection } from './connection.ts'
import {
  keysOf,
  sha256,
  type Credential,
  type Grant,
  type Grants,
  type Peer,
  type Verifier,
} from './credentials.ts'
import type { AuthBegin, AuthDone, Message } from './messages.ts'

export const AUTH_VERSION = 1

export interface DialOptions {
  readonly credential: Credential
  /** Offer to compress frames. Default false. */
  readonly compression?: boolean
  /**
   * Bind to the TLS session. Off only where something between the ends, such as a reverse proxy, ends TLS; then it is off
   * at both ends. Default true.
   */
  readonly channelBinding?: boolean
  readonly random: Random
  readonly clock: Clock
  /** For all answers of the peer together. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

export interface AcceptOptions {
  readonly grants: Grants
  readonly compression?: boolean
  readonly channelBinding?: boolean
  readonly random: Random
  readonly clock: Clock
  readonly timeoutMs: number
}

/**
 * Proves to the listener who this end is, and has it prove that it knows. Resolves when both are; rejects with
 * `AUTHENTICATION_FAILED`, with what the listener refused with, or as `Connection.next` does. The caller closes the
 * connection then.
 */
export async function authenticateTo(connection: Connection, options: DialOptions): Promise<void> {
  const { credential, compression = false, random, clock, timeoutMs, signal } = options
  const isSecret = 'secret' in credential
  if (!isSecret && connection.security?.encrypted !== true)
    throw failed(
      `The connection to ${connection.remote} is not encrypted, so no certificate proves anything. Nothing was sent; use an address with TLS.`,
    )
  const keys = isSecret ? keysOf(credential.secret) : undefined
  const begin: AuthBegin = {
    type: 'authBegin',
    version: AUTH_VERSION,
    mechanism: isSecret ? 'secret' : 'certificate',
    name: credential.name,
    nonce: nonce(random),
    compression,
  }
  const begun = clock.monotonic()
  const next = (): Promise<Message> => {
    const leftMs = Math.max(0, timeoutMs - (clock.monotonic() - begun))
    return connection.next({ timeoutMs: leftMs, ...(signal && { signal }) })
  }
  connection.send(begin)
  if (keys === undefined) {
    const done = expectDone(await next())
    connection.trust({ compression: compression && done.compression })
    return
  }
  const challenge = await next()
  if (challenge.type !== 'authChallenge') throw outOfTurn(challenge)
  const transcript = transcriptOf(begin, challenge.nonce, bindingOf(connection, options))
  connection.send({ type: 'authProof', proof: xor(keys.clientKey, hmac(keys.storedKey, transcript)) })
  const done = expectDone(await next())
  if (!isEqual(done.signature, signatureOf(keys, transcript, done.compression)))
    throw failed(
      `${connection.remote} could not prove that it knows the credential ${credential.name}: it may be an impostor. The connection was ended and nothing of the database was sent.`,
    )
  connection.trust({ compression: compression && done.compression })
}

/**
 * Has the dialler prove who it is; `first` is its first message. Rejects with `AUTHENTICATION_REQUIRED` or
 * `AUTHENTICATION_FAILED`, whose `details.reason` is for the listener's own eyes, or as `Connection.next` does.
 */
export async function authenticatePeer(
  connection: Connection,
  first: Message,
  options: AcceptOptions,
): Promise<Peer> {
  if (first.type !== 'authBegin')
    throw new UnderstudyError(
      'AUTHENTICATION_REQUIRED',
      'This node lets in only peers with a credential. Nothing was done; give one to whoever connects.',
    )
  if (first.version !== AUTH_VERSION)
    throw new UnderstudyError(
      'PROTOCOL_VERSION',
      `The peer authenticates by version ${first.version}, this node by ${AUTH_VERSION}. Nothing was done; bring the older of the two to a newer release.`,
    )
  const grant = options.grants.find(first.name)
  const compression = first.compression && options.compression === true
  if (first.mechanism === 'certificate') {
    const shown = connection.security?.identities ?? []
    const matches = grant?.identities?.some((identity) => shown.includes(identity)) === true
    if (grant === undefined || !matches || connection.security?.encrypted !== true)
      throw turnedAway(first, `its certificate shows ${shown.length === 0 ? 'nothing' : shown.join(', ')}`)
    assertValid(grant, first, options.clock)
    connection.send({ type: 'authDone', signature: new Uint8Array(), compression })
    connection.trust({ compression })
    return peerOf(grant)
  }
  const ownNonce = nonce(options.random)
  connection.send({ type: 'authChallenge', nonce: ownNonce })
  const answer = await connection.next({ timeoutMs: options.timeoutMs })
  if (answer.type !== 'authProof') throw outOfTurn(answer)
  const transcript = transcriptOf(first, ownNonce, bindingOf(connection, options))
  // An unknown name goes the same way, against keys that nobody has.
  const { storedKey, serverKey } = grant?.verifier ?? {
    storedKey: nonce(options.random),
    serverKey: ownNonce,
  }
  const clientKey = xor(answer.proof, hmac(storedKey, transcript))
  const holds = isEqual(sha256(clientKey), storedKey)
  if (grant?.verifier === undefined) throw turnedAway(first, 'no credential with a secret has that name')
  if (!holds) throw turnedAway(first, 'the proof is wrong: another secret, or another TLS session')
  assertValid(grant, first, options.clock)
  connection.send({
    type: 'authDone',
    signature: signatureOf({ storedKey, serverKey }, transcript, compression),
    compression,
  })
  connection.trust({ compression })
  return peerOf(grant)
}

function assertValid(grant: Grant, begin: AuthBegin, clock: Clock): void {
  if (grant.expiresAt !== undefined && clock.now() >= grant.expiresAt)
    throw turnedAway(begin, `it expired at ${new Date(grant.expiresAt).toISOString()}`)
}

function peerOf({ name, roles, nodes = [name] }: Grant): Peer {
  return { name, roles: new Set(roles), nodes }
}

function expectDone(message: Message): AuthDone {
  if (message.type === 'authDone') return message
  throw outOfTurn(message)
}

function bindingOf(connection: Connection, options: { readonly channelBinding?: boolean }): Uint8Array {
  return (options.channelBinding ?? true)
    ? (connection.security?.binding ?? new Uint8Array())
    : new Uint8Array()
}

function transcriptOf(begin: AuthBegin, listenerNonce: Uint8Array, binding: Uint8Array): Uint8Array {
  const fields = [
    Buffer.from(`understudy authentication ${begin.version}`),
    Buffer.from(begin.mechanism),
    Buffer.from(begin.name.toWellFormed()),
    begin.nonce,
    Uint8Array.of(begin.compression ? 1 : 0),
    listenerNonce,
    binding,
  ]
  return sha256(...fields.flatMap((field) => [lengthOf(field), field]))
}

function lengthOf(field: Uint8Array): Uint8Array {
  const prefix = Buffer.alloc(4)
  prefix.writeUInt32LE(field.length)
  return prefix
}

function signatureOf(keys: Verifier, transcript: Uint8Array, compression: boolean): Uint8Array {
  return hmac(keys.serverKey, transcript, Uint8Array.of(compression ? 1 : 0))
}

function hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const mac = createHmac('sha256', key)
  for (const part of parts) mac.update(part)
  return mac.digest()
}

function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((byte, index) => byte ^ (b[index] ?? 0))
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}

function nonce(random: Random): Uint8Array {
  return new Uint8Array(Uint32Array.from({ length: 8 }, () => random.uint32()).buffer)
}

function failed(message: string, details: Record<string, unknown> = {}): UnderstudyError {
  return new UnderstudyError('AUTHENTICATION_FAILED', message, details)
}

/** What the peer learns is the same for every reason. */
function turnedAway(begin: AuthBegin, reason: string): UnderstudyError {
  return failed(
    'The credential is not known here, not valid any more, or was not proven. Nothing was done; check its name, its secret or certificate, and its expiry.',
    { credential: begin.name, reason },
  )
}

function outOfTurn(message: Message): UnderstudyError {
  return new UnderstudyError(
    'PROTOCOL_VIOLATION',
    `The peer sent a ${message.type} in the midst of the authentication. The connection was ended; nothing was done.`,
  )
}
