/**
 * What a listener says over TLS to a client whose certificate it refuses: a length that no frame has.
 *
 * With TLS 1.3 the client's handshake is done before the listener has seen the certificate, and Node sends no alert. A
 * channel that ended without a word would leave its user to guess.
 */
import { isUnderstudyError, type UnderstudyError } from '@understudy/contracts'
import { tlsFailed } from '@understudy/sockets'

const LENGTH = 0xffffffff

/** A frame may be as long as this. */
export const LENGTH_MAX: number = LENGTH - 1

export const CERTIFICATE_REFUSED: Uint8Array = Uint8Array.of(0xff, 0xff, 0xff, 0xff)

/** The error that a refusal is to the client; undefined for what is none. `error` is what reading a frame threw. */
export function refusalOf(error: unknown, remote: string): UnderstudyError | undefined {
  if (!isUnderstudyError(error, 'FRAME_TOO_LARGE') || error.details['length'] !== LENGTH) return undefined
  return tlsFailed(remote, { message: 'the certificate was refused', code: 'CERTIFICATE_REFUSED' })
}
