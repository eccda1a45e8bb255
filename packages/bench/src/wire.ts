/** How a leader and those that connect to it speak with each other: plain data, as it travels to other processes. */
import type { Transport } from '@understudy/contracts'
import type { NodeOptions } from '@understudy/node'
import { grants, verifierOf, type Credential } from '@understudy/protocol'
import { tcp } from '@understudy/transport-tcp'
import { webSocket } from '@understudy/transport-ws'

export type WireName = 'tcp' | 'ws'

/** Without a secret nobody authenticates. */
export interface Wire {
  /** Default `tcp`. */
  readonly transport?: WireName
  /** Of the follower and of clients: 32 random bytes. */
  readonly secret?: Uint8Array
  readonly compression?: boolean
  /** Of the leader. */
  readonly connections?: NonNullable<NodeOptions['connections']>
}

type LeaderAccess = Pick<NodeOptions, 'transport' | 'listen' | 'credentials' | 'compression' | 'connections'>

/** Options of the leader. It lets in a credential `follower` and one `client`, which may read. */
export function leaderAccess(wire: Wire = {}): LeaderAccess {
  const { transport = 'tcp', secret, compression, connections } = wire
  const verifier = secret && verifierOf(secret)
  return {
    transport: transportOf(wire),
    listen: `${transport}://127.0.0.1:0`,
    ...(verifier && {
      credentials: grants([
        { name: 'follower', roles: ['replicate', 'snapshot'], verifier },
        { name: 'client', roles: ['read'], verifier },
      ]),
    }),
    ...(compression !== undefined && { compression }),
    ...(connections && { connections }),
  }
}

/** Options of whoever connects to the leader. */
export function dialAccess(
  wire: Wire = {},
  name: 'follower' | 'client' = 'follower',
): { readonly transport: Transport; readonly credential?: Credential; readonly compression?: boolean } {
  const { secret, compression } = wire
  return {
    transport: transportOf(wire),
    ...(secret && { credential: { name, secret } }),
    ...(compression !== undefined && { compression }),
  }
}

function transportOf({ transport = 'tcp' }: Wire): Transport {
  return transport === 'tcp' ? tcp() : webSocket()
}
