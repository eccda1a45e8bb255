/** Errors that only this transport raises; those of every transport over sockets stand in `sockets`. */
import { UnderstudyError } from '@understudy/contracts'

/** The peer broke the rules of WebSocket, or sent what none of ours sends. */
export function violation(what: string, cause?: Error): UnderstudyError {
  return new UnderstudyError(
    'PROTOCOL_VIOLATION',
    `The peer does not speak as an Understudy node over WebSocket does: ${what}. Messages before it were delivered and the ` +
      'connection was closed; check what is at the other end, and any proxy on the way.',
    cause === undefined ? {} : { cause },
  )
}

export function frameTooLarge(length: number, frameBytesMax: number): UnderstudyError {
  return new UnderstudyError(
    'FRAME_TOO_LARGE',
    `The peer announced a frame of ${length} bytes, over the limit of ${frameBytesMax}. No memory was taken for it and the ` +
      'connection was closed; check that an Understudy node of this cluster is at the other end.',
    { length, frameBytesMax },
  )
}

/** The rest of a message did not come. */
export function messageTimedOut(remote: string, timeoutMs: number): UnderstudyError {
  return new UnderstudyError(
    'PEER_SILENT',
    `${remote} began a frame and did not finish it within ${timeoutMs} ms. Whole frames before it were delivered and the ` +
      'connection was closed; dial again, and check the network.',
    { remote, timeoutMs },
  )
}

/** The other end speaks HTTP and refused the upgrade. */
export function upgradeRefused(address: string, status: number): UnderstudyError {
  // Trying again does not help where the operator of either end has to do something first.
  const code = status === 401 ? 'AUTHENTICATION_REQUIRED' : status === 403 ? 'FORBIDDEN' : 'CONNECT_FAILED'
  return new UnderstudyError(
    code,
    `No connection to ${address} could be made: it was answered with HTTP status ${status}. Nothing was sent; ${refusalAdvice(status)}.`,
    { address, status },
  )
}

function refusalAdvice(status: number): string {
  if (status >= 300 && status < 400) return 'redirects are not followed: dial the address that it points to'
  if (status === 401)
    return 'show a certificate that the listener trusts, or what the proxy before it wants to see'
  if (status === 403) return 'the listener or a proxy before it does not let this machine in: see its rules'
  if (status === 404) return 'check the path of the address, and that the node listens there'
  if (status === 502 || status === 504) return 'a proxy cannot reach the node: check that it runs'
  if (status === 503)
    return 'the listener has as many connections as it takes, or is closing: dial again later'
  return 'check that an Understudy node listens there, and that a proxy passes on the Upgrade and Connection headers'
}

/** The answer to the upgrade was none that WebSocket knows. */
export function handshakeFailed(address: string, cause: Error): UnderstudyError {
  return new UnderstudyError(
    'CONNECT_FAILED',
    `No connection to ${address} could be made: ${cause.message}. Nothing was sent; check that an Understudy node listens there ` +
      'and that no proxy on the way changes the handshake.',
    { address, cause },
  )
}

/** A peer was not let in. */
export function forbidden(remote: string, what: string, cause?: unknown): UnderstudyError {
  return new UnderstudyError(
    'FORBIDDEN',
    `${remote} asked for a channel and was refused: ${what}. The connection was closed; see the options of the transport if it should get in.`,
    { remote, ...(cause === undefined ? {} : { cause }) },
  )
}

export function tooMany(remote: string, open: number): UnderstudyError {
  return new UnderstudyError(
    'OVERLOADED',
    `A connection from ${remote} was refused: ${open} are open, and it was one too many in all or from its address. ` +
      'The others go on; raise channelsMax or channelsPerAddressMax if they are wanted.',
    { remote, open },
  )
}

/** A peer connected and did not get as far as the upgrade. */
export function upgradeTimedOut(remote: string, timeoutMs: number): UnderstudyError {
  return new UnderstudyError(
    'PEER_SILENT',
    `${remote} connected and did not ask for a channel within ${timeoutMs} ms. The connection was closed; check what is at the other end.`,
    { remote, timeoutMs },
  )
}
