/**
 * What a peer may do once it is known who it is.
 *
 * Decides which role a conversation needs. Without a list of credentials everybody may do everything, on addresses that
 * only this machine can reach. Single requests of clients are judged by `server`.
 */
import { UnderstudyError } from '@understudy/contracts'
import type { Hello, Peer, Role } from '@understudy/protocol'

const CLIENT_ROLES: readonly Role[] = ['read', 'write', 'admin']

/** Throws `FORBIDDEN`. */
export function assertMay(peer: Peer | undefined, { purpose, node }: Hello): void {
  if (peer === undefined) return
  if (purpose === 'client') {
    if (CLIENT_ROLES.some((role) => peer.roles.has(role))) return
    throw forbidden(peer, `none of the roles ${CLIENT_ROLES.join(', ')}, one of which a client needs`)
  }
  if (!peer.roles.has(purpose)) throw forbidden(peer, `not the role ${purpose}`)
  // Under the name of another node it would take over that node's place in the log.
  if (!peer.nodes.includes(node)) throw forbidden(peer, `no right to be the node ${node}`)
}

function forbidden(peer: Peer, what: string): UnderstudyError {
  return new UnderstudyError(
    'FORBIDDEN',
    `The credential ${peer.name} has ${what}. Nothing was done; use another credential, or give it what it lacks.`,
    { credential: peer.name },
  )
}
