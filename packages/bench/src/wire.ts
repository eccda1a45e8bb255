/** How a leader and those that connect to it speak with each other: plain data, as it travels to other processes. */
import type { Transport } from '@understudy/contracts'
import type { NodeOptions } from '@understudy/node'
import { grants, verifierOf, type Credential } from '@understudy/protocol'
import { tcp } from '@understudy/transport-tcp'
import { webSocket } from '@understudy/transport-ws'
import { exportedFactory, isPath } from './own-modules.ts'

export type WireName = 'tcp' | 'ws'

/** Without a secret nobody authenticates. */
export interface Wire {
  /** A name, or the path of a module that exports `transport`, a function that makes one. Default `tcp`. */
  readonly transport?: string
  /** Of the follower and of clients: 32 random bytes. */
  readonly secret?: Uint8Array
  readonly compression?: boolean
  /** Of the leader. */
  readonly connections?: NonNullable<NodeOptions['connections']>
}

interface DialAccess {
  readonly transport: Transport
  readonly credential?: Credential
  readonly compression?: boolean
}

type LeaderAccess = Pick<NodeOptions, 'transport' | 'listen' | 'credentials' | 'compression' | 'connections'>

/** Options of the leader. It lets in a credential `follower` and one `client`, which may read. */
export async function leaderAccess(wire: Wire = {}): Promise<LeaderAccess> {
  const { secret, compression, connections } = wire
  const transport = await transportFrom(wire)
  const verifier = secret && verifierOf(secret)
  return {
    transport,
    listen: `${transport.schemes[0] ?? 'tcp'}://127.0.0.1:0`,
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
export async function dialAccess(
  wire: Wire = {},
  name: 'follower' | 'client' = 'follower',
): Promise<DialAccess> {
  const { secret, compression } = wire
  return {
    transport: await transportFrom(wire),
    ...(secret && { credential: { name, secret } }),
    ...(compression !== undefined && { compression }),
  }
}

async function transportFrom({ transport = 'tcp' }: Wire): Promise<Transport> {
  if (isPath(transport)) return (await exportedFactory(transport, 'transport'))() as Transport
  return transport === 'ws' ? webSocket() : tcp()
}
