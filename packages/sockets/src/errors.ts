/**
 * Errors of connecting, listening and channels, the same for every transport over sockets.
 *
 * Decides: which system error becomes which code. What a TLS error means stands in tls-errors.
 */
import { UnderstudyError } from '@understudy/contracts'
import { isTlsError, tlsFailed } from './tls-errors.ts'

/** An error of Node, with the code of the operating system or of OpenSSL. */
export interface SystemError {
  readonly message: string
  readonly code?: string | undefined
}

/** No connection came about: `TLS_FAILED` when encryption was the reason, `CONNECT_FAILED` otherwise. */
export function connectFailed(address: string, cause: SystemError): UnderstudyError {
  if (isTlsError(cause)) return tlsFailed(address, cause)
  return new UnderstudyError(
    'CONNECT_FAILED',
    `No connection to ${address} could be made: ${cause.code ?? cause.message}. Nothing was sent; check that a node listens there.`,
    { address, systemCode: cause.code, cause },
  )
}

export function listenFailed(address: string, cause: SystemError): UnderstudyError {
  return new UnderstudyError(
    'LISTEN_FAILED',
    `Listening on ${address} failed: ${cause.code ?? cause.message}. Nothing was opened; ${listenAdvice(cause.code)}.`,
    { address, systemCode: cause.code, cause },
  )
}

function listenAdvice(code: string | undefined): string {
  if (code === 'EADDRINUSE')
    return 'another process uses it: stop it, or choose another one (port 0 picks a free port)'
  if (code === 'EACCES' || code === 'EPERM')
    return 'this process may not: choose a port above 1023, or a folder that it can write to'
  return 'choose an address of this machine'
}

export function connectTimedOut(address: string, timeoutMs: number): UnderstudyError {
  return new UnderstudyError(
    'TIMEOUT',
    `No connection to ${address} came about within ${timeoutMs} ms. Nothing was sent; check the address, or allow more time.`,
    { address, timeoutMs },
  )
}

export function connectAborted(address: string, signal: AbortSignal | undefined): UnderstudyError {
  return new UnderstudyError('ABORTED', `Connecting to ${address} was aborted. Nothing was sent.`, {
    address,
    cause: signal?.reason as unknown,
  })
}

/** The end of a connection that was there: `TLS_FAILED` when encryption was the reason, `CONNECTION_LOST` otherwise. */
export function connectionLost(remote: string, reason: string, cause?: SystemError): UnderstudyError {
  if (cause !== undefined && isTlsError(cause)) return tlsFailed(remote, cause)
  return new UnderstudyError(
    'CONNECTION_LOST',
    `The connection with ${remote} was lost: ${reason}. Whole frames that came before were delivered; dial again.`,
    { remote, ...(cause === undefined ? {} : { systemCode: cause.code, cause }) },
  )
}

/** What a channel closes with when its handler failed with an error that is none of ours. */
export function handlerFailed(remote: string, cause: unknown): UnderstudyError {
  return new UnderstudyError(
    'CONNECTION_LOST',
    `The connection with ${remote} was closed because handling a frame failed. Frames before it were handled; see the cause.`,
    { remote, cause },
  )
}

/** The caller's mistake: a channel has one handler. */
export function startedTwice(): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    'Channel.start was called twice. The first handler still gets the frames.',
  )
}
